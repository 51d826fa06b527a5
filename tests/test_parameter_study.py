"""Which runs a parameter study has, what its numbers are, and how they are printed and drawn."""

import csv
import io
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import records
from conftest import CONFIGS, PATIENCE, ROOT
from hydra import compose, initialize_config_dir
from pages import check, rows, table_of
from pages import texts as shown_texts
from rich.console import Console

from gnp.jobs import SeriesMismatch, WantedConfigs, check_records
from gnp.settings import resolve, run_path, unrecorded
from gnp.studies import Point, StudyError, StudySpec, collect, write_outputs
from gnp.studies.plots import SAM, STANDARD, colour_range, curves
from gnp.studies.text import to_csv, to_markdown, to_terminal

STUDY = {
    "name": "small",
    "title": "A small study",
    "note": "Made up for a test.",
    "experiment": "e",
    "dataset": "d",
    "augmentation": "basic",
    "r": [0.1, 0.01],
    "alpha": [1.0, 0, 0.8],
    "seeds": [0, 1],
    "overrides": ["training.epochs=2"],
}
ERRORS = {  # (r, α): an error for each seed, None where the run is missing
    (0, 0): [6.0, 7.0],
    (0.01, 0.8): [5.0, 5.5],
    (0.1, 0.8): [4.0, 4.6],
    (0.01, 1): [None, 5.2],
    (0.1, 1): [None, None],
}


def spec(**changes):
    return StudySpec.from_config({**STUDY, **changes})


def write_record(root, run, error, optimizer=None, **kind):
    """The last of two epochs has this error, the first half of it."""
    optimizer = {"r": run.point.r, "alpha": run.point.alpha, **(optimizer or {})}
    records.write_record(root, run, [error / 2, error], optimizer=optimizer, **kind)


def study_of(root, error=lambda run: 5.0 + run.seed + run.point.r, **changes):
    """A study all of whose runs are recorded; ``error`` gives that of a run, or None for none."""
    study = spec(**changes)
    for run in study.runs():
        if (value := error(run)) is not None:
            write_record(root, run, value)
    return collect(study, root)


@pytest.fixture
def study(tmp_path):
    """With α = 1, one of four runs is there."""
    return study_of(tmp_path, lambda run: ERRORS[run.point.r, run.point.alpha][run.seed])


# ---------------------------------------------------------------------- the grid


def test_the_standard_scheme_is_one_point_whatever_r():
    assert spec().points() == [
        Point(0.0, 0),
        Point(0.01, 0.8),
        Point(0.1, 0.8),
        Point(0.01, 1),
        Point(0.1, 1),
    ]
    assert spec().point(0.1, 0) == spec().point(0.01, 0)


def test_runs_come_seed_by_seed_each_once():
    assert [run.seed for run in spec().runs()] == [0] * 5 + [1] * 5
    assert len({run.path for run in spec().runs()}) == 10


@pytest.mark.parametrize(
    ("point", "method", "settings"),
    [
        (Point(0.0, 0), "gnp_alpha0", "optimizer.r=0 optimizer.alpha=0"),
        (Point(0.01, 0.8), "gnp_r0.01_alpha0.8", "optimizer.r=0.01 optimizer.alpha=0.8"),
        (Point(0.1 + 0.2, 1.0), "gnp_r0.3_alpha1", "optimizer.r=0.3 optimizer.alpha=1"),
    ],
)
def test_a_run_has_a_place_and_a_command_that_say_its_point(point, method, settings):
    run = spec().run(point, 1)
    assert str(run.path) == f"e/d-basic/{method}/seed1"
    assert run.command("my results", ["training.epochs=2"]) == (
        "python scripts/train.py experiment=e dataset=d augmentation=basic optimizer=gnp "
        f"{settings} method={method} seed=1 'root=my results' training.epochs=2"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"r": []}, "study small: r is empty; list at least one value"),
        ({"alpha": []}, "alpha is empty"),
        ({"seeds": []}, "seeds is empty"),
        ({"r": [0.1, 0.2, 0.1]}, r"r lists 0\.1 twice; list it once"),
        ({"r": [0.3, 0.1 + 0.2]}, r"r lists 0\.3 twice"),
        ({"alpha": [0, 0.0]}, "alpha lists 0 twice"),
        ({"seeds": [1, 1]}, "seeds lists 1 twice"),
        ({"r": [0, 0.1]}, "r has 0, which is the standard scheme .* list 0 in alpha instead"),
        ({"r": [-0.1]}, r"r has -0\.1; expected lengths above 0"),
        ({"r": [math.inf]}, "r has inf; expected lengths above 0"),
        ({"alpha": [1.5]}, r"alpha has 1\.5; expected values from 0 .* to 1 \(SAM\)"),
        ({"alpha": [-0.1]}, r"alpha has -0\.1; expected values from 0"),
        ({"alpha": [math.nan]}, "alpha has nan; expected values from 0"),
        ({"alfa": [1]}, r"no setting 'study\.alfa'\. Did you mean 'study\.alpha'\?"),
        ({"seeds": [True]}, r"study\.seeds: .* could not be converted to Integer"),
        ({"seeds": ["a"]}, r"study\.seeds\[0\]: Value 'a' .* could not be converted to Integer"),
        ({"r": 0.1}, r"study\.r: "),
        ({"experiment": "???"}, r"study\.experiment: Missing mandatory value"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_wrong(change, words):
    with pytest.raises(StudyError, match=words):
        spec(**change)


# ------------------------------------------------------------------- the numbers


def test_statistics_are_mean_and_sample_deviation_of_the_last_epoch(study):
    result = study.at(0.1, 0.8)
    assert (result.errors, result.missing) == ([4.0, 4.6], [])
    assert result.error.mean == pytest.approx(4.3)
    assert result.error.std == pytest.approx(statistics.stdev([4.0, 4.6]))
    assert study.at(0.01, 0) is study.at(0.1, 0)


def test_missing_runs_are_listed_in_the_order_of_training(study):
    assert [str(run.path) for run in study.missing] == [
        "e/d-basic/gnp_r0.01_alpha1/seed0",
        "e/d-basic/gnp_r0.1_alpha1/seed0",
        "e/d-basic/gnp_r0.1_alpha1/seed1",
    ]
    assert study.at(0.01, 1).errors == [5.2]
    assert study.at(0.1, 1).error is None


@pytest.mark.parametrize(("errors", "at"), [({}, 4.3), ({(0, 0): [3.0, 3.5]}, 3.25)])
def test_the_star_is_at_the_lowest_mean_also_where_the_standard_scheme_has_it(
    tmp_path, monkeypatch, errors, at
):
    drawn = []
    monkeypatch.setattr("gnp.studies.plots._star", lambda axis, x, y, color: drawn.append(y))
    curves(study_of(tmp_path, lambda r: {**ERRORS, **errors}[r.point.r, r.point.alpha][r.seed]))
    assert drawn == [pytest.approx(at)]


def test_the_best_has_the_lowest_mean_and_ties_share_it(study, tmp_path):
    assert [p for p, result in study.points.items() if study.is_best(result)] == [Point(0.1, 0.8)]
    tied = study_of(tmp_path / "tied", lambda run: 4.0 if run.point.alpha == 1 else 5.0)
    best = [p.alpha for p, result in tied.points.items() if tied.is_best(result)]
    assert best == [1, 1]


def test_one_point_alone_is_not_the_best(tmp_path):
    alone = study_of(tmp_path, r=[0.1], alpha=[1])
    assert not alone.is_best(alone.at(0.1, 1))


def test_runs_that_differ_in_r_alpha_and_seed_alone_give_no_warning(study):
    assert study.warnings == []


def test_runs_that_differ_in_more_are_reported(tmp_path):
    s = spec(r=[0.1], alpha=[0, 1])
    for run in s.runs():
        rate = 0.2 if (run.seed, run.point.alpha) == (1, 1) else 0.1
        write_record(tmp_path, run, 5.0, optimizer={"lr": rate})
    study = collect(s, tmp_path)
    warning = (
        "e/d-basic/gnp_r0.1_alpha1/seed1 and e/d-basic/gnp_alpha0/seed0 differ: "
        "optimizer.lr: 0.1 recorded, 0.2 wanted"
    )
    assert study.warnings == [warning]
    assert f"**Warning:** {warning}" in to_markdown(study)


@pytest.mark.parametrize(
    ("epsilon", "known", "warned"),
    [(0.0, unrecorded(), False), (0.1, unrecorded(), True), (0.0, {}, True)],
)
def test_a_record_that_does_not_name_a_setting_has_its_default(tmp_path, epsilon, known, warned):
    s = spec(r=[0.1], alpha=[0, 1], seeds=[0])
    old, new = s.runs()
    write_record(tmp_path, old, 5.0)
    write_record(tmp_path, new, 5.0, optimizer={"epsilon": epsilon})
    warnings = collect(s, tmp_path, unrecorded=known).warnings
    assert bool(warnings) == warned
    assert all("optimizer.epsilon" in warning for warning in warnings)


def test_validation_errors_are_not_called_test_errors(tmp_path):
    s = spec()
    for run in s.runs():
        write_record(tmp_path, run, 5.0, evaluated="validation")
    text = {
        p.name: p.read_text() for p in write_outputs(collect(s, tmp_path)) if p.suffix != ".png"
    }
    assert "Validation error in %" in text["study.md"]
    assert "validation error (%)" in text["curves.svg"]
    assert "validation error (%)" in text["heatmap.svg"]


# ---------------------------------------------------------------------- the text


def test_markdown_has_numbers_dashes_notes_and_the_missing_commands(study):
    lines = to_markdown(study).splitlines()
    assert "| α | r = 0.01 | r = 0.1 |" in lines
    assert "| 0 (standard scheme) | 6.50 ± 0.71 (2) | 6.50 ± 0.71 (2) |" in lines
    assert "| 0.8 | 5.25 ± 0.35 (2) | 4.30 ± 0.42 (2) ★ |" in lines
    assert "| 1 (SAM) | 5.20 (1 of 2) | — |" in lines
    assert "Made up for a test." in lines
    assert "α = 0 does not depend on r: its runs are made once and stand for every r." in lines
    assert "Missing runs (3); each command makes one:" in lines
    assert [line for line in lines if line.startswith("python")] == study.missing_commands
    assert study.missing_commands[-1] == (
        "python scripts/train.py experiment=e dataset=d augmentation=basic optimizer=gnp "
        "optimizer.r=0.1 optimizer.alpha=1 method=gnp_r0.1_alpha1 seed=1 "
        f"root={study.root} training.epochs=2"
    )


def test_a_full_study_lists_no_commands(tmp_path):
    text = to_markdown(study_of(tmp_path, alpha=[0.8]))
    assert "scripts/train.py" not in text
    assert "—" not in text
    assert "α = 0 does not" not in text


def test_csv_has_a_line_a_point_unrounded(study):
    lines = list(csv.DictReader(io.StringIO(to_csv(study))))
    assert [(line["r"], line["alpha"], line["n"]) for line in lines] == [
        ("", "0", "2"),
        ("0.01", "0.8", "2"),
        ("0.1", "0.8", "2"),
        ("0.01", "1", "1"),
        ("0.1", "1", "0"),
    ]
    assert [line["best"] for line in lines] == ["0", "0", "1", "0", "0"]
    assert lines[2]["errors"] == "4 4.6"
    assert float(lines[2]["std_error"]) == pytest.approx(statistics.stdev([4, 4.6]), rel=1e-5)
    assert (lines[3]["mean_error"], lines[3]["std_error"]) == ("5.2", "")
    assert (lines[4]["mean_error"], lines[4]["errors"]) == ("", "")


def test_the_terminal_shows_the_same_numbers(study):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(*to_terminal(study))
    shown = console.export_text()
    for text in ("A small study", "r = 0.01", "1 (SAM)", "4.30 ± 0.42 (2)", "5.20 (1 of 2)", "—"):
        assert text in shown
    assert "[bold]" not in shown


# ------------------------------------------------------------------- the figures


def pictures(study):
    """{"curves.svg": its texts and its source, …} of the written files, read as XML."""
    sources = {p.name: p.read_text() for p in write_outputs(study) if p.suffix == ".svg"}
    texts = {
        name: {e.text for e in ElementTree.fromstring(source).iter() if e.tag.endswith("}text")}
        for name, source in sources.items()
    }
    return texts, sources


def test_the_figures_name_every_alpha_and_r(study):
    texts, _ = pictures(study_of(study.root / "full"))
    assert {"α = 0 (standard scheme)", "α = 0.8", "α = 1 (SAM)"} <= texts["curves.svg"]
    assert {"0", "standard", "0.8", "1", "SAM"} <= texts["heatmap.svg"]
    for name in ("curves.svg", "heatmap.svg"):
        assert {"A small study", "r", "0.01", "0.1"} <= texts[name]


def test_the_page_has_the_grid_the_star_and_what_is_lowest_in_words(study):
    (report,) = [path for path in write_outputs(study) if path.name == "report.html"]
    page = check(report)
    shown = shown_texts(page)
    assert "Lowest mean, chosen on those very images: r = 0.1, α = 0.8, 4.30 ± 0.42 (2) %." in shown
    assert "The standard scheme: α = 0, 6.50 ± 0.71 (2) %." in shown
    assert "SAM at its best r: r = 0.01, α = 1, 5.20 (1) %." in shown
    assert rows(table_of(page, "Errors"))[0][0] == "0 (standard scheme)"
    assert "Star: the lowest mean" in shown
    assert "lowest mean of all" in pictures(study)[0]["curves.svg"]


def test_the_heat_map_has_the_numbers_and_a_dash_for_a_missing_one(study):
    texts, _ = pictures(study)
    assert {"4.30", "± 0.42", "5.20", "—"} <= texts["heatmap.svg"]
    assert "without runs that are missing or diverged" in texts["heatmap.svg"]


@pytest.mark.parametrize(
    ("alpha", "own"),
    [([0.5, 0.8], set()), ([0, 0.8], {STANDARD}), ([0.8, 1], {SAM}), ([0, 1], {STANDARD, SAM})],
)
def test_the_two_ends_and_only_they_have_their_own_colours_among_the_curves(tmp_path, alpha, own):
    _, sources = pictures(study_of(tmp_path, alpha=alpha))
    assert {end for end in (STANDARD, SAM) if end.lower() in sources["curves.svg"]} == own


def test_a_run_that_did_not_learn_hides_no_difference_between_the_others(tmp_path):
    means = [5.0, 5.2, 5.4, 5.6, 90.0]
    norm, clipped = colour_range(means)
    assert clipped
    assert (norm.vmin, norm.vmax) == pytest.approx((5.0, 6.2))
    assert not colour_range(means[:4])[1]

    texts, _ = pictures(
        study_of(tmp_path, lambda run: 90.0 if run.point.r == 0.1 else 5 + run.seed)
    )
    assert "test error (%)" in texts["curves.svg"]  # half of them: no exception
    few = study_of(
        tmp_path / "few",
        lambda run: 90.0 if run.point == Point(0.1, 1) else 5 + run.point.alpha,
    )
    texts, _ = pictures(few)
    assert "test error (%); higher ones: see the heat map" in texts["curves.svg"]
    assert "90.00" in texts["heatmap.svg"]
    assert not {"20", "60", "80"} & texts["curves.svg"]  # ticks


@pytest.mark.parametrize(
    "changes",
    [
        {"r": [0.1]},
        {"alpha": [0]},
        {"alpha": [0.8]},
        {"seeds": [0]},
        {"r": [0.1], "alpha": [1], "seeds": [0]},
        {"error": lambda run: None},
        {"error": lambda run: 5.0},
        {"error": lambda run: 0.0},
        {"error": lambda run: 5.0 if run.point.alpha == 1 else None},
    ],
    ids=["one r", "standard", "one α", "one seed", "one run", "none", "equal", "zero", "some"],
)
def test_every_shape_of_a_study_is_drawn(tmp_path, changes):
    paths = write_outputs(study_of(tmp_path, **changes))
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        f"studies/small/{name}"
        for name in (
            *("study.md", "study.csv", "curves.svg", "curves.png"),
            *("heatmap.svg", "heatmap.png", "report.html"),
        )
    ]
    for path in paths:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_study_without_records_is_dashes_and_commands(tmp_path):
    empty = collect(spec(), tmp_path)
    assert to_markdown(empty).count("python scripts/train.py") == 10
    assert "| 1 (SAM) | — | — |" in to_markdown(empty)
    texts, _ = pictures(empty)
    assert not any(text.startswith("α = ") for text in texts["curves.svg"])


def test_rendering_twice_gives_the_same_bytes(study):
    first = [p.read_bytes() for p in write_outputs(study)]
    assert [p.read_bytes() for p in write_outputs(collect(study.spec, study.root))] == first


# ------------------------------------------------------------- configs and script


def load(*settings):
    return StudySpec.from_config(compose("parameter_study", list(settings)).study)


@pytest.mark.parametrize("name", sorted(p.stem for p in (CONFIGS / "study").glob("*.yaml")))
def test_every_study_names_runs_that_exist(name):
    """The first seed's runs with the lowest and the highest r of each α: the rest is alike."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        spec = load(f"study={name}")
        assert spec.name == name
        for point in dict.fromkeys(
            spec.point(r, alpha) for alpha in spec.alpha for r in (spec.r[0], spec.r[-1])
        ):
            run = spec.run(point, spec.seeds[0])
            config = resolve(compose("train", [*run.settings(), *spec.overrides]))
            assert str(run_path(config)) == str(run.path)
            assert (config.optimizer.r, config.optimizer.alpha) == (point.r, point.alpha)


@pytest.mark.parametrize(
    "override", ["method=other", "optimizer.alpha=0", "optimizer.r=0", "optimizer.r=0.1"]
)
def test_overrides_that_make_a_run_another_one_are_refused(tmp_path, override):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        spec = load("study=smoke", f"study.overrides=['{override}']")
        with pytest.raises(SeriesMismatch, match="overrides change which run it is"):
            check_records(
                spec, list(spec.runs()), str(tmp_path), WantedConfigs(spec, str(tmp_path))
            )


def test_the_optimizer_of_a_study_and_its_seeds_are_no_override():
    for further in ("optimizer=sgd", "+optimizer=adamw", "seed=0"):
        words = re.escape(f"overrides change which run it is: {further}")
        with pytest.raises(StudyError, match=words):
            spec(overrides=[further])
        with pytest.raises(StudyError, match=words):
            spec().with_overrides([further])


SMALL = [
    "model.width=0.0625",
    "training.epochs=1",
    "training.batch_size=16",
    "dataset.synthetic_train_per_class=8",
    "dataset.synthetic_test_per_class=4",
]
GRID = ["study.r=[0.1]", "study.alpha=[0,1]", "study.seeds=[0]"]


def run_study(root, *settings, expect=0, **environment):
    done = subprocess.run(
        [sys.executable, "scripts/parameter_study.py", "study=smoke", f"root={root}",
         "device=cpu", *settings],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_a_study_from_nothing_and_one_deleted_run_recomputes_just_that(tmp_path):
    # Hydra's grammar wants quotes around a value that has an equals sign in it.
    settings = [f"overrides={SMALL}", *GRID]
    first = run_study(tmp_path, *settings)
    assert "2 runs, 0 finished" in first.stdout
    assert "[2/2]" in first.stdout
    outputs = tmp_path / "studies/smoke"
    names = ("study.md", "study.csv", "curves.svg", "curves.png", "heatmap.svg", "heatmap.png")
    for name in names:
        assert f"{outputs}/{name}" in first.stdout
    contents = {name: (outputs / name).read_bytes() for name in names}
    assert "—" not in contents["study.md"].decode()

    runs = tmp_path / "runs/quickstart/synthetic-basic"
    gone, kept = runs / "gnp_r0.1_alpha1/seed0", runs / "gnp_alpha0/seed0/summary.json"
    assert sorted(tmp_path.rglob("summary.json")) == [kept, gone / "summary.json"]
    before = kept.stat().st_mtime_ns
    shutil.rmtree(gone)

    # What is there renders, with the command that fills the gap.
    rendered = run_study(tmp_path, *settings, "render_only=true")
    assert "1 run is missing, the first: python scripts/train.py" in rendered.stdout
    assert "| 1 (SAM) | — |" in (outputs / "study.md").read_text()
    assert not gone.exists()

    again = run_study(tmp_path, *settings)
    assert "2 runs, 1 finished" in again.stdout
    assert kept.stat().st_mtime_ns == before
    assert {name: (outputs / name).read_bytes() for name in names} == contents

    # What was recorded with other settings is refused, not mixed in.
    other = [f"overrides={[*SMALL, 'training.epochs=3']}", *GRID]
    refused = run_study(tmp_path, *other, expect=2)
    assert "2 recorded runs have another config" in refused.stderr
    assert "training.epochs: 1 recorded, 3 wanted" in refused.stderr


@pytest.mark.slow
def test_dry_run_only_shows(tmp_path):
    done = run_study(tmp_path, "dry_run=true")
    assert done.stdout.count("python scripts/train.py experiment=quickstart") == 14
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_rendering_needs_no_torch(tmp_path):
    """The script runs where importing torch fails."""
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    done = run_study(tmp_path, *GRID, "render_only=true", PYTHONPATH=str(tmp_path))
    assert "2 runs are missing" in done.stdout
    assert (tmp_path / "studies/smoke/heatmap.png").exists()
