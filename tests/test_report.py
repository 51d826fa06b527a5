"""The pages of tables and of a whole results root: what they hold, and that they hold together."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import yaml
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import check, rows, table_of, texts, tree
from records import PART, add_predictions, predictions, spec, write_diverged, write_record

from gnp.report.differing import differing
from gnp.report.figures import embedded
from gnp.report.index import NoResults, index_page, read_root
from gnp.report.page import Column, Page, Row, Section, Table, Text, breakable, link, slug, to_html
from gnp.report.runs import last_lines
from gnp.report.scale import Scale, around, round_step
from gnp.report.whiskers import Whisker, picture
from gnp.tables import Run, collect, write_outputs
from gnp.tables.html import differences_picture

SVG = "{http://www.w3.org/2000/svg}"
METHODS = [
    {"label": "SGD", "optimizer": "sgd"},
    {"label": "SAM", "optimizer": "sam"},
    {"label": "GNP", "optimizer": "gnp"},
]
ERRORS = {"sgd": [6.0, 6.5, 6.2], "sam": [5.0, 5.7, 5.1], "gnp": [5.2, 5.3, 4.4]}


def small(**changes):
    return spec(methods=METHODS, columns=PART["columns"][:1], **changes)


def recorded(root, **changes):
    """A table of one model and three methods, all of whose runs are finished."""
    table = small(**changes)
    for run in table.runs():
        method = run.cell.method.optimizer
        optimizer = {"name": method, "r": 0.0 if method == "sgd" else 0.1, "lr": 0.05}
        error = ERRORS[method][run.seed]
        write_record(root, run, [40.0, error + 1, error], optimizer=optimizer)
    return collect(table, root)


def rendered(table):
    return next(path for path in write_outputs(table) if path.name == "report.html")


def write_index(root):
    (root / "index.html").write_text(to_html(index_page(root)))
    return check(root / "index.html")


# ------------------------------------------------------------------- a table's page


def test_a_tables_page_is_whole_and_leads_to_every_file_of_its_runs(tmp_path):
    table = recorded(tmp_path)
    folder = Run(next(iter(table.cells)), 0).folder(tmp_path)
    (folder / "log.txt").write_text("epoch 3\n")
    add_predictions(folder, predictions([0, 1], [0, 1], [0.1, 0.1], [0.9, 0.9]))
    page = check(rendered(collect(table.spec, tmp_path)))
    assert texts(page.find("head/title")) == "A small table"
    runs = rows(table_of(page, "Runs"))
    assert len(runs) == 9
    assert runs[0][:6] == ["e", "d-basic", "sgd", "0", "finished", "6.00"]
    assert runs[0][7:12] == ["test", "6.00 (3)", "1.00", "3", "10"]
    assert runs[0][6] == "config summary metrics environment predictions log"
    assert runs[1][6] == "config summary metrics environment"
    assert runs[0][-2] == "2026-01-02 01234567"
    assert runs[1][-2] == "2026-01-02 01234567*"  # seed 1's sources were modified


def test_a_page_can_be_read_without_its_script(tmp_path):
    table = recorded(tmp_path)
    shown = texts(tree(rendered(table)).find("body"))
    for text in (
        "6.23 ± 0.25 (3)",
        "GNP below SGD: undecided",
        "-1.27 [",
        "optimizer.r 0.0 0.1 0.1",
    ):
        assert text in shown.replace("GNP below SGD: decided in 0 of 1 row, ", "GNP below SGD: ")


def test_each_row_names_its_model_and_each_column_its_group(tmp_path):
    page = tree(rendered(recorded(tmp_path)))
    table = table_of(page, "Errors")
    assert [row[:2] for row in rows(table)] == [["VGG16-BN ×1/8", m["label"]] for m in METHODS]
    above, heads = table.find("thead")
    assert [texts(cell) for cell in above] == ["", "basic"]
    assert above[1].attrib["scope"] == "colgroup"
    assert int(above[1].attrib["colspan"]) == len(heads) - 2
    assert [texts(cell) for cell in heads][:3] == ["model", "method", "error"]


def test_the_values_of_each_seed_are_there_and_the_missing_ones_seen(tmp_path):
    table = recorded(tmp_path)
    gone = Run(next(iter(table.cells)), 1).folder(tmp_path)
    (gone / "summary.json").unlink()
    page = check(rendered(collect(table.spec, tmp_path)))
    assert rows(table_of(page, "Each seed"))[0][3:] == ["6.00", "—", "6.20", "6.10 ± 0.14 (2)"]
    states = {row[4] for row in rows(table_of(page, "Runs"))}
    assert states == {"finished", "started"}
    assert "Missing runs (1); each command makes one" in texts(page)


def test_the_settings_in_which_methods_differ_are_named_and_no_others(tmp_path):
    page = tree(rendered(recorded(tmp_path)))
    assert rows(table_of(page, "Settings in which the methods differ")) == [
        ["optimizer.name", "sgd", "sam", "gnp"],
        ["optimizer.r", "0.0", "0.1", "0.1"],
    ]


def test_a_setting_that_a_config_does_not_name_has_its_old_default():
    configs = [{"seed": 0, "a": {"x": None, "y": 1}}, {"seed": 1, "a": {"y": True}}]
    assert differing(configs) == [("a.x", ["null", "—"]), ("a.y", ["1", "true"])]
    assert differing(configs, {"a": {"x": None}}) == [("a.y", ["1", "true"])]
    assert differing([{"runtime": {"threads": 1}}, {"runtime": {"threads": 2}}]) == []


def test_a_page_says_what_failed_with_the_end_of_its_log(tmp_path):
    table = recorded(tmp_path)
    cell = next(iter(table.cells))
    for seed, log in enumerate(("epoch 1\ntrain.py: no <disk> left\n", "\n".join("abc"), None)):
        folder = Run(cell, seed).folder(tmp_path)
        (folder / "summary.json").unlink()
        if log is not None:
            (folder / "log.txt").write_text(log)
    page = check(rendered(collect(table.spec, tmp_path)))
    states = [row[4] for row in rows(table_of(page, "Runs"))[:3]]
    assert states == ["failed", "started", "started"]
    shown = texts(page)
    assert "e/d-basic/sgd/seed0 (failed): no <disk> left" in shown
    assert [texts(pre) for pre in page.iter("pre")][:2] == [
        "epoch 1 train.py: no <disk> left",
        "a b c",
    ]


def test_the_end_of_a_log_is_what_a_terminal_would_show(tmp_path):
    assert last_lines(tmp_path / "none.txt") == ""
    (tmp_path / "log.txt").write_bytes(b"x" * 50_000 + b"\nstep 1\rstep 2\rstep 3\r\n\n\xff\n")
    assert last_lines(tmp_path / "log.txt").splitlines()[1:] == ["step 3", "�"]
    (tmp_path / "log.txt").write_text("\n".join(map(str, range(100))))
    assert last_lines(tmp_path / "log.txt").splitlines() == [str(n) for n in range(85, 100)]


def test_a_run_with_another_config_is_left_out_and_not_called_missing(tmp_path):
    table = recorded(tmp_path)
    odd = Run(next(iter(table.cells)), 2)

    def wanted(run):
        config = yaml.safe_load((run.folder(tmp_path) / "config.yaml").read_text())
        return {**config, "further": 1} if run == odd else config

    page = check(rendered(collect(table.spec, tmp_path, wanted=wanted)))
    assert [row[4] for row in rows(table_of(page, "Runs"))].count("left out") == 1
    assert "was made with another config" in texts(page)


def test_an_empty_table_is_a_whole_page(tmp_path):
    page = check(rendered(collect(small(), tmp_path)))
    shown = texts(page)
    assert "0 finished runs of 9" in shown
    assert "Missing runs (9)" in shown
    assert not list(tmp_path.rglob("differences.svg"))


def test_a_page_names_versions_and_processor_once_for_all_runs_that_share_them(tmp_path):
    table = recorded(tmp_path)
    for cell in table.cells:
        for seed in table.spec.seeds:
            file = Run(cell, seed).folder(tmp_path) / "environment.json"
            (start,) = json.loads(file.read_text())
            start |= {"python": "3.11.7", "packages": {"torch": "2.14.1", "timm": None}}
            start |= {"processor": f"Processor {seed % 2}", "cores": 2, "device": "cpu"}
            file.write_text(json.dumps([start]))
    page = check(rendered(collect(table.spec, tmp_path)))
    assert [row[-1] for row in rows(table_of(page, "Runs"))[:3]] == [
        f"torch 2.14.1, Processor {seed % 2}" for seed in range(3)
    ]
    (entries,) = page.iter("dl")
    assert [texts(name) for name in entries.iter("dt")] == ["Environment 1", "Environment 2"]
    assert "Python 3.11.7; torch 2.14.1 processor: Processor 1, cores: 2" in texts(entries)


# ------------------------------------------------------------------- differences


def test_the_figure_of_differences_has_the_tables_own_numbers(tmp_path):
    table = recorded(tmp_path)
    page = tree(rendered(table))
    wide, narrow = [s for s in page.iter(f"{SVG}svg") if s.attrib.get("class") == "whiskers"]
    alone = (tmp_path / "tables/small/differences.svg").read_text()
    for comparison in table.comparisons:
        low, high = comparison.interval
        said = f"{comparison.differences.mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        for shown in (texts(wide), texts(narrow), alone):
            assert said in shown
            assert comparison.name in shown
    assert int(narrow.attrib["width"]) <= 350
    for figure in (wide, narrow):
        assert len([p for p in figure.iter(f"{SVG}path") if p.attrib["class"] == "seed"]) == 9


def test_what_is_decided_is_filled_and_what_goes_on_has_an_arrow():
    whiskers = [
        Whisker("m", "A − B", [-2.0, -2.1, -1.9], -2.0, (-2.2, -1.8), "below", True),
        Whisker("m", "C − B", [0.1, 0.2, 0.3], 0.2, (-0.3, 0.7), "undecided", False),
        Whisker("n", "A − B", [1.0, -1.0], 0.0, (-900.0, 900.0), "undecided", False),
        Whisker("n", "C − B", [0.5, -0.5], 0.0, (-900.0, 0.7), "undecided", False),
    ]
    text = str(picture(whiskers, "<T>", "axis", alone=True))
    root = ElementTree.fromstring(text)
    marks = [group.attrib["class"] for group in root.iter(f"{SVG}g")]
    assert marks == ["decided", *["undecided"] * 3]
    lines = [len([p for p in g.iter(f"{SVG}path") if p.attrib["class"] == "whisker"])
             for g in root.iter(f"{SVG}g")]  # fmt: skip
    assert lines == [1, 1, 3, 2]
    assert root.find(f"{SVG}title").text == "<T>"
    dots = [float(c.attrib["cx"]) for c in root.iter(f"{SVG}circle")]
    assert dots[0] < dots[2] < dots[1]
    heads = [t.text for t in root.iter(f"{SVG}text") if t.get("class") == "head"]
    assert heads == ["<T>", "m", "n"]


def test_without_two_seeds_there_is_no_figure(tmp_path):
    assert differences_picture(recorded(tmp_path, seeds=[0])) is None


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=5),
    st.lists(st.tuples(st.floats(-1e6, 0), st.floats(0, 1e6)), max_size=5),
)
def test_a_scale_holds_zero_and_every_point_and_has_round_ticks(points, intervals):
    low, high = around(points, intervals)
    scale = Scale(low, high, 10, 300)
    assert all(scale.holds(x) for x in (0, *points))
    assert 10 <= scale(-1e9) <= scale(0) <= scale(1e9) <= 300
    ticks = scale.ticks(5)
    places = [place for place, _ in ticks]
    assert 1 <= len(ticks) <= 11
    assert places == sorted(places)
    assert "0" in [text for _, text in ticks]


def test_one_endless_interval_does_not_flatten_the_others():
    low, high = around([1.0, -1.0], [(-2.0, 2.0), (-2.0, 1.0), (-1000.0, 1000.0)])
    assert high - low < 30
    assert [round_step(x) for x in (0.1, 0.11, 0.3, 0.6, 7)] == pytest.approx(
        [0.1, 0.2, 0.5, 1, 10]
    )


# ------------------------------------------------------------------- a results root


def test_the_index_leads_to_every_table_and_every_file_of_every_run(tmp_path):
    table = recorded(tmp_path)
    rendered(table)
    older = tmp_path / "studies" / "older"
    older.mkdir(parents=True)
    (older / "study.md").write_text("# A study \\[of r\\]\n\ntext\n")
    page = write_index(tmp_path)
    links = {texts(a): a.attrib["href"] for a in page.iter("a")}
    assert links["A small table"] == "tables/small/report.html"
    assert links["study.md"] == "studies/older/study.md"
    assert [texts(h) for h in page.iter("h3")] == ["A small table", "A study [of r]"]
    assert "GNP below SAM: decided in 0 of 1 row" in texts(page)
    assert len(rows(table_of(page, "Runs"))) == 9
    assert "9 runs: 9 finished." in texts(page)
    again = check(rendered(table))
    assert ("All results", "../../index.html") in [
        (texts(a), a.attrib["href"]) for a in again.iter("a")
    ]


def test_the_index_has_seeds_in_their_order_and_runs_of_every_state(tmp_path):
    table = small(seeds=list(range(12)))
    cell = next(table.cells())
    for seed in (10, 9, 2):
        write_record(tmp_path, Run(cell, seed), [5.0])
    (Run(cell, 9).folder(tmp_path) / "metrics.jsonl").write_text("{}\n")
    failed = Run(cell, 3).folder(tmp_path)
    failed.mkdir()
    (failed / "log.txt").write_text("Traceback (most recent call last):\n  x\nValueError: <odd>\n")
    begun = Run(cell, 4).folder(tmp_path)
    begun.mkdir()
    (begun / "config.yaml").write_text("seed: 4\n")
    write_diverged(tmp_path, Run(cell, 6))
    Run(cell, 5).folder(tmp_path).mkdir()  # no trace of a run
    page = write_index(tmp_path)
    found = [(row[3], row[4]) for row in rows(table_of(page, "Runs"))]
    assert found == [("2", "finished"), ("10", "finished"), ("3", "failed"), ("4", "started"),
                     ("6", "diverged"), ("9", "damaged")]  # fmt: skip
    assert "6 runs: 2 finished, 1 failed, 1 started, 1 diverged, 1 damaged." in texts(page)
    assert "seed6 (diverged, 1 epoch behind it): diverged in epoch 2: the loss was NaN" in texts(
        page
    )
    assert "seed3 (failed): ValueError: <odd>" in texts(page)
    assert "metrics.jsonl is damaged" in texts(page)


def test_records_from_before_there_were_predictions_versions_or_dates(tmp_path):
    table = small(seeds=[0])
    for run in table.runs():
        folder = write_record(tmp_path, run, [5.0])
        summary = json.loads((folder / "summary.json").read_text())
        del summary["finished"]
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "environment.json").unlink()
    page = write_index(tmp_path)
    assert [row[-2:] for row in rows(table_of(page, "Runs"))] == [["—", "—"]] * 3
    check(rendered(collect(table, tmp_path)))


def test_an_empty_root_is_a_page_and_none_is_an_error(tmp_path):
    assert "No run is recorded below" in texts(write_index(tmp_path))
    assert read_root(tmp_path) == ([], [])
    with pytest.raises(NoResults, match=r"there is no folder .*/none; root=… is the one"):
        index_page(tmp_path / "none")


@pytest.mark.slow
def test_the_script_writes_the_index_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    root = tmp_path / "root [1]"
    recorded(root)

    def script(*arguments):
        command = [sys.executable, "scripts/report.py", *arguments]
        environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    done = script(f"root={root}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"9 runs: 9 finished.\nwritten: {root}/index.html\n"
    assert len(rows(table_of(check(root / "index.html"), "Runs"))) == 9
    missing = script("nowhere")
    assert missing.returncode == 2
    assert missing.stderr.startswith("report.py: there is no folder nowhere")


# ------------------------------------------------------------------- pages as such


ODD = [
    "<b>bold</b>",
    "&lt;",
    "\"quotes\" 'too'",
    "{{ page }}",
    "{% raw %}",
    "</script>",
    "α ~ ×1/8",
]


@pytest.mark.parametrize("text", ODD)
def test_a_text_is_shown_as_written_wherever_it_stands(tmp_path, text):
    table = Table(text, [Column(text), Column(text, True, text)], [Row([text, text])])
    sections = [Section(text, [Text(text), table]), Section("x", [Text(f"{text}\n{text}")])]
    (tmp_path / "page.html").write_text(to_html(Page(text, text, sections)))
    page = check(tmp_path / "page.html")
    assert texts(page.find("head/title")) == text
    assert texts(page).count(text) == 13
    assert page.find(".//meta[@name='description']").attrib["content"] == text


def test_a_link_leads_to_a_file_of_any_name(tmp_path):
    name = 'a b#c?d%"<&.yaml'
    (tmp_path / name).write_text("")
    page = Page("t", "s", [Section("x", [Table("c", [Column("n")], [Row([link("file", name)])])])])
    (tmp_path / "page.html").write_text(to_html(page))
    check(tmp_path / "page.html")


def test_a_long_name_breaks_between_its_words_and_in_no_number():
    name = "tune_sgd_lr0.0541_weight_decay1e-3"
    assert breakable(name) == "tune_<wbr>sgd_<wbr>lr0.0541_<wbr>weight_<wbr>decay1e-3"
    assert breakable("optimizer.weight_decay") == "optimizer.<wbr>weight_<wbr>decay"
    assert breakable("tiny/wrn_10_2") == "tiny/wrn_<wbr>10_2"
    assert breakable("a_<b>_") == "a_<wbr>&lt;b&gt;_"
    assert breakable(link("a_b", "c")) == '<a href="c">a_b</a>'


def test_two_pictures_of_matplotlib_have_no_id_in_common():
    svg = (
        '<?xml?><svg width="1"><metadata>http</metadata><defs><clipPath id="a"/></defs>'
        '<g clip-path="url(#a)"><use xlink:href="#b"/><path style="fill: #ffffff"/></g></svg>'
    )
    assert embedded(svg, "one", "<what>") == (
        '<svg class="picture" role="img" aria-label="&lt;what&gt;" width="1"><defs>'
        '<clipPath id="one-a"/></defs><g clip-path="url(#one-a)"><use xlink:href="#one-b"/>'
        '<path style="fill: none"/></g></svg>'
    )


def test_a_heading_is_an_id_whatever_is_in_it():
    assert slug("Fit & generalisation") == "fit-generalisation"
    assert slug("†") == "section"
