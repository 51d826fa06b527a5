"""Records as wandb runs, read back with wandb's own reader, and what shows them there."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import CONFIGS, PATIENCE, ROOT
from records import spec, write_record

from gnp.dashboards.content import classes_table, csv_table, rows_of, summary_of
from gnp.dashboards.export import Export, ExportRefused, folders_of_series
from gnp.dashboards.known import Known, known_cells
from gnp.dashboards.seen import seen_in
from gnp.dashboards.workspace import as_json, report, workspace
from gnp.settings import WandbSettings, run_path
from gnp.tables.published import Published
from gnp.tracking.reading import read_finished
from gnp.tracking.wandb_names import wandb_id

OFFLINE = WandbSettings(mode="offline")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)


def read_back(root):
    """{id: its records, by type} of all runs in ``root``/wandb, as wandb reads them."""
    runs = {}
    for folder in sorted((root / "wandb").glob("*run-*-*")):
        if folder.is_symlink():
            continue
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)],
            cwd=root,  # where it leaves a log
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        entries = [json.loads(line) for line in done.stdout.splitlines()]
        of_type = {}
        for entry in entries:
            of_type.setdefault(entry["type"], []).append(entry.get(entry["type"]))
        (run,) = of_type["run"]
        assert run["run_id"] not in runs, "two folders of one run"
        runs[run["run_id"]] = of_type
    return runs


def summary_in(of_type):
    """All updates of the summary, the last one winning."""
    return {k: v for update in of_type["summary"] for k, v in update["update"].items()}


EVERY_SECOND = {"epochs": 3, "evaluate_every": 2}


def two_records(root):
    first, second = list(spec(seeds=[0]).runs())[:2]
    return [
        read_finished(write_record(root, first, [50.0, 40.0, 45.0])),
        read_finished(write_record(root, second, [None, 60.0, 30.0], training=EVERY_SECOND)),
    ]


@pytest.mark.slow
def test_an_export_has_all_of_a_record_and_can_be_repeated(tiny, tmp_path):
    """The run was mirrored when it was trained: the export takes that one's place, too."""
    from gnp.dashboards.pictures import Pictures
    from gnp.training.run import folder_of, run

    config = tiny("optimizer=gnp", f"root={tmp_path}", "wandb.mode=offline")
    summary, record = run(config), read_finished(folder_of(config))
    identity = str(run_path(config))
    assert list(read_back(tmp_path)) == [wandb_id(identity)]
    known = {identity.rpartition("/")[0]: Known(("small",), Published(30.0, 0.5))}
    for _ in range(2):
        Export(tmp_path, OFFLINE, known, Pictures(lambda name: config.dataset)).record(record)
    ((run_id, seen),) = read_back(tmp_path).items()
    assert run_id == wandb_id(identity)

    (told,) = seen["run"]
    assert (told["display_name"], told["run_group"], told["job_type"], told["tags"]) == (
        identity,
        identity.rpartition("/")[0],
        "train",
        ["small"],
    )
    sent = told["config"]["update"]
    assert sent["optimizer"]["alpha"] == config.optimizer.alpha
    assert sent["environment"]["code"] == record.environments[-1]["code"]
    assert "wandb" not in sent

    rows = [row["item"] for row in seen["history"]]
    assert [row["_step"] for row in rows] == [1, 2, 3]
    for row, line in zip(rows, record.metrics, strict=True):
        assert line.items() <= row.items()
    steps = {metric.get("glob_name"): metric.get("step_metric") for metric in seen["metric"]}
    assert steps["*"] == "epoch"

    last = summary_in(seen)
    assert summary["final"].items() <= last.items()
    assert last["best_epoch"] == summary["best"]["epoch"]
    assert last["parameters"] == summary["parameters"]
    assert last["published_error"] == 30.0
    assert last["epochs.nrows"] == 3
    assert last["classes.nrows"] == 10
    assert (last["augmentation.width"], last["augmentation.height"]) == (8 * 64, 4 * 64)

    (predictions,) = [a for a in seen["artifact"] if a["type"] == "predictions"]
    (entry,) = predictions["manifest"]["contents"]
    assert entry["local_path"] == str((record.folder / "predictions.npz").resolve())
    assert seen["exit"][-1]["exit_code"] == 0


def test_what_was_recorded_is_sent_as_it_is(tmp_path):
    """An epoch without evaluation has no error, and a metric of any name is a metric."""
    _, sparse = two_records(tmp_path)
    sparse.metrics[1]["gradient_norm"] = 0.25
    rows = rows_of(sparse)
    assert [row.get("test_error") for row in rows] == [None, 60.0, 30.0]
    assert rows[1]["gradient_norm"] == 0.25
    times = [row["_timestamp"] for row in rows]
    assert np.diff(times).tolist() == [1.0, 1.0]  # the epochs' seconds
    assert times[-1] == 1767323045  # 2026-01-02T03:04:05Z


def test_the_published_value_and_the_difference_stand_in_the_summary(tmp_path):
    record, _ = two_records(tmp_path)
    numbers = summary_of(record, Published(44.0, 0.25))
    assert numbers["published_error"] == 44.0
    assert numbers["published_std"] == 0.25
    assert numbers["difference_to_published"] == 1.0
    assert (numbers["test_error"], numbers["best_test_error"], numbers["best_epoch"]) == (45, 40, 2)
    assert not [name for name in summary_of(record, None) if "published" in name]


def test_a_cell_is_known_at_every_fidelity_and_to_every_table():
    specs = [spec(), spec(name="other", published=None)]
    known = known_cells(specs, ["paper", "official"])
    assert known["e/d-basic/gnp"].tables == ("small", "other")
    assert known["e/d-basic/gnp"].published.error > 0
    assert known["e/d-basic/gnp-official"] == known["e/d-basic/gnp"]


def test_classes_have_their_errors(tiny, tmp_path):
    from gnp.tracking.predictions import read_predictions
    from gnp.training.run import folder_of, run

    config = tiny("training.epochs=1", f"root={tmp_path}")
    summary = run(config)
    record = read_finished(folder_of(config))
    columns, lines = classes_table(record)
    assert columns == ["class", "images", "error", "confidence"]
    predictions = read_predictions(record.folder)
    assert [line[0] for line in lines] == list(range(10))
    assert sum(line[1] for line in lines) == len(predictions.labels)
    whole = sum(line[1] * line[2] for line in lines) / len(predictions.labels)
    assert whole == pytest.approx(summary["final"]["test_error"])


@pytest.fixture
def wandb_anew():
    """It reads its variables once in a process, unless it is taken down."""
    import wandb

    wandb.teardown()
    yield
    wandb.teardown()


def test_wandbs_variables_count_and_what_is_given_wins(tmp_path, monkeypatch, wandb_anew):
    record, _ = two_records(tmp_path)
    for name in ("PROJECT", "ENTITY", "NOTES", "TAGS", "RUN_GROUP"):
        monkeypatch.setenv(f"WANDB_{name}", f"their-{name.lower()}")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    Export(tmp_path, WandbSettings(entity="mine")).record(record)
    assert not (tmp_path / "wandb").exists()
    ((_, seen),) = read_back(tmp_path / "elsewhere").items()
    (told,) = seen["run"]
    names = ("project", "entity", "notes", "tags", "run_group")
    assert [told[name] for name in names] == [
        "their-project",
        "mine",
        "their-notes",
        ["their-tags"],
        "their-run_group",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("WANDB_MODE", "disabled", "WANDB_MODE is disabled: there would be nothing"),
        ("WANDB_RUN_ID", "x", "WANDB_RUN_ID is of one run"),
        ("WANDB_NAME", "x", "WANDB_NAME is of one run"),
        ("WANDB_SWEEP_ID", "x", "WANDB_SWEEP_ID is of one run"),
    ],
)
def test_variables_that_would_make_one_run_of_all_or_none_are_refused(
    tmp_path, monkeypatch, variable, value, says
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ExportRefused, match=says):
        Export(tmp_path, WandbSettings())


def test_online_without_a_key_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ExportRefused, match="no API key for --mode online"):
        Export(tmp_path, WandbSettings(mode="online"))


def test_a_wandb_that_takes_no_run_is_named_in_one_line(tmp_path, monkeypatch):
    import wandb

    def broken(**_):
        raise RuntimeError("no\nserver")

    record, _ = two_records(tmp_path)
    monkeypatch.setattr(wandb, "init", broken)
    with pytest.raises(ExportRefused, match=r"wandb takes no run \(no server\)"):
        Export(tmp_path, OFFLINE).record(record)


def test_tables_and_studies_are_runs_with_their_files(tmp_path):
    table, study = tmp_path / "tables" / "small", tmp_path / "studies" / "grid"
    table.mkdir(parents=True)
    study.mkdir(parents=True)
    (table / "table.csv").write_text("method,error,published\nSGD,5.5,5.4\nGNP,5.0,\n")
    (table / "curves.svg").write_text("<svg></svg>")
    (table / "report.html").write_text("<p>all of it</p>")
    (study / "study.csv").write_text("r,error\n0.1\n")
    export = Export(tmp_path, OFFLINE)
    for folder in folders_of_series(tmp_path):
        export.series(folder)
    assert export.done == ["tables/small"]
    (complaint,) = export.complaints
    assert "study.csv: no table" in complaint
    ((run_id, seen),) = read_back(tmp_path).items()
    assert run_id == wandb_id("tables/small")
    assert (seen["run"][0]["job_type"], seen["run"][0]["run_group"]) == ("tables", "tables")
    last = summary_in(seen)
    assert (last["table.ncols"], last["table.nrows"]) == (3, 2)
    assert (last["curves._type"], last["report._type"]) == ("html-file", "html-file")
    assert csv_table(table / "table.csv")[1] == [["SGD", 5.5, 5.4], ["GNP", 5.0, None]]


@pytest.mark.slow
def test_the_scripts_from_records_to_runs_and_json(tmp_path):
    """Neither data nor network nor key: pictures that cannot be made are named, and no more."""
    two_records(tmp_path)
    environment = {**os.environ, "HOME": str(tmp_path), "WANDB_MODE": "offline"}

    def script(name, *arguments):
        return subprocess.run(
            [sys.executable, f"scripts/{name}.py", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    done = script("wandb_export", str(tmp_path), "--tags", "a", "b")
    assert done.returncode == 0, done.stderr
    assert f"2 runs, offline: {tmp_path}/wandb" in done.stdout
    assert "no pictures of d: there is no configs/dataset/d.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    runs = read_back(tmp_path)
    assert len(runs) == 2
    assert all(seen["run"][0]["tags"] == ["a", "b"] for seen in runs.values())
    made = script("wandb_dashboard", str(tmp_path), "--entity", "me", "--project", "mine")
    assert made.returncode == 0, made.stderr
    views = json.loads(made.stdout)
    assert {(view["entity"], view["project"]) for view in [views["workspace"]]} == {("me", "mine")}
    refused = script("wandb_dashboard", str(tmp_path), "--entity", "me", "--save")
    assert refused.returncode == 2
    assert "no API key to save with" in refused.stderr
    assert script("wandb_export", str(tmp_path / "nothing")).returncode == 2


# ---------------------------------------------------------------------- dashboard


def seen_with(tmp_path, points, metrics=()):
    """What there is to see of runs at these (r, α), which recorded further metrics."""
    records = []
    for seed, (r, alpha) in enumerate(points):
        (run, *_) = spec(seeds=[seed]).runs()
        optimizer = {"r": r, "alpha": alpha}
        folder = write_record(tmp_path, run, [50.0, 40.0], optimizer=optimizer)
        record = read_finished(folder)
        for line in record.metrics:
            line.update(dict.fromkeys(metrics, 1.0))
        records.append(record)
    return seen_in(records, tmp_path)


def panels_of(view):
    """(title, config) of all panels, wherever in the JSON."""
    found = []
    todo = [view]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if "viewType" in node and "chartTitle" in node.get("config", {}):
                found.append((node["config"]["chartTitle"], node["config"]))
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return dict(found)


@pytest.mark.parametrize("kind", ["workspace", "report"])
def test_errors_are_drawn_over_the_epoch_by_method_with_bands_over_seeds(tmp_path, kind):
    seen = seen_with(tmp_path, [(0.1, 0.8)], ["gradient_norm"])
    made = (
        workspace("me", "p", "n", seen) if kind == "workspace" else report("me", "p", "n", seen, "")
    )
    panels = panels_of(as_json(made))
    group = {"workspace": "group", "report": "method.value"}[kind]
    for title, metric in (
        ("test error (%) by epoch", "test_error"),
        ("train error (%) by epoch", "train_error"),
        ("gradient norm by epoch", "gradient_norm"),
    ):
        config = panels[title]
        assert (config["xAxis"], config["metrics"]) == ("epoch", [metric])
        assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == (
            group,
            "mean",
            "stddev",
        )
    assert not [title for title in panels if "over r and α" in title]


@pytest.mark.parametrize(
    ("points", "is_grid"),
    [
        ([(0.1, 0.8), (0.2, 0.8)], False),
        ([(0.1, 0.8), (0.1, 1.0)], False),
        ([(0.0, 0.0), (0.1, 0.8)], False),  # the base optimizer and one penalty
        ([(0.0, 0.0), (0.1, 1.0), (0.2, 0.8)], False),  # SAM and GNP, each with its own r
        ([(0.1, 0.8), (0.2, 0.8), (0.1, 1.0)], True),
    ],
)
def test_r_by_alpha_is_there_for_a_study_of_both(tmp_path, points, is_grid):
    seen = seen_with(tmp_path, points)
    for made in (workspace("me", "p", "n", seen), report("me", "p", "n", seen, "")):
        panels = panels_of(as_json(made))
        assert ("test error (%) over r and α" in panels) == is_grid
        if is_grid:
            config = panels["test error (%) over r and α"]
            assert config["xAxis"] == "config:optimizer.value.r"
            assert config["yAxis"] == "config:optimizer.value.alpha"
            assert config["zAxis"] == "summary:test_error"


def test_a_part_of_the_report_shows_the_groups_that_the_exported_runs_have(tmp_path):
    records = two_records(tmp_path)
    blocks = as_json(report("me", "p", "n", seen_in(records, tmp_path), ""))["spec"]["blocks"]
    (grid,) = [block for block in blocks if block["type"] == "panel-grid"][:1]
    (runs,) = grid["metadata"]["runSets"]
    (wanted,) = runs["filters"]["filters"]
    assert (wanted["key"], wanted["op"]) == ({"section": "run", "name": "group"}, "IN")
    Export(tmp_path, OFFLINE).record(records[0])
    ((_, seen),) = read_back(tmp_path).items()
    assert seen["run"][0]["run_group"] in wanted["value"]
    assert "summary:test_error" in runs["runFeed"]["columnPinned"]
    assert "summary:published_error" in runs["runFeed"]["columnPinned"]


# ---------------------------------------------------------------------- sweeps


def sweep_commands():
    """Two command lines of an agent at configs/wandb_sweep.yaml: each parameter's extremes."""
    sweep = yaml.safe_load((CONFIGS / "wandb_sweep.yaml").read_text())
    for place in (0, -1):
        values = {
            name: [p["min"], p["max"]] if "min" in p else p["values"]
            for name, p in sweep["parameters"].items()
        }
        arguments = [f"{name}={choices[place]}" for name, choices in values.items()]
        command = [part for part in sweep["command"] if "=" in part]
        yield sweep, [*command, *arguments]


def test_the_sweep_files_commands_are_runs_of_their_own_with_the_metric(compose_train):
    from gnp.settings import validate

    places = set()
    for sweep, command in sweep_commands():
        assert "${args_no_hyphens}" in sweep["command"]
        assert (ROOT / sweep["program"]).is_file()
        config = validate(compose_train(command))
        places.add(run_path(config))
        assert config.wandb.mode is None  # the agent's server, or as the variables say
        evaluated = "validation" if config.dataset.validation_per_class else "test"
        assert sweep["metric"] == {"name": f"{evaluated}_error", "goal": "minimize"}
    assert len(places) == 2


SEEN_BY_A_SWEEPER = """
from hydra.experimental.callback import Callback

class Seen(Callback):
    def on_job_end(self, config, job_return, **_):
        print("returned", job_return.return_value)
"""


@pytest.mark.slow
@pytest.mark.parametrize("held_out", [0, 2])
def test_a_run_returns_the_error_that_a_sweeper_minimises(tmp_path, held_out):
    (tmp_path / "seen_by.py").write_text(SEEN_BY_A_SWEEPER)
    done = subprocess.run(
        [
            sys.executable,
            "scripts/train.py",
            "experiment=quickstart",
            "dataset.synthetic_train_per_class=8",
            "dataset.synthetic_test_per_class=4",
            f"dataset.validation_per_class={held_out}",
            "training.epochs=1",
            "runtime.device=cpu",
            "wandb.mode=disabled",
            f"root={tmp_path}",
            "+hydra.callbacks.seen._target_=seen_by.Seen",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("runs/**/summary.json")
    final = json.loads(file.read_text())["final"]
    error = final["validation_error" if held_out else "test_error"]
    assert f"returned {error}" in done.stdout


LEAVES = """
from concurrent.futures import ThreadPoolExecutor
from gnp.cli import leave
pool = ThreadPoolExecutor(1)
pool.submit(print, "worked").result()
leave(3)
"""


def test_a_script_leaves_though_a_pool_of_a_launcher_has_idle_workers():
    done = subprocess.run(
        [sys.executable, "-c", LEAVES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (3, "worked\n")


def test_children_find_wandb_imported_where_they_mirror(tiny, monkeypatch):
    from gnp.jobs.wanted import modules_of
    from gnp.settings import to_plain

    def imported(*settings):
        return "wandb" in modules_of([to_plain(tiny(*settings))])

    assert imported()
    assert imported("wandb.mode=offline")
    assert not imported("wandb.mode=disabled")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not imported()
