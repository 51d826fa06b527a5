"""Which runs a table has, what its numbers are, and how they are printed."""

import csv
import io
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import yaml
from conftest import CONFIGS, ROOT
from pages import check, rows, table_of, texts, tree
from records import PART, SPEC, spec, write_diverged, write_record
from rich.console import Console

from gnp.report import figures
from gnp.report.numbers import format_statistic
from gnp.settings.table import Method
from gnp.statistics import Statistic
from gnp.tables import Run, SpecError, TableSpec, collect, write_outputs
from gnp.tables.plots import learning_curves, looks_of
from gnp.tables.published import Published, published_table
from gnp.tables.text import to_csv, to_latex, to_markdown, to_terminal

ERRORS = {
    ("sgd", "basic"): [5.0, 6.0, 7.0],
    ("gnp", "basic"): [4.0, 5.0, 6.6],
    ("sgd", "cutout"): [4.5, 4.7, 4.9],
}


@pytest.fixture
def table(tmp_path):
    """Three cells are full; of GNP with cutout only seed 1 is there."""
    s = spec()
    for cell in s.cells():
        errors = ERRORS.get((cell.method.optimizer, cell.column.augmentation))
        for seed in s.seeds:
            if errors:
                write_record(tmp_path, Run(cell, seed), [50.0, errors[seed] - 0.5, errors[seed]])
            elif seed == 1:
                write_record(tmp_path, Run(cell, seed), [50.0, 4.25])
    return collect(s, tmp_path)


def result(table, method, augmentation):
    (found,) = [
        r
        for c, r in table.cells.items()
        if (c.method.label, c.column.augmentation) == (method, augmentation)
    ]
    return found


def test_the_published_tables_have_78_cells_of_the_paper():
    table1, table2 = published_table("table1"), published_table("table2")
    assert (len(table1), len(table2)) == (54, 24)
    assert table1["VGG16-BN", "GNP", "C100 cutout"] == Published(23.07, 0.26)
    assert table1["VGG16", "SAM", "C10 cutout"] == Published(6.17, None)
    assert table1["PyramidNet-SD", "GNP", "C10 AutoAugment+CutMix"] == Published(1.30, 0.07)
    assert table2["ViT-TI16", "base", "C10 heavy"] == Published(14.68, 0.14)
    with pytest.raises(SpecError, match="there are moskomule, table1, table2"):
        published_table("table3")


def test_runs_come_seed_by_seed_with_their_place_and_command():
    runs = list(spec().runs())
    assert len(runs) == 12
    assert [r.seed for r in runs] == [0] * 4 + [1] * 4 + [2] * 4
    assert str(runs[0].path) == "e/d-basic/sgd/seed0"
    assert runs[-1].command("results", ["training.epochs=2"]) == (
        "python scripts/train.py experiment=e dataset=d augmentation=cutout optimizer=gnp seed=2 "
        "root=results training.epochs=2"
    )


def test_what_diverged_is_warned_of_and_no_missing_run(tmp_path):
    s = spec()
    for run in s.runs():
        if (run.cell.method.optimizer, run.seed) == ("gnp", 1):
            folder = write_diverged(tmp_path, run)
        else:
            write_record(tmp_path, run, [50.0, 5.0 + run.seed])
    table = collect(s, tmp_path)
    assert (table.missing, len(table.diverged)) == ([], 2)
    assert result(table, "GNP", "cutout").error.n == 2
    markdown = to_markdown(table)
    assert "6.00 ± 1.41 (2 of 3)" in markdown
    assert "Missing runs" not in markdown
    said = "e/d-cutout/gnp/seed1 diverged in epoch 2: the loss was NaN; what is shown is without it"
    assert any(said in warning for warning in table.warnings)
    # A record of it that is not whole is none.
    (folder / "metrics.jsonl").write_text("")
    table = collect(s, tmp_path)
    assert ([r.path for r in table.missing], len(table.diverged)) == ([run.path for run in s.runs()
        if run.folder(tmp_path) == folder], 1)  # fmt: skip


def test_a_column_may_have_fewer_seeds(tmp_path):
    columns = [dict(column) for column in PART["columns"]]
    columns[1]["seeds"] = 1
    few = spec(columns=columns)
    assert [str(r.path) for r in few.runs() if r.cell.column.label == "cutout"] == [
        "e/d-cutout/sgd/seed0",
        "e/d-cutout/gnp/seed0",
    ]
    table = collect(few, tmp_path)
    assert len(table.missing) == 8
    assert "seeds 0, 1, 2; cutout: 0." in to_markdown(table)
    columns[1]["seeds"] = 0
    with pytest.raises(SpecError, match="cutout has seeds=0"):
        spec(columns=columns)


def test_no_override_changes_what_a_method_is_named_for():
    longer = {"label": "SGD, twice", "optimizer": "sgd", "name": "sgd2"}
    methods = [*PART["methods"], {**longer, "settings": "training.epochs=2"}]
    assert spec(methods=methods, overrides=["training.batch_size=8"])
    with pytest.raises(SpecError, match=r"overrides have training\.epochs=3, and the settings of "
                                        r"the method SGD, twice training\.epochs too"):  # fmt: skip
        spec(methods=methods, overrides=["training.epochs=3"])


def test_a_method_with_settings_has_a_place_of_its_own():
    settings = "optimizer.r=0.2 training.epochs=5"
    method = Method(label="cheap", optimizer="gnp", name="gnp_cheap", settings=settings)
    (cell,) = list(spec().cells())[:1]
    run = Run(replace(cell, method=method), 3)
    assert str(run.path) == "e/d-basic/gnp_cheap/seed3"
    assert run.settings()[3:] == [
        "optimizer=gnp",
        "method=gnp_cheap",
        "optimizer.r=0.2",
        "training.epochs=5",
        "seed=3",
    ]
    official = Run(replace(cell, method=method, fidelity="official"), 3)
    assert str(official.path) == "e/d-basic/gnp_cheap-official/seed3"
    assert "method=gnp_cheap-official" in official.settings()


def test_a_table_of_two_parts_is_two_grids_with_columns_of_their_own(tmp_path):
    part = {**PART, "columns": PART["columns"][:1], "published": None}
    two = collect(spec(parts={"first": PART, "left out": None, "second": part}), tmp_path)
    text = to_markdown(two)
    assert text.count("| model | method |") == 2
    assert "| model | method | basic | best epoch† |\n" in text
    assert to_latex(two).count(r"\begin{tabular}") == 3  # with the comparisons
    assert len(to_terminal(two)) == 3
    assert len(list(two.spec.runs())) == 12  # the second part's are among the first's


def test_official_fidelity_has_places_and_augmentations_of_its_own():
    columns = [{**PART["columns"][0], "official_augmentation": "mixcut"}]
    cells = {
        name: next(spec(fidelity=name, columns=columns).runs()) for name in ("paper", "official")
    }
    assert str(cells["paper"].path) == "e/d-basic/sgd/seed0"
    assert str(cells["official"].path) == "e/d-mixcut/sgd-official/seed0"
    assert "fidelity=official" in cells["official"].settings()
    assert "augmentation=mixcut" in cells["official"].settings()


def test_the_best_epochs_are_compared_if_the_table_says_so(table):
    best = collect(spec(error_of="best"), table.root)
    gnp = result(best, "GNP", "basic")
    assert gnp.errors == [3.5, 4.5, 6.1]
    assert gnp.difference == pytest.approx(result(table, "GNP", "basic").difference - 0.5)
    assert "of the best epoch's weights" in to_markdown(best)


def test_statistics_are_mean_and_sample_standard_deviation(table):
    error = result(table, "GNP", "basic").error
    assert error.mean == pytest.approx(statistics.mean([4.0, 5.0, 6.6]))
    assert error.std == pytest.approx(statistics.stdev([4.0, 5.0, 6.6]))
    assert error.n == 3
    assert Statistic.of([]) is None
    assert Statistic.of([2.0]) == Statistic(2.0, None, 1)


def test_the_last_epoch_is_reported_and_the_best_one_apart(table):
    gnp = result(table, "GNP", "basic")
    assert gnp.best.mean == pytest.approx(gnp.error.mean - 0.5)


def test_the_difference_is_ours_minus_the_published(table):
    gnp = result(table, "GNP", "basic")
    assert gnp.difference == pytest.approx(5.2 - 4.88)


def test_formats():
    assert format_statistic(Statistic(5.214, 0.0849, 3), 3) == "5.21 ± 0.08 (3)"
    assert format_statistic(Statistic(5.214, 0.0849, 2), 3) == "5.21 ± 0.08 (2 of 3)"
    assert format_statistic(Statistic(5.214, None, 1), 1) == "5.21 (1)"
    assert format_statistic(None, 3) == "—"


def test_markdown_has_numbers_published_values_and_missing_commands(table):
    text = to_markdown(table)
    assert "| VGG16-BN ×1/8 | SGD | 6.00 ± 1.00 (3) | 5.74 ± 0.09 | +0.26 " in text
    assert "| 5.20 ± 1.31 (3) | 4.88 ± 0.12 | +0.32 \\[-2.88, +3.52\\] compatible |" in text
    assert "| 4.25 (1 of 3) | 4.02 ± 0.08 | +0.23 |" in text  # one seed: no statement
    assert "Made up for a test." in text
    assert "chosen on those very images" in text
    for seed in (0, 2):
        assert f"augmentation=cutout optimizer=gnp seed={seed} root={table.root}" in text
    assert len(table.missing_commands) == 2


def test_a_table_without_records_is_dashes_and_commands(tmp_path):
    empty = collect(spec(), tmp_path)
    assert to_markdown(empty).count("python scripts/train.py") == 12
    assert "| SGD | — | 5.74 ± 0.09 | — | — |" in to_markdown(empty)
    assert all(p.exists() for p in write_outputs(empty))


def test_without_published_values_there_are_no_columns_for_them(tmp_path):
    text = to_markdown(collect(spec(published=None), tmp_path))
    assert "| model | method | basic | best epoch† | cutout | best epoch† |" in text


def test_csv_is_unrounded(table):
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(lines) == 4
    gnp = lines[2]
    assert (gnp["method"], gnp["n"], gnp["errors"]) == ("GNP", "3", "4 5 6.6")
    assert float(gnp["std_error"]) == pytest.approx(statistics.stdev([4.0, 5.0, 6.6]), rel=1e-5)


def test_latex_has_balanced_columns_and_no_raw_special_characters(table):
    text = to_latex(table)
    body = text[text.index(r"\toprule") :]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert [row.count("&") for row in rows] == [9] * 3 + [9] * 3
    assert r"5.20 $\pm$ 1.31 (3)" in body
    assert not re.search(r"(?<!\\)[%#_±×†—]", body)


def test_the_terminal_shows_the_same_numbers(table):
    def shown(width):
        console = Console(width=300, record=True, file=io.StringIO())
        console.print(*to_terminal(table, width))
        return console.export_text()

    assert "5.20 ± 1.31 (3)" in shown(None)
    assert shown(None).count("best epoch†") == 2
    assert "5.20 ± 1.31 (3)" in shown(100)
    # In the titles, which say where it is: the two columns do not fit beside one another.
    assert shown(100).count("best epoch†") == 2
    assert max(len(line.rstrip()) for line in shown(100).splitlines()) <= 100


def test_the_report_is_one_file_that_loads_nothing(table):
    report = next(p for p in write_outputs(table) if p.name == "report.html")
    page = check(report)
    assert not re.search(r"@import|url\((?!#)", report.read_text())
    assert list(page.iter("table"))
    assert list(page.iter("{http://www.w3.org/2000/svg}svg"))
    assert "5.20 ± 1.31 (3)" in texts(page)


def test_no_two_methods_look_the_same_and_sam_is_sam_by_any_name():
    methods = [
        {"label": f"α = {alpha}", "optimizer": "gnp", "name": f"a{alpha}",
         "settings": f"optimizer.alpha={alpha}"}
        for alpha in (0, 1, *(k / 10 for k in range(1, 10)))
    ]  # fmt: skip
    (part,) = spec(methods=[*methods, {"label": "SAM", "optimizer": "sam"}]).parts.values()
    looks = {method.label: look for method, look in looks_of(part).items()}
    assert len(set(looks.values())) == len(looks) == 12
    plain = [look for look in looks.values() if not look[1]]
    assert plain == [(c, "") for c in (figures.STANDARD, figures.SAM, figures.GNP)]
    assert list(looks)[:3] == ["α = 0", "α = 1", "α = 0.1"]
    assert all(looks[label] == look for label, look in zip(list(looks)[:3], plain, strict=True))


def test_a_curve_of_one_epoch_is_seen_and_its_mark_is_in_the_legend(tmp_path):
    wide = {"label": "wide", "optimizer": "sgd", "name": "wide", "settings": "model.width=2"}
    s = spec(methods=[*PART["methods"], wide])
    for run in s.runs():
        write_record(tmp_path, run, [5.0 + run.seed])
    svg = learning_curves(collect(s, tmp_path)).to_svg()
    ElementTree.fromstring(svg)
    # Solid and dashed of three methods in two pictures, each a mark and a stroke over the seeds.
    marks = re.findall(r"<use [^>]*style=\"fill: #(?:00916a|2b7bba|b4559c)", svg)
    assert len(marks) == 24
    assert svg.count(figures.MARKS["o"]) == 2  # the legend's


def test_the_gap_is_of_the_last_epoch_also_where_the_best_are_compared(tmp_path):
    s = spec(error_of="best")
    for run in s.runs():
        write_record(tmp_path, run, [3.0, 9.0])
    table = collect(s, tmp_path)
    page = tree(next(p for p in write_outputs(table) if p.name == "report.html"))
    fit = next(iter(table.results)).fit.mean
    shown = rows(table_of(page, "Fit and generalisation"))
    assert len(shown) == 4
    assert all(row[4:6] == ["9.00 ± 0.00 (3)", f"{9 - fit:.2f}"] for row in shown)


def test_the_curves_are_a_valid_picture_with_a_line_for_each_method(table):
    svg = next(p for p in write_outputs(table) if p.name == "curves.svg").read_text()
    ids = [element.get("id") for element in ElementTree.fromstring(svg).iter()]
    assert len(set(ids) - {None}) == len(ids) - ids.count(None)
    for label in ("SGD test", "GNP test", "GNP training", "VGG16-BN ×1/8, cutout"):
        assert label in svg


def test_rendering_twice_gives_the_same_bytes(table):
    first = [p.read_bytes() for p in write_outputs(table)]
    assert [p.read_bytes() for p in write_outputs(collect(table.spec, table.root))] == first


def test_seeds_with_different_configs_are_reported(tmp_path):
    s = spec(seeds=[0, 1])
    for run in s.runs():
        write_record(tmp_path, run, [5.0], optimizer={"lr": 0.1 if run.seed == 0 else 0.2})
    table = collect(s, tmp_path)
    assert len(table.warnings) == 4
    assert "optimizer.lr: 0.1 recorded, 0.2 wanted" in to_markdown(table)


def test_validation_errors_are_not_called_test_errors(tmp_path):
    s = spec(seeds=[0])
    for run in s.runs():
        write_record(tmp_path, run, [5.0], evaluated="validation")
    outputs = {p.name: p.read_text() for p in write_outputs(collect(s, tmp_path))}
    assert "Validation error in %" in outputs["table.md"]
    assert "SGD validation" in outputs["curves.svg"]
    assert "est error" not in outputs["table.md"].replace("lowest", "")


def test_the_report_names_the_code_of_each_run(table):
    report = next(p for p in write_outputs(table) if p.name == "report.html")
    codes = {row[3]: row[-2].split()[1] for row in rows(table_of(tree(report), "Runs"))[:3]}
    assert codes == {"0": "01234567", "1": "01234567*", "2": "01234567"}  # seed 1's was modified


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": []}, r"parts\.cnn\.rows is empty"),
        ({"parts": {}}, "parts is empty"),
        ({"error_of": "median"}, "error_of=median: expected last or best"),
        ({"seeds": [1, 1]}, "seeds lists 1 twice"),
        (
            {"colums": []},
            r"no setting 'table\.colums'.*Did you mean 'table\.parts\.<name>\.columns'",
        ),
        ({"sedes": [0]}, r"no setting 'table\.sedes'\. Did you mean 'table\.seeds'\?"),
        ({"parts": {"cnn": {"colums": []}}}, r"Did you mean 'table\.parts\.cnn\.columns'\?"),
        ({"rows": [{"lable": "x"}]}, r"Did you mean 'table\.parts\.cnn\.rows\[0\]\.label'\?"),
        ({"seeds": [True]}, "could not be converted to Integer"),
        ({"seeds": ["a"]}, "seeds"),
        ({"rows": [{"label": "x"}]}, r"parts\.cnn\.rows\[0\]\.experiment is missing"),
        ({"methods": [{"label": "x", "optimizer": "gnp", "settings": "a=1"}]}, "needs a name"),
    ],
)
def test_a_wrong_spec_is_refused(change, words):
    with pytest.raises(SpecError, match=words):
        spec(**change)


GNP = {"label": "GNP", "optimizer": "gnp"}


def other(key, **changes):
    """A second row, column or method like the first, but for ``changes``."""
    return [PART[key][0], {**PART[key][0], "label": "other", **changes}]


@pytest.mark.parametrize(
    "change",
    [
        {"methods": [{**GNP, "name": "a"}, {**GNP, "label": "other", "name": "a",
                                            "settings": "optimizer.r=0.2"}]},
        {"methods": [GNP, {**GNP, "label": "other", "optimizer": "sam", "name": "gnp"}]},
        {"methods": [{**GNP, "name": "a"}, {**GNP, "label": "other", "name": "A"}]},
        {"rows": other("rows")},
        {"columns": other("columns")},
        {"columns": other("columns", seeds=1)},
        {"rows": other("rows", experiment="e_x"),
         "columns": other("columns", experiment_suffix="_x")},
        {"columns": [{**PART["columns"][0], "dataset": "d", "augmentation": "b-c"},
                     {**PART["columns"][0], "label": "other", "dataset": "d-b",
                      "augmentation": "c"}]},
        {"parts": {"one": PART, "two": {**PART, "methods": [
            {"label": "other", "optimizer": "gnp"}]}}},
    ],
    ids=lambda change: "+".join(change),
)  # fmt: skip
def test_cells_that_would_share_their_runs_are_refused_with_both_named(change):
    with pytest.raises(SpecError, match=r"'(?s:.)* and .*'other'.* would have the same runs, in "):
        spec(**change)


def test_a_label_stands_once_among_rows_columns_and_methods():
    for key, change in (("rows", "experiment"), ("columns", "dataset"), ("methods", "name")):
        twice = [PART[key][0], {**PART[key][0], change: "x"}]
        with pytest.raises(SpecError, match=f"parts.cnn.{key} has the label .* twice"):
            spec(**{key: twice})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"published": "table3"},
            "no published table 'table3'; there are moskomule, table1, table2, third",
        ),
        ({"rows": other("rows", experiment="f", published="VGG61")}, "table1 has no row 'VGG61'"),
        ({"columns": other("columns", dataset="c", published="C1")}, "has no column 'C1'"),
    ],
)
def test_published_values_that_are_not_there_are_refused_at_once(change, words):
    with pytest.raises(SpecError, match=words):
        spec(**change)


@pytest.mark.parametrize(
    "settings",
    ["method=x", "seed=5", "+optimizer=sam", "root=/x", "dataset.name=y", "a='", "a b c"],
)
def test_settings_of_a_method_that_cannot_be_are_refused(settings):
    with pytest.raises(SpecError, match=r"methods\[0\]\.settings is"):
        spec(methods=[{**GNP, "name": "x", "settings": settings}])


@pytest.mark.parametrize("name", ["../x", "/x", "", "a/b"])
def test_a_tables_files_lie_below_its_root(name):
    with pytest.raises(SpecError, match=r"table\.name is .*one folder"):
        spec(name=name)


@pytest.mark.slow
def test_rendering_needs_no_torch(tmp_path):
    """The script runs where importing torch fails."""
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    done = subprocess.run(
        [sys.executable, "scripts/render_table.py", "table=quickstart", f"root={tmp_path}"],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "18 runs are missing" in done.stdout
    assert (tmp_path / "tables/quickstart/report.html").exists()


def test_one_seed_has_no_deviation():
    assert Statistic.of([3.0]) == Statistic(3.0, None, 1)
    assert Statistic.of([]) is None


# ------------------------------------------------------------------- third parties' values


def test_a_third_partys_value_has_a_column_where_there_is_one(tmp_path):
    rows = [{"label": "WRN", "experiment": "e", "published": "WRN-28-10"}]
    columns = [
        {"label": "10", "dataset": "d", "augmentation": "basic", "published": "C10 basic"},
        {"label": "100", "dataset": "e", "augmentation": "basic", "published": "C100 basic"},
    ]
    own = spec(rows=rows, columns=columns, also_published="third_parties")
    text = to_markdown(collect(own, tmp_path))
    head = next(line for line in text.splitlines() if line.startswith("| model"))
    assert head.count("third party") == 1
    assert head.index("| 100 |") < head.index("third party")
    sgd = next(line for line in text.splitlines() if "| SGD |" in line)
    assert "| 18.99 ± 0.12 | — | 19.94 |" in sgd
    assert "third party: third parties' value" in text
    assert "third party" not in to_markdown(collect(spec(rows=rows, columns=columns), tmp_path))


def test_the_table_of_third_parties_has_their_values_and_their_sources():
    folder = ROOT / "gnp/tables/published"
    for name, count in {"third_parties": 14, "moskomule": 2}.items():
        lines = list(csv.DictReader(io.StringIO((folder / f"{name}.csv").read_text())))
        assert len(lines) == len(published_table(name)) == count
        assert all(line["source"].strip() for line in lines)
    table = TableSpec.from_config(
        yaml.safe_load((CONFIGS / "table/third_parties.yaml").read_text())
    )
    values = published_table("third_parties")
    known = {}
    for cell in table.cells():
        value = values.get((cell.row.published, cell.method.label, cell.column.published))
        of_column = known.setdefault(
            (cell.row.label, cell.column.dataset, cell.column.augmentation), []
        )
        of_column.append(value and value.error)
    assert known == {
        ("ResNet-18", "cifar10", "basic"): [4.68, 4.22, None],
        ("ResNet-18", "cifar100", "basic"): [None, 21.93, None],
        ("ResNet-18", "cifar100", "cutout"): [None, 19.22, None],
        ("ResNet-20", "cifar10", "basic"): [7.97, 7.15, None],
        ("ResNet-32", "cifar100", "basic"): [30.68, 28.01, None],
        ("ResNet-32", "cifar10", "basic"): [5.50, 5.20, None],
        ("ResNet-32", "cifar10_noise40", "basic"): [12.32, 9.38, None],
    }
    (twice,) = [part for part in table.parts.values() if part.also_published]
    assert (twice.rows[0].published, twice.also_published) == ("ResNet-20", "moskomule")
    assert published_table("moskomule") == {
        ("ResNet-20", "SGD", "C10 basic"): Published(6.8, None),
        ("ResNet-20", "SAM", "C10 basic"): Published(6.5, None),
    }


def test_each_part_has_the_values_of_its_own_file(tmp_path, monkeypatch):
    """A file of one's own needs nothing but to be there."""
    shutil.copytree(ROOT / "gnp/tables/published", tmp_path / "published")
    mine = "model,method,column,error,std\nWRN-28-10,SGD,C100 basic,99,\n"
    (tmp_path / "published/mine.csv").write_text(mine)
    monkeypatch.setattr("gnp.tables.published.FOLDER", tmp_path / "published")
    published_table.cache_clear()
    column = {**PART["columns"][0], "dataset": "e", "published": "C100 basic"}
    row = {"label": "WRN", "experiment": "e", "published": "WRN-28-10"}
    part = {"rows": [row], "columns": [column], "methods": PART["methods"][:1]}
    other = {**part, "rows": [{**row, "experiment": "f"}]}
    table = TableSpec.from_config({**SPEC, "parts": {
        "theirs": {**part, "published": "table1", "also_published": "third_parties"},
        "mine": {**other, "published": "mine"},
    }})  # fmt: skip
    found = collect(table, tmp_path)
    assert [(r.published.error, r.also_published) for r in found.results] == [
        (18.99, Published(19.94, None)),
        (99.0, None),
    ]
    text = to_markdown(found)
    assert text.count("| third party |") == 1
    assert "the value of gnp/tables/published/mine.csv; difference: ours minus that" in text


def test_a_published_file_that_is_not_there_is_refused_as_the_other_one(tmp_path):
    with pytest.raises(SpecError, match="no published table 'third'"):
        spec(also_published="third")
