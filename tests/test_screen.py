"""What is printed fits the terminal, and nothing that is shown is cut."""

from io import StringIO

import pytest
from conftest import printed_in_80_columns
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gnp.report.grid import Entry, Grid, Line
from gnp.report.terminal import fitted
from gnp.screen import shortened, width_of, wrapped
from gnp.tables.listing import aligned
from gnp.training.progress import epoch_line

WORDS = st.text("abc /-", min_size=1, max_size=24).map(str.strip).filter(bool)


def printed(tables):
    console = Console(width=1000, file=StringIO(), record=True)
    console.print(*tables)
    return [line.rstrip() for line in console.export_text().splitlines()]


@st.composite
def grids(draw):
    labels, entries, lines = (draw(st.integers(1, 3)) for _ in range(3))
    headers = [draw(WORDS) for _ in range(labels + entries)]
    rows = [
        Line([draw(WORDS) for _ in range(labels)],
             [Entry(f"{number}.{index}±0.01") for index in range(entries)], draw(st.booleans()))
        for number in range(lines)
    ]  # fmt: skip
    return Grid(headers, rows, labels)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(grids(), st.integers(80, 120))
def test_any_grid_fits_and_has_each_entry_once(grid, width):
    lines = printed(fitted("A title", grid, width))
    assert max(map(len, lines)) <= width
    for line in grid.lines:
        for entry in line.entries:
            assert sum(entry.text in shown for shown in lines) == 1


def small(*headers, label="ab cd"):
    return Grid(["label", *headers], [Line([label], [Entry("1234567890")] * len(headers))], 1)


def test_columns_are_dropped_then_labels_wrapped_then_there_is_a_further_table():
    grid = small("a", "b", "c", label="some/path of/words")
    assert [t.title.plain for t in fitted("T", grid, None, ["c", "b"])] == ["T"]
    (whole,) = fitted("T", grid, 61, ["c", "b"])
    assert whole.title.plain == "T"
    (dropped,) = fitted("T", grid, 60, ["c", "b"], "elsewhere")
    assert (dropped.title.plain, len(dropped.columns)) == ("T; c: elsewhere", 3)
    (broken,) = fitted("T", grid, 53)
    assert [line.split("│")[1].strip() for line in printed([broken])[-3:-1]] == [
        "some/path", "of/words",
    ]  # fmt: skip
    first, second = fitted("T", grid, 40)
    assert [len(first.columns), len(second.columns)] == [3, 2]


def test_what_is_of_one_column_stays_together():
    grid = small("one", "published", "two", "published")
    grid = Grid(grid.headers, grid.lines, 1, ["", "one", "one", "two", "two"])
    tables = fitted("T", grid, 48)
    assert [[c.header.plain for c in t.columns] for t in tables] == [
        ["label", "one", "published"], ["label", "two", "published"],
    ]  # fmt: skip


def test_a_pipe_has_no_width_unless_it_is_said(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert width_of(Console(file=StringIO())) is None
    monkeypatch.setenv("COLUMNS", "77")
    assert width_of(Console(file=StringIO())) == 77
    assert width_of(Console(file=StringIO(), width=50, force_terminal=True)) == 50


def test_prose_is_wrapped_at_words_and_a_path_stays_whole():
    assert wrapped("aa bb-cc /a/very/long/path", 8) == "aa bb-cc\n/a/very/long/path"
    assert wrapped("one line\n\nand another", 9) == "one line\n\nand\nanother"
    assert wrapped("as it is " * 20, None) == "as it is " * 20


def test_a_shortened_text_has_both_ends():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghij", 7) == "abc…hij"
    assert shortened("abcdefghij", 6) == "abc…ij"


def runs():
    return [
        {"experiment": "mini/vgg16", "data": "cifar10-basic", "method": f"gnp-r{r}-" + "x" * 40,
         "seed": seed, "optimizer.r": r, "training.epochs": 10 * seed, "evaluated": "test",
         "error": 5.0 + seed, "fit_error": 1.0 * r, "seconds": 12.5 + seed}
        for r in (1, 2) for seed in (0, 1)
    ]  # fmt: skip


def test_a_list_of_runs_leaves_out_columns_then_shortens_names():
    whole = aligned(runs()).splitlines()
    assert whole[0].split() == ["method", "seed", "r", "epochs", "error", "fit_error", "seconds"]
    narrow = aligned(runs(), 80).splitlines()
    assert max(map(len, narrow)) <= 80
    assert narrow[0].split() == ["method", "seed", "r", "epochs", "error"]
    assert narrow[-1] == "Left out, with --csv in a file: fit_error, seconds"
    least = aligned(runs(), 40).splitlines()
    assert least[0].split() == ["method", "seed", "error"]
    assert least[1].startswith("gnp-r1-xxxx")
    assert max(map(len, least[:-1])) <= 40


def test_an_epochs_line_leaves_out_what_does_not_fit_from_the_end():
    metrics = {"epoch": 7, "train_loss": 1, "train_error": 2, "test_loss": 3, "test_error": 4,
               "learning_rate": 0.1, "seconds": 9}  # fmt: skip
    whole = epoch_line(metrics, 200)
    assert whole.endswith("lr 1.00e-01  9.0 s")
    assert epoch_line(metrics, 200, len(whole)) == whole
    assert len(epoch_line(metrics, 200, 80)) <= 80
    assert epoch_line(metrics, 200, 80).endswith("test loss 3.000 error  4.00 %")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "render_table.py table=cnn",
        "render_table.py table=equal_compute",
        "parameter_study.py study=wrn_28_10 render_only=true",
        "tune.py tuning=tiny_equal_compute render_only=true",
        "why_it_works.py why=geometry render_only=true",
    ],
)
def test_what_a_script_prints_fits_80_columns_but_for_commands_and_paths(tmp_path, command):
    printed = printed_in_80_columns(*command.split(), f"root={tmp_path}")
    long = [line for line in printed.splitlines() if len(line) > 80]
    assert [line for line in long if "python scripts/" not in line and "  /" not in line] == []
