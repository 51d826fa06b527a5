"""The studies of why it works: their settings, what is kept of what was measured, what is said."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import records
import yaml
from conftest import CONFIGS, PATIENCE, ROOT
from hydra import compose, initialize_config_dir
from pages import check, rows, table_of, texts

from gnp.jobs import WantedConfigs
from gnp.report.index import index_page
from gnp.settings import resolve, run_path
from gnp.settings.study import StudyError
from gnp.studies.why import geometry, landscape, step_length
from gnp.studies.why.html import NOTHING
from gnp.studies.why.numbers import shown, significant, slope
from gnp.studies.why.outputs import notes, write_outputs
from gnp.studies.why.result import collect
from gnp.studies.why.spec import KINDS, check_epochs, spec_class
from gnp.studies.why.store import FILE, Store

COMMON = {
    "name": "small",
    "title": "A small study",
    "note": "Made up for a test.",
    "experiment": "e",
    "dataset": "d",
    "augmentation": "basic",
    "r": 0.1,
    "alpha": [0, 0.8],
    "seeds": [0, 1],
    "epochs": [0, 4],
}
OWN = {
    "step_length": {"lengths": [0.001, 0.01, 0.1], "recipes": [0.1], "batches": 2},
    "geometry": {},
    "landscape": {"epochs": [4], "line": [0, 0.8], "steps": 5, "line_steps": 7},
}
NAMES = sorted(f.stem for f in (CONFIGS / "why").glob("*.yaml"))


def spec(measure, **changes):
    config = {**COMMON, "measure": measure, **OWN[measure], **changes}
    return spec_class(config).from_config(config)


def recorded(root, study, missing=()):
    """Finished records of all its runs but some."""
    for run in study.runs():
        if run not in missing:
            optimizer = {"r": run.point.r, "alpha": run.point.alpha}
            records.write_record(root, run, [6.0, 5.0, 5.0, 4.0], optimizer=optimizer)


class Measuring:
    """Measures what a function of a measurement says; remembers what it was asked for."""

    def __init__(self, values, stop_at=None):
        self.values, self.stop_at, self.asked = values, stop_at, []
        self.made = {"code": {"commit": "0123"}}

    def __call__(self, measurement, runs):
        assert [run.run for run in runs] == list(measurement.runs)
        if len(self.asked) == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(measurement)
        value = self.values(measurement)
        if isinstance(value, Exception):
            raise value
        return value


def measured(root, study, values, **more):
    measuring = Measuring(values, **more)
    return collect(study, root, "the command", measurer=lambda: measuring), measuring


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("measure", "change", "words"),
    [
        ("geometry", {"alpha": []}, "why small: alpha is empty"),
        ("geometry", {"alpha": [0.8, 0]}, "alpha is not in increasing order"),
        ("geometry", {"alpha": [0, 1.2]}, "alpha"),
        ("geometry", {"seeds": [1, 1]}, "seeds lists 1 twice"),
        ("geometry", {"epochs": [-1]}, "epochs"),
        ("geometry", {"trace_probes": 1}, r"trace_probes.*at least 2"),
        ("geometry", {"ro": 1}, r"no setting 'why\.ro'\. Did you mean 'why\.rho'\?"),
        ("step_length", {"lengths": []}, "lengths is empty"),
        ("step_length", {"lengths": [0, 0.1]}, "lengths"),
        ("step_length", {"lengths": [0.1, 0.01]}, "lengths is not in increasing order"),
        ("step_length", {"recipes": [0.2]}, "recipes has 0.2, which is not among lengths; add it"),
        ("step_length", {"precisions": ["fp8"]}, "precisions"),
        ("landscape", {"line": [0, 0]}, "line has to name two different α"),
        ("landscape", {"line": [0, 0.4]}, "line has 0.4, which is not in alpha; add it there"),
        ("landscape", {"epochs": [2, 4]}, "epochs has to name one"),
        ("landscape", {"steps": 20}, "steps=20 has no point at the solution; take 21"),
        ("landscape", {"line_steps": 31, "beyond": 1e9}, "no points at the two solutions"),
        (
            "landscape",
            {"line_steps": 31, "beyond": 0.2},
            r"no points at the two solutions; with so many points beyond can be 0\.181818 or 0\.25",
        ),
    ],
)
def test_a_wrong_study_is_refused_with_what_is_wrong(measure, change, words):
    with pytest.raises(StudyError, match=words):
        spec(measure, **change)


@pytest.mark.parametrize(
    ("steps", "beyond"),
    [(31, 0), (31, 0.181818), (31, 0.25), (31, 0.0769231), (301, 1.09574), (3, 0)],
)
def test_a_line_that_is_proposed_is_taken(steps, beyond):
    spec("landscape", line_steps=steps, beyond=beyond)


def test_what_another_process_has_measured_meanwhile_is_kept(tmp_path):
    one, other, *_ = spec("geometry").measurements()
    first, second = Store(tmp_path), Store(tmp_path)
    first.add(one, [], {"norm": 1.0}, {})
    second.add(other, [], {"norm": 2.0}, {})
    first.add(one, [], {"norm": 3.0}, {})
    found = Store(tmp_path)
    assert [found.find(m, [])["values"]["norm"] for m in (one, other)] == [3.0, 2.0]


def test_there_is_no_other_study():
    with pytest.raises(StudyError, match=r"why\.measure=r: expected one of step_length, geometry"):
        spec_class({"measure": "r"})
    for wrong in (None, "geometry", {"measure": ["geometry"]}, {}):
        with pytest.raises(StudyError):
            spec_class(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_every_study_of_the_configs_composes_and_keeps_its_epochs(name):
    config = yaml.safe_load((CONFIGS / "why" / f"{name}.yaml").read_text())
    study = spec_class(config).from_config(config)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        check_epochs(study, WantedConfigs(study, "out"))
        for run in study.runs():
            run_config = resolve(compose("train", run.overrides("out", study.overrides)))
            assert str(run_path(run_config)) == str(run.path)
            assert run_config.optimizer.alpha == run.point.alpha


def test_all_three_share_their_runs():
    for kind in ("", "_smoke"):
        overrides = set()
        for measure in KINDS:
            config = yaml.safe_load((CONFIGS / "why" / f"{measure}{kind}.yaml").read_text())
            overrides.add((config["experiment"], config["r"], *config["overrides"]))
        assert len(overrides) == 1


def test_epochs_whose_weights_are_not_kept_are_refused_before_training():
    training = {"epochs": 4, "snapshot_every": 3}
    with pytest.raises(
        StudyError, match=r"epochs has 2, .*they keep 0, 3, 4\); set training\.snap"
    ):
        check_epochs(spec("geometry", epochs=[0, 2]), lambda run: {"training": training})
    with pytest.raises(StudyError, match=r"they keep none"):
        check_epochs(spec("geometry"), lambda run: {"training": training | {"snapshot_every": 0}})
    check_epochs(spec("geometry", epochs=[0, 3, 4]), lambda run: {"training": training})


# ---------------------------------------------------------------------- what is kept


def test_what_was_measured_is_not_measured_again(tmp_path):
    study = spec("geometry")
    recorded(tmp_path, study)
    result, measuring = measured(tmp_path, study, lambda m: {"train_loss": m.epoch + 0.5})
    assert len(measuring.asked) == 2 * (1 + 2)  # seeds; the initial weights stand for every α
    assert not result.unmeasured
    point = study.points()[1]
    assert result.numbers(point, 0, "train_loss") == [0.5, 0.5]
    assert result.numbers(point, 4, "train_loss") == [4.5, 4.5]
    again, measuring = measured(tmp_path, study, lambda m: 1 / 0)
    assert measuring.asked == []
    assert again.measured == result.measured
    shown_only = collect(study, tmp_path, "the command")
    assert shown_only.measured == result.measured


def test_a_measurement_that_was_interrupted_goes_on_with_the_next(tmp_path):
    study = spec("geometry")
    recorded(tmp_path, study)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, study, lambda m: {"train_loss": 1.0}, stop_at=4)
    result, measuring = measured(tmp_path, study, lambda m: {"train_loss": 2.0})
    assert len(measuring.asked) == 2
    assert [v["train_loss"] for v in result.measured.values()] == [1, 1, 1, 1, 2, 2]


def test_other_settings_or_another_record_are_measured_again_and_words_are_not(tmp_path):
    study = spec("geometry")
    recorded(tmp_path, study)
    measured(tmp_path, study, lambda m: {"train_loss": 1.0})

    def asked(**changes):
        return len(measured(tmp_path, spec("geometry", **changes), lambda m: {})[1].asked)

    assert asked(title="Another", note="Other words.", epochs=[4], alpha=[0.8]) == 0
    assert asked(rho=0.07) == 6
    assert asked(curvature_seeds=2) == 3  # those of the second seed
    assert asked(trace_probes=3) == 3  # of the seed that has a trace
    run = study.run(study.points()[1], 0)
    summary = run.folder(tmp_path) / "summary.json"
    content = json.loads(summary.read_text())
    summary.write_text(json.dumps(content | {"finished": "2026-02-02T03:04:05Z"}))
    lines = len((tmp_path / "studies/small" / FILE).read_text().splitlines())
    assert asked() == 1
    assert len((tmp_path / "studies/small" / FILE).read_text().splitlines()) == lines


def test_damaged_measurements_are_named(tmp_path):
    study = spec("geometry")
    recorded(tmp_path, study)
    measured(tmp_path, study, lambda m: {"train_loss": 1.0})
    file = tmp_path / "studies/small" / FILE
    file.write_text(file.read_text()[:-40])
    with pytest.raises(StudyError, match=r"measured\.jsonl cannot be read .* delete it"):
        collect(study, tmp_path, "the command")


def test_what_cannot_be_measured_is_a_warning_and_the_rest_is_measured(tmp_path):
    study = spec("geometry")
    recorded(tmp_path, study, missing=[study.run(study.points()[0], 1)])
    lost = study.run(study.points()[1], 0)
    result, _ = measured(
        tmp_path,
        study,
        lambda m: StudyError("its weights are gone") if lost in m.runs else {"train_loss": 1.0},
    )
    assert len(result.measured) == 3  # seed 0: initial, α = 0; seed 1: α = 0.8
    assert len(result.warnings) == 1
    assert "epoch 4 was not measured: its weights are gone" in result.warnings[0]
    assert [run.seed for run in result.missing] == [1]
    assert any(line.startswith("Not measured: 3 of 6") for line in notes(result))


# ---------------------------------------------------------------------- what is said


def values_of_geometry(m):
    if m.epoch == 0:
        return {"gradient_norm": 1.0, "eigenvalues": [3.0, 1.0], "batch_g1_g2_cosine": 0.5}
    alpha, seed = m.runs[0].point.alpha, m.runs[0].seed
    return {"gradient_norm": 2.0 + alpha + seed, "eigenvalues": [9.0 - alpha, 2.0]}


def test_geometry_says_how_the_gradient_norm_goes_with_alpha(tmp_path):
    study = spec("geometry", alpha=[0, 0.4, 0.8])
    recorded(tmp_path, study)
    result, _ = measured(tmp_path, study, values_of_geometry)
    (line,) = [n for n in notes(result) if n.startswith("The gradient norm against α")]
    assert "2.50 (α = 0), 2.90 (α = 0.4), 3.30 (α = 0.8): it grows with each α" in line
    assert "1.3 times" in line
    assert geometry.direction([3, 2, 1]).startswith("it falls with each α, at the largest α 0.33")
    assert geometry.direction([1, 3, 2]).startswith("it neither only grows nor only falls")
    rows = list(csv.DictReader(io.StringIO((write_outputs(result)[1]).read_text())))
    assert [row["alpha"] for row in rows[:4]] == ["", "0", "0.4", "0.8"]
    assert rows[1]["eigenvalues"] == "9"
    assert rows[1]["further_eigenvalues"] == "2"
    assert rows[1]["trace"] == ""


def test_the_note_on_r_finds_the_bottoms_and_both_slopes(tmp_path):
    lengths = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]
    study = spec("step_length", alpha=[0.8], seeds=[0], lengths=lengths, recipes=[0.1, 1])
    exact = [1e-5, 1e-4, 1e-3, 1e-2, 8, 0.5, 0.9]  # a jump after 1e-3
    single = [0.1, 0.01, 1.4e-3, 1e-2, 8, 0.5, 0.9]
    half = [1e4, 1e3, 1e2, 1e1, 9, 0.52, 0.9]

    def values(m):
        of = {"fp64": exact, "fp32": single, "bf16": half}
        errors = {p: [[e / 2, e, 7 * e] for e in row] for p, row in of.items()}
        changed = [[0, 0, 0]] * 3 + [[0, 0, 5], [3, 9, 4], [20, 30, 40], [90, 90, 90]]
        return {
            "errors": errors,
            "cosines": {p: [[0.9, 0.5, 0.1]] * 7 for p in errors},
            "gates": 1000,
            "changed_gates": changed,
        }

    recorded(tmp_path, study)
    result, _ = measured(tmp_path, study, values)
    fp64, fp32, bf16, *_ = step_length.curves(result)
    assert (fp64.epoch, fp64.precision) == (0, "fp64")
    assert (fp64.lengths[fp64.best], fp64.lengths[fp64.last]) == (1e-6, 0.1)
    assert fp64.left is None
    assert fp64.right == pytest.approx(1)
    assert fp32.lengths[fp32.best] == 1e-4
    assert fp32.left == pytest.approx(-0.927, abs=1e-3)
    assert bf16.lengths[bf16.best] == bf16.lengths[bf16.last] == 0.1
    assert fp32.at(0.1) == (0.5, 0.5)
    assert step_length.finding(result).endswith(
        "epoch 4: in fp32 the difference is nearest to H v at r = 0.0001 (error 0.0014); at the "
        "recipes' r, 0.1 to 1, its error is 0.50 to 0.90."
    )
    drawn = step_length.drawn(result)
    assert "Bands go from the smallest to the largest error of these batches" in drawn
    assert "Lines are medians of 2 batches." in drawn
    assert "bands: smallest to largest of 2 batches" in step_length.figure(result)
    assert fp32.low[0] == 0.05
    assert fp32.high[0] == pytest.approx(0.7)
    assert slope([1, 10, 100], [2, 200, 20000]) == pytest.approx(2)
    assert slope([1], [1]) is None
    text = "\n".join(notes(result))
    assert "nearest to H v at r = 0.0001 (error 0.0014)" in text
    assert "In float64 it is the same there" in text
    assert "From r = 0.1 on bf16 has float64's errors" in text
    assert "The first change comes between r = 0.001 and r = 0.01" in text
    assert "3.0 % at r = 0.1, 9.0 % at r = 1." in text


def test_gates_that_change_are_counted():
    import torch

    from gnp.studies.why.measuring.gates import changed, gates_of

    model = torch.nn.Sequential(torch.nn.Linear(1, 3, bias=False), torch.nn.ReLU()).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-0.1], [2.0]]))
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    before = gates_of(lambda: model(x))
    assert sum(g.numel() for g in before) == 6
    with torch.no_grad():
        model[0].weight += 0.5  # 1.5, 0.4, 2.5
    assert changed(before, gates_of(lambda: torch.relu_(model[0](x)))) == 2
    assert changed(before, before) == 0


def test_the_landscape_says_rise_and_barrier(tmp_path):
    study = spec("landscape", seeds=[0])

    def values(m):
        if m.what == "line":
            at = [-0.25, 0.0, 0.5, 1.0, 1.25]
            return {"at": at, "train_loss": [9, 1, 5, 3, 9], "train_error": [1.0] * 5,
                    "test_loss": [2, 2, 2.5, 3, 3], "test_error": [2.0] * 5}  # fmt: skip
        steep = 1 + m.runs[0].point.alpha
        return {"at": [-1.0, -0.5, 0.0, 0.5, 1.0],
                "losses": [[4 * steep, 3, 0.5, 1, 2], [4 * steep, 3, 0.5, 1, 2]]}  # fmt: skip

    recorded(tmp_path, study)
    result, _ = measured(tmp_path, study, values)
    assert landscape.distances(study) == [0.5, 1.0]
    first, second = landscape.grids(result)
    assert first.headers[2:] == ["rise at ±0.5", "rise at ±1"]
    assert [e.text for e in first.lines[0].entries] == ["0.500", "1.50", "2.50"]
    assert [line.labels[0] for line in second.lines] == ["train loss", "test loss"]
    assert [e.text for e in second.lines[0].entries] == ["1.00", "3.00", "5.00", "3.00"]
    assert landscape.barrier([0, 0.5, 1], [2, 2.5, 3]) == 0
    assert landscape.finding(result) == (
        "Rise of the loss along random directions 1.50 (α = 0), 1.50 (α = 0.8) at ±0.5, 2.50 "
        "(α = 0), 4.10 (α = 0.8) at ±1; barrier on the line between two solutions 3.00 (train), 0 "
        "(test)."
    )
    for path in write_outputs(result):
        if path.suffix == ".svg":
            ElementTree.fromstring(path.read_text())


@pytest.mark.parametrize("measure", KINDS)
def test_outputs_of_nothing_measured_say_so_and_the_same_bytes_come_again(tmp_path, measure):
    study = spec(measure)
    result = collect(study, tmp_path, "the command")
    first = {path: path.read_bytes() for path in write_outputs(result)}
    names = {"study.md", "study.csv", "figure.svg", "report.html"}
    assert {path.name for path in first} == names
    assert {path: path.read_bytes() for path in write_outputs(result)} == first
    page = (tmp_path / "studies/small/study.md").read_text()
    assert f"Missing runs ({4 if measure != 'x' else 0})" in page
    assert "Not measured" in page
    page = check(tmp_path / "studies/small/report.html")
    assert page.find(".//meta[@name='description']").attrib["content"] == NOTHING
    assert "Missing runs (4)" in texts(page)


def test_a_page_has_figure_numbers_finding_runs_and_what_they_were_measured_with(tmp_path):
    study = spec("geometry", alpha=[0, 0.4, 0.8])
    recorded(tmp_path, study)
    values = values_of_geometry
    measured(tmp_path, study, lambda m: StudyError("later") if m.epoch else values(m))
    late = Measuring(values)
    late.made = {"code": {"commit": "f" * 40, "modified": True}, "packages": {"torch": "2.14.1"},
                 "processor": "A processor", "device": "cpu"}  # fmt: skip
    result = collect(study, tmp_path, "the command", measurer=lambda: late)
    (folder,) = {path.parent for path in write_outputs(result)}
    page = check(folder / "report.html")
    said = page.find(".//meta[@name='description']").attrib["content"]
    assert said == geometry.finding(result)
    assert said.startswith("Epoch 4: largest eigenvalue 9.00 (α = 0), 8.60 (α = 0.4), 8.20")
    (caption,) = page.iter("figcaption")
    assert texts(caption) == geometry.drawn(result)
    assert f"Figure: {geometry.drawn(result)}" in (folder / "study.md").read_text()
    (grid,) = geometry.grids(result)
    shown = [row[1:] for row in rows(table_of(page, "Numbers"))]
    assert shown == [[line.labels[1], *(e.text for e in line.entries)] for line in grid.lines]
    assert len(rows(table_of(page, "Runs"))) == 6
    (entries, *_) = page.iter("dl")
    assert [texts(name) for name in entries.iter("dt")] == ["Code 0123", "Code ffffffff*"]
    lines = [texts(line) for line in entries.iter("dd")]
    assert "torch 2.14.1" in lines
    assert "processor: A processor, device: cpu" in lines
    (initial,) = [line for line in lines if "after epoch 0" in line]
    assert initial.count("; ") == 1  # both seeds', and no others
    assert "measured.jsonl" in {a.attrib["href"] for a in page.iter("a")}
    index = index_page(tmp_path)
    (card,) = next(s for s in index.sections if s.heading == "Studies").parts
    assert card.text == said
    assert 'href="studies/small/report.html"' in card.title


def test_numbers_are_printed_with_as_many_digits_as_they_have():
    assert significant(0.0123456) == "0.0123"
    assert significant(123.456) == "123"
    assert significant(0) == "0"
    assert significant(0.00123456) == "0.00123"
    assert significant(1.23456e-7) == "1.23e-07"
    assert shown([1.0, 3.0]) == "2.00 [1.00, 3.00]"
    assert shown([]) == "—"


# ---------------------------------------------------------------------- end to end


def script(*settings, expect=0):
    done = subprocess.run(
        [sys.executable, "scripts/why_it_works.py", *settings],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def test_help_shows_the_studys_own_settings():
    for name, own, other in (
        ("geometry", "why.trace_probes", "why.lengths"),
        ("landscape_smoke", "why.line_steps", "why.trace_probes"),
        ("step_length", "why.lengths", "why.line_steps"),
    ):
        text = script(f"why={name}", "--help").stdout
        assert f"{own}:" in text
        assert f"{other}:" not in text
    assert "Stop it at any time: the same command goes on." in text
    assert "there is no why 'nothing'" in script("why=nothing", expect=2).stderr


def rows_of(folder):
    return list(csv.DictReader(io.StringIO((folder / "study.csv").read_text())))


@pytest.mark.slow
def test_each_study_end_to_end_and_again(tmp_path):
    common = [f"root={tmp_path}", "device=cpu", "jobs=1"]
    first = script("why=geometry_smoke", *common)
    assert "2 runs, 0 finished" in first.stdout
    assert first.stdout.count("measuring: ") == 3
    table = rows_of(tmp_path / "studies/geometry_smoke")
    assert [row["epoch"] for row in table] == ["0", "2", "2"]
    for row in table:
        for name in ("gradient_norm", "batch_hv_norm", "eigenvalues", "sam_sharpness"):
            assert float(row[name]) > 0
        assert -1 <= float(row["batch_g1_g2_cosine"]) <= 1
    weights = {f: f.stat().st_mtime_ns for f in Path(tmp_path, "runs").rglob("*.pt")}

    second = script("why=landscape_smoke", *common)  # the same runs
    assert "2 runs, 2 finished" in second.stdout
    rows = rows_of(tmp_path / "studies/landscape_smoke")
    ends = {(row["t"], row["split"]): row["loss"] for row in rows if row["what"] == "line"}
    middle = {row["alpha"]: row["loss"] for row in rows if row["direction"] and row["t"] == "0"}
    assert (middle["0"], middle["0.8"]) == (ends["0", "train"], ends["1", "train"])
    losses = {row["alpha"]: row["train_loss"] for row in table if row["epoch"] == "2"}
    assert float(losses["0"]) == pytest.approx(float(middle["0"]), rel=1e-5)

    third = script("why=step_length_smoke", *common)
    assert "1 runs, 1 finished" in third.stdout
    rows = rows_of(tmp_path / "studies/step_length_smoke")
    assert {row["precision"] for row in rows} == {"fp64", "fp32", "bf16"}
    exact = [
        float(r["median_error"]) for r in rows if (r["epoch"], r["precision"]) == ("0", "fp64")
    ]
    assert min(exact) < 1e-3
    assert weights == {f: f.stat().st_mtime_ns for f in Path(tmp_path, "runs").rglob("*.pt")}

    again = script("why=geometry_smoke", *common)
    assert "2 runs, 2 finished" in again.stdout
    assert "measuring" not in again.stdout
    for file in weights:
        file.unlink()
    published = script("why=geometry_smoke", *common, "render_only=true")
    assert "warning" not in published.stdout
    left = tmp_path / "studies/geometry_smoke" / FILE
    left.write_text("".join(left.read_text().splitlines(keepends=True)[:-1]))
    done = script("why=geometry_smoke", *common, "render_only=true")
    assert "Not measured: 1 of 3" in done.stdout
