"""What a record's files say is proven before it is believed, and one bad record costs no other."""

import json
import os
import shutil

import pytest
import torch
import yaml
from conftest import CONFIGS
from hydra import initialize_config_dir
from records import spec, write_record

from gnp.data import load_dataset
from gnp.data.digest import digest_of
from gnp.files import put_aside
from gnp.jobs import Pool, SeriesMismatch, WantedConfigs, check_records, cpu_slots, read_runs
from gnp.jobs.runner import RecordsLeftOut, refuse_to_pass_over
from gnp.settings import ConfigError, DatasetSettings, checked, unrecorded
from gnp.tables import collect, render
from gnp.tables.listing import list_runs
from gnp.tables.text import to_csv, to_latex, to_markdown
from gnp.tracking import ConfigMismatch, DamagedRecord, RunRecord
from gnp.tracking.checksums import with_checksum
from gnp.tracking.reading import read_finished
from gnp.training import run as run_module
from gnp.training.checkpoint import CheckpointError, Unusable, read_checkpoint
from gnp.training.run import folder_of, run

FILES = ("config.yaml", "environment.json", "metrics.jsonl", "predictions.npz")
FILES += ("summary.json", "checkpoint.pt")


@pytest.fixture
def finished(tiny, tmp_path):
    """A config and the folder of its finished run of two epochs."""
    config = tiny("training.epochs=2", f"root={tmp_path / 'root'}")
    run(config)
    return config, folder_of(config)


def numbers(folder):
    """All of a record's numbers but the clock's."""
    record = read_finished(folder)
    lines = [{k: v for k, v in m.items() if "seconds" not in k} for m in record.metrics]
    return lines, record.summary["final"], record.summary["best"]


def stop_after(monkeypatch, config, epochs, before_saving=False):
    """Train, and be interrupted when so many epochs are saved (or about to be)."""
    real = run_module._Run._save

    def save(self, lines):
        if before_saving and len(lines) == epochs:
            raise KeyboardInterrupt
        real(self, lines)
        if len(lines) == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(run_module._Run, "_save", save)
        run(config)
    return folder_of(config)


# ---------------------------------------------------------------------- a finished record


def test_a_finished_record_proves_itself(finished):
    _, folder = finished
    record = read_finished(folder)
    assert record.summary["schema"] == 2
    assert set(record.summary["files"]) == set(FILES) - {"summary.json"}
    assert record.data == record.environments[0]["data"]
    assert [line["epoch"] for line in record.metrics] == [1, 2]


@pytest.mark.parametrize("name", [name for name in FILES if name != "checkpoint.pt"])
def test_no_changed_byte_of_a_finished_record_goes_unnoticed(finished, name):
    _, folder = finished
    whole, good, noticed = (folder / name).read_bytes(), read_finished(folder), 0
    positions = range(0, len(whole), max(1, len(whole) // 60))
    for position in positions:
        changed = bytearray(whole)
        changed[position] ^= 1
        (folder / name).write_bytes(changed)
        try:
            assert read_finished(folder) == good  # the 17th digit of a number may be any
        except DamagedRecord as error:
            assert str(folder) in str(error)  # noqa: PT017
            noticed += 1
    assert noticed >= len(positions) - 2
    (folder / name).write_bytes(whole)
    assert read_finished(folder) == good


@pytest.mark.parametrize("name", FILES[:4])
def test_a_missing_file_of_a_finished_record_is_named(finished, name):
    _, folder = finished
    (folder / name).unlink()
    with pytest.raises(DamagedRecord, match=rf"{name} is damaged: it is missing"):
        read_finished(folder)


def test_a_finished_record_may_lose_its_checkpoint(finished):
    config, folder = finished
    (folder / "checkpoint.pt").unlink()
    assert read_finished(folder) is not None
    assert run(config)["epochs"] == 2


SUMMARIES = {
    "another run's": {"seed": 5},
    "an error below 0": {"final": {"test_error": -5.0, "fit_error": 1.0}},
    "an error of 1e9": {"final": {"test_error": 1e9, "fit_error": 1.0}},
    "a text for a number": {"final": {"test_error": "5", "fit_error": 1.0}},
    "null for a number": {"final": {"test_error": None, "fit_error": 1.0}},
    "true for a number": {"final": {"test_error": True, "fit_error": 1.0}},
    "another final error": {"final": {"test_error": 4.0, "fit_error": 1.0}},
    "another best epoch": {"best": {"epoch": 2, "test_error": 6.0}},
    "more epochs": {"epochs": 3},
    "no split": {"evaluated": "train"},
    "no seconds": {"seconds": None},
    "a list of files that is none": {"files": ["metrics.jsonl"]},
    "a negative time": {"seconds": -1},
    "no method": {"method": None},
}


@pytest.mark.parametrize("what", SUMMARIES)
def test_a_summary_that_contradicts_the_record_or_itself_is_refused(tmp_path, what):
    """With no checksum, as in records of schema 1, and with one that fits."""
    first = next(spec(seeds=[0]).runs())
    folder = write_record(tmp_path, first, [6.0, 5.0])
    assert read_finished(folder) is not None
    summary = json.loads((folder / "summary.json").read_text())
    assert summary | SUMMARIES[what] != summary
    for changed in (summary | SUMMARIES[what], with_checksum(summary | SUMMARIES[what])):
        (folder / "summary.json").write_text(json.dumps(changed))
        with pytest.raises(DamagedRecord, match=r"(summary|metrics)\.jsonl? is damaged"):
            read_finished(folder)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["{}", ""], "line 1 is of epoch None"),
        (['{"epoch": 1, "test_error": 6.0}', ""], "it has 1 epochs"),
        (['{"epoch": 1, "test_error": 6.0}', "", '{"epoch": 2, "test_error": 5.0}', ""], "line 2"),
        (['{"epoch": 1, "test_error": 6.0}', '{"epoch": 3, "test_error": 5.0}', ""], "epoch 3"),
        (['{"epoch": 1, "test_error": 6.0}', '{"epoch": 1, "test_error": 5.0}', ""], "epoch 1"),
        (['{"epoch": 1, "test_error": 6.0}', '{"epoch": 2, "test_error": 5.0'], "cut short"),
        (['{"epoch": 1, "test_error": 6.0}', '{"epoch": 2, "test_error": 5.0}'], "cut short"),
        (['{"epoch": 1, "test_error": NaN}', '{"epoch": 2, "test_error": 5.0}', ""], "NaN"),
        (
            ['{"epoch": 1, "test_error": 6.0}', '{"epoch": 2, "test_error": true}', ""],
            "test_error True, no error in %",
        ),
        (['{"epoch": 1, "test_error": 101}', '{"epoch": 2, "test_error": 5.0}', ""], "101"),
        (['{"epoch": 1, "test_loss": -1}', '{"epoch": 2, "test_error": 5.0}', ""], "-1"),
        (['{"epoch": true, "test_error": 6.0}', '{"epoch": 2, "test_error": 5.0}', ""], "True"),
        (['{"epoch": 1}', '{"epoch": 2, "test_error": 5.0}', ""], "line 1 has no test_error"),
        (["[1]", '{"epoch": 2, "test_error": 5.0}', ""], "line 1 is no JSON object"),
        ([""], "it has 0 epochs"),
    ],
)
def test_metrics_that_are_not_of_epochs_1_to_n_once_each_are_refused(tmp_path, lines, reason):
    folder = write_record(tmp_path, next(spec(seeds=[0]).runs()), [6.0, 5.0])
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    with pytest.raises(DamagedRecord, match=reason):
        read_finished(folder)


def test_a_record_that_lies_in_another_runs_place_is_refused(tmp_path):
    first, second = list(spec(seeds=[0, 1]).runs())[:2]
    shutil.copytree(write_record(tmp_path, first, [5.0]), second.folder(tmp_path))
    with pytest.raises(DamagedRecord, match="which does not lie here"):
        read_finished(second.folder(tmp_path))


# ---------------------------------------------------------------------- going on


@pytest.mark.parametrize(
    "name",
    ["metrics.jsonl", "environment.json", "config.yaml", "predictions.npz", "summary.json"],
)
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "folder", "list"])
def test_a_damaged_finished_run_is_made_whole_by_its_own_command(finished, caplog, name, damage):
    config, folder = finished
    before, file = numbers(folder), folder / name
    content = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
        (file / "x").touch()
    elif damage != "gone":
        file.write_bytes({"cut": content[:-9], "empty": b"", "list": b"[1, 2]"}[damage])
    run(config)
    assert numbers(folder) == before
    if (name, damage) != ("summary.json", "gone"):  # that is a run that is not finished
        assert name in caplog.text


def test_metrics_shorter_than_the_checkpoint_are_written_again_from_it(
    tiny, tmp_path, monkeypatch, caplog
):
    whole = tiny(f"root={tmp_path / 'whole'}")
    run(whole)
    for number, damage in enumerate(
        [
            lambda text: "",
            lambda text: text.split("\n")[0] + "\n",
            lambda text: "\n" + text,
            lambda text: text.replace('{"epoch": 1', '{"epoch" 1'),
            lambda text: text.replace('"train_loss": ', '"train_loss": 1'),
        ]
    ):
        cut = tiny(f"root={tmp_path / str(number)}")
        folder = stop_after(monkeypatch, cut, 2)
        text = (folder / "metrics.jsonl").read_text()
        (folder / "metrics.jsonl").write_text(damage(text))
        caplog.clear()
        run(cut)
        assert numbers(folder) == numbers(folder_of(whole))
        assert "metrics.jsonl" in caplog.text


def test_a_line_that_a_kill_left_without_its_checkpoint_is_nothing_to_warn_of(
    tiny, tmp_path, monkeypatch, caplog
):
    config = tiny(f"root={tmp_path}")
    stop_after(monkeypatch, config, 2, before_saving=True)
    run(config)
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_no_flipped_bit_of_a_checkpoint_changes_a_tensor_unnoticed(finished):
    _, folder = finished
    path = folder / "checkpoint.pt"
    good, whole = read_checkpoint(path), path.read_bytes()
    noticed = 0
    for position in range(0, len(whole), len(whole) // 150):
        flip(path, position)
        try:
            assert digest_of(read_checkpoint(path)) == digest_of(good)  # in the zip's padding
        except Unusable:
            noticed += 1
        path.write_bytes(whole)
    assert noticed > 100


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "folder", "foreign", "link"])
def test_a_damaged_checkpoint_costs_an_epoch_and_is_named(
    tiny, tmp_path, monkeypatch, caplog, damage
):
    whole, cut = tiny(f"root={tmp_path / 'whole'}"), tiny(f"root={tmp_path / 'cut'}")
    run(whole)
    folder = stop_after(monkeypatch, cut, 2)
    path = folder / "checkpoint.pt"
    content = path.read_bytes()
    if damage == "flipped":
        flip(path, len(content) // 2)
    elif damage == "foreign":
        torch.save({"weights": torch.ones(1)}, path)
    elif damage in ("cut", "empty"):
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    else:
        path.unlink()
        path.mkdir() if damage == "folder" else path.symlink_to("nowhere")
    run(cut)
    assert "checkpoint.pt cannot be used" in caplog.text
    assert "checkpoint.previous.pt, of epoch 1, is used in its place" in caplog.text
    assert numbers(folder) == numbers(folder_of(whole))
    assert not (folder / "checkpoint.previous.pt").exists()


def test_with_both_checkpoints_damaged_the_run_begins_again(tiny, tmp_path, monkeypatch, caplog):
    whole, cut = tiny(f"root={tmp_path / 'whole'}"), tiny(f"root={tmp_path / 'cut'}")
    run(whole)
    folder = stop_after(monkeypatch, cut, 2)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        flip(folder / name, 20_000)
    run(cut)
    assert "this run begins again" in caplog.text
    assert numbers(folder) == numbers(folder_of(whole))
    assert (folder / "checkpoint.pt.damaged").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epoch": 100}, "it is of epoch 100"),
        ({"epoch": -1}, "it is of epoch -1"),
        ({"run": "e/d-basic/gnp/seed7"}, "it is of run e/d-basic/gnp/seed7"),
        ({"config": "0" * 16}, "it is of config 0000"),
        ({"data": "0" * 16}, "it is of data 0000"),
        ({"metrics": []}, "with 0 epochs of metrics"),
    ],
)
def test_a_whole_checkpoint_of_another_run_is_not_gone_on_from(
    tiny, tmp_path, monkeypatch, caplog, changes, reason
):
    config = tiny(f"root={tmp_path}")
    path = stop_after(monkeypatch, config, 1) / "checkpoint.pt"
    state = read_checkpoint(path) | changes
    torch.save({**state, "digest": digest_of(state)}, path)
    run(config)
    assert reason in caplog.text


def test_an_empty_optimizer_state_does_not_fit_the_digest(tiny, tmp_path, monkeypatch, caplog):
    config = tiny(f"root={tmp_path}")
    path = stop_after(monkeypatch, config, 1) / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["optimizer"]["state"] = {}
    torch.save(state, path)
    run(config)
    assert "its content does not fit its digest" in caplog.text


def test_a_checkpoint_of_other_networks_is_refused_in_one_line(tiny, tmp_path, monkeypatch):
    config = tiny(f"root={tmp_path}")
    path = stop_after(monkeypatch, config, 1) / "checkpoint.pt"
    state = read_checkpoint(path)
    del state["model"][next(iter(state["model"]))]
    torch.save({**state, "digest": digest_of(state)}, path)
    with pytest.raises(CheckpointError, match=r"does not fit the network.*go on with the code"):
        run(config)


def test_a_base_whose_state_could_not_be_read_again_is_refused_at_the_first_save(
    tiny, tmp_path, monkeypatch
):
    def step(self, closure=None, real=torch.optim.SGD.step):
        real(self)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["opaque"] = OPAQUE

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    config = tiny(f"root={tmp_path}")
    with pytest.raises(CheckpointError, match=r"cannot be saved and read again.*optimizer\.base"):
        run(config)
    assert not list(folder_of(config).glob("*.pt"))


class Opaque:
    pass


OPAQUE = Opaque()


def test_a_deleted_config_is_restored_or_asked_for(tiny, tmp_path, monkeypatch, caplog):
    config = tiny(f"root={tmp_path}")
    folder = stop_after(monkeypatch, config, 1)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").unlink()
    other = tiny("optimizer.lr=0.3", f"root={tmp_path}")
    with pytest.raises(DamagedRecord, match=r"config\.yaml is damaged: it is missing.*delete"):
        run(other)
    assert not (folder / "config.yaml").exists()
    run(config)
    assert (folder / "config.yaml").read_text() == text
    assert "it is written again" in caplog.text


def test_a_deleted_config_of_a_start_without_an_epoch_is_asked_for_too(tmp_path):
    with RunRecord(tmp_path, {"seed": 0}) as record:
        record.begin({"code": {"hash": "c0de"}}, data="da7a")
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(DamagedRecord, match=r"config\.yaml is damaged: it is missing"):
        RunRecord(tmp_path, {"seed": 1})
    RunRecord(tmp_path, {"seed": 0}).close()


def test_a_folder_that_is_removed_while_its_run_is_at_work_is_not_made_again(
    tiny, tmp_path, monkeypatch
):
    config, real = tiny(f"root={tmp_path}"), run_module._Run._save

    def save(self, lines):
        if len(lines) == 2:
            shutil.rmtree(tmp_path / "runs")
        real(self, lines)

    monkeypatch.setattr(run_module._Run, "_save", save)
    with pytest.raises(Exception, match="was removed while its run was at work"):
        run(config)
    assert not (tmp_path / "runs").exists()


def test_a_refused_start_leaves_nothing_that_refuses_the_next(tiny, tmp_path):
    with pytest.raises(ConfigError):
        run(tiny("training.batch_size=81", f"root={tmp_path}"))
    assert not list(tmp_path.rglob("config.yaml"))
    run(tiny("training.batch_size=16", "training.epochs=1", f"root={tmp_path}"))


KINDS = {
    "folder": lambda path: (path.mkdir(), (path / "x").touch()),
    "pipe": os.mkfifo,
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_in_a_files_place_costs_no_other_run_and_is_mended(
    tiny, tmp_path, monkeypatch, name, kind
):
    """Twice, so that what was put aside the first time is in the way."""
    config = tiny("training.epochs=2", f"root={tmp_path}")
    folder = stop_after(monkeypatch, config, 1)
    for _ in range(2):
        (folder / name).unlink(missing_ok=True)
        KINDS[kind](folder / name)
        if name != "checkpoint.pt":
            list_runs(tmp_path)
        run(config)
    assert len(read_finished(folder).metrics) == 2


def test_a_folder_in_the_place_of_the_checkpoint_before_the_last_is_put_aside(
    tiny, tmp_path, monkeypatch
):
    config = tiny(f"root={tmp_path}")
    folder = stop_after(monkeypatch, config, 1)
    (folder / "checkpoint.previous.pt").mkdir()
    assert run(config)["epochs"] == 3
    assert (folder / "checkpoint.previous.pt.damaged").is_dir()


@pytest.mark.parametrize("before", ["nothing", "file", "folder"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_put_aside_loses_no_folder(tmp_path, kind, before):
    def make(path, kind):
        if kind == "folder":
            path.mkdir()
            (path / kind).touch()
        elif kind == "file":
            path.touch()

    make(tmp_path / "f", kind)
    make(tmp_path / "f.damaged", before)
    aside = put_aside(tmp_path / "f")
    assert aside.name == (
        "f.damaged" if before == "nothing" or (before, kind) == ("file", "file") else "f.damaged2"
    )
    assert not (tmp_path / "f").exists()
    assert aside.is_dir() == (kind == "folder")


# ---------------------------------------------------------------------- data


def test_other_data_under_the_same_name_are_refused(tiny, tmp_path, monkeypatch):
    """The settings are the same; one pixel is not."""
    real = run_module.load_data

    def changed(config, device):
        data = real(config, device)
        data.train.images[0, 0, 0, 0] ^= 1
        return data

    done, half = tiny(f"root={tmp_path / 'done'}"), tiny(f"root={tmp_path / 'half'}")
    run(done)
    stop_after(monkeypatch, half, 1)
    monkeypatch.setattr(run_module, "load_data", changed)
    for config in (done, half):
        with pytest.raises(ConfigMismatch, match="holds a run on other data"):
            run(config)


def test_runs_on_other_data_than_the_rest_are_left_out_of_a_table(tmp_path):
    table = spec(seeds=[0, 1, 2])
    for r in table.runs():
        odd = (r.cell.method.optimizer, r.cell.augmentation, r.seed) == ("sgd", "basic", 1)
        write_record(tmp_path, r, [50.0 if odd else 5.0], data="b" if odd else "a")
    result = collect(table, tmp_path)
    assert [r.seed for r in result.missing] == [1]
    assert "images and labels of digest b" in result.warnings[0]
    assert "50" not in to_csv(result)


# ---------------------------------------------------------------------- tables


@pytest.fixture
def hydra_is_ready():
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


QUICK = {
    "rows": [{"label": "VGG16-BN", "experiment": "quickstart"}],
    "columns": [{"label": "basic", "dataset": "synthetic", "augmentation": "basic"}],
    "published": None,
}


def quick(**changes):
    return spec(**QUICK, seeds=[0, 1], **changes)


def write_wanted(root, table, run, **changes):
    config = to_plain_of(WantedConfigs(table, str(root))(run)) | changes
    return write_record(root, run, [5.0], **config)


def to_plain_of(config):
    return yaml.safe_load(yaml.safe_dump({k: v for k, v in config.items() if k != "root"}))


def test_a_record_with_other_settings_is_left_out_wherever_it_is_read(tmp_path, hydra_is_ready):
    table = quick(overrides=["training.epochs=1"])
    wanted = WantedConfigs(table, str(tmp_path))
    runs = list(table.runs())
    for r in runs[1:]:
        write_wanted(tmp_path, table, r)
    odd = to_plain_of(wanted(runs[0]))
    odd["optimizer"]["lr"] = 0.07
    folder = write_record(tmp_path, runs[0], [1.25], **odd)
    result = collect(table, tmp_path, wanted=wanted, unrecorded=unrecorded())
    assert [r.path for r in result.missing] == [runs[0].path]
    (warning,) = result.warnings
    assert str(folder) in warning
    assert "optimizer.lr: 0.07 recorded, 0.05 wanted" in warning
    assert warning in to_markdown(result)
    for text in (to_csv(result), to_latex(result), to_markdown(result)):
        assert "1.25" not in text
    with pytest.raises(SeriesMismatch, match=r"optimizer\.lr: 0\.07 recorded"):
        check_records(table, runs, str(tmp_path), wanted)


def test_a_table_none_of_whose_records_was_made_with_its_settings_is_refused(
    tmp_path, hydra_is_ready
):
    table = quick(overrides=["training.epochs=1"])
    for r in table.runs():
        write_wanted(tmp_path, table, r)
    other = quick(overrides=["training.epochs=1", "optimizer.weight_decay=0.25"])
    with pytest.raises(SeriesMismatch, match=r"(?s)none of the 4 finished runs.*weight_decay"):
        collect(
            other, tmp_path, wanted=WantedConfigs(other, str(tmp_path)), unrecorded=unrecorded()
        )


def test_a_pool_does_not_take_a_record_that_another_job_made_with_other_settings(
    tmp_path, hydra_is_ready
):
    """Two jobs with different overrides on one root, started together."""
    ours, theirs = (
        quick(overrides=["training.epochs=1", f"optimizer.lr={lr}"]) for lr in (0.1, 0.2)
    )
    runs = list(ours.runs())
    for r in theirs.runs():
        write_wanted(tmp_path, theirs, r)
    child = tmp_path / "child.py"
    child.write_text("")
    wanted = WantedConfigs(ours, str(tmp_path))
    pool = Pool(runs, tmp_path, child, cpu_slots(1, 1), wanted)
    pool.run()
    assert pool.finished == []
    assert len(pool.failed) == 4
    assert "optimizer.lr: 0.2 recorded, 0.1 wanted" in str(pool.failed[0])


def test_configs_are_composed_once_a_cell_unless_the_seed_is_elsewhere_too(
    tmp_path, hydra_is_ready
):
    table = quick()
    first, _, second, _ = table.runs()
    assert (first.cell, first.seed, second.seed) == (second.cell, 0, 1)
    configs = [WantedConfigs(table, str(tmp_path))(r) for r in (first, second)]
    assert [c["seed"] for c in configs] == [0, 1]
    table = quick(overrides=[r"dataset.subset_seed=\${seed}"])
    wanted = WantedConfigs(table, str(tmp_path))
    assert [wanted(r)["dataset"]["subset_seed"] for r in (first, second)] == [0, 1]


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "null", "5", '{"evaluated": "test"}'])
def test_one_bad_summary_costs_no_other_run(tmp_path, content):
    table = spec(seeds=[0, 1])
    runs = list(table.runs())
    for r in runs:
        write_record(tmp_path, r, [5.0])
    bad = runs[3].folder(tmp_path) / "summary.json"
    bad.write_text(content)
    result = collect(table, tmp_path)
    assert [r.path for r in result.missing] == [runs[3].path]
    assert str(bad) in result.warnings[0]
    assert to_csv(result)
    listed, complaints = list_runs(tmp_path)
    assert len(listed) == len(runs) - 1
    assert str(bad) in complaints[0]
    records = read_runs(runs, tmp_path)
    assert [r for r, _ in records.damaged] == [runs[3]]


def test_a_run_whose_folder_is_of_the_wrong_kind_costs_no_other(tmp_path):
    runs = list(spec(seeds=[0]).runs())
    runs[0].folder(tmp_path).parent.mkdir(parents=True)
    runs[0].folder(tmp_path).write_text("a file")
    (runs[1].folder(tmp_path) / ".lock").mkdir(parents=True)
    (runs[2].folder(tmp_path) / "log.txt").mkdir(parents=True)
    child = tmp_path / "child.py"
    child.write_text("print('here')")
    pool = Pool(runs, tmp_path, child, cpu_slots(1, 1))
    pool.run()
    reasons = {f.run: f.reason for f in pool.failed}
    for r in runs[:3]:
        assert str(r.folder(tmp_path)) in reasons[r]
    assert "exit status 0; here" in reasons[runs[3]]


def test_a_failure_shows_what_this_start_printed(tmp_path):
    runs = list(spec(seeds=[0]).runs())[:1]
    folder = runs[0].folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("last week's reason\n")
    child = tmp_path / "child.py"
    child.write_text("import os; os.kill(os.getpid(), 9)")
    pool = Pool(runs, tmp_path, child, cpu_slots(1, 1))
    pool.run()
    assert "signal 9 (Killed)" in str(pool.failed[0])
    assert "it printed nothing" in str(pool.failed[0])
    assert "last week" not in str(pool.failed[0])


def test_a_failure_shows_a_message_of_several_lines_whole(tmp_path):
    child = tmp_path / "child.py"
    child.write_text("print('before'); print('child.py: another config:\\n  lr: 1\\nDelete it.')")
    pool = Pool(list(spec(seeds=[0]).runs())[:1], tmp_path, child, cpu_slots(1, 1))
    pool.run()
    assert "exit status 0; another config: lr: 1 Delete it. (all of it" in str(pool.failed[0])


@pytest.mark.slow
def test_a_table_whose_records_are_of_other_data_than_today_is_refused(tmp_path, hydra_is_ready):
    """Also when nothing is left to train."""
    sizes = ["dataset.synthetic_train_per_class=2", "dataset.synthetic_test_per_class=2"]
    table = quick(overrides=["training.epochs=1", *sizes])
    runs, wanted = list(table.runs()), WantedConfigs(table, str(tmp_path))
    today = load_dataset(checked(DatasetSettings, wanted(runs[0])["dataset"])).digest
    for r in runs:
        config = to_plain_of(wanted(r))
        write_record(tmp_path, r, [5.0], data="0" * 16 if r is runs[2] else today, **config)
    with pytest.raises(SeriesMismatch, match="1 recorded runs were trained on other") as e:
        check_records(table, runs, str(tmp_path), wanted)
    assert str(runs[2].folder(tmp_path)) in str(e.value)
    shutil.rmtree(runs[2].folder(tmp_path))
    check_records(table, runs, str(tmp_path), wanted)


def test_what_is_left_out_shows_in_the_exit_status():
    refuse_to_pass_over([])
    with pytest.raises(RecordsLeftOut, match=r"left out of what is shown \(1\)") as error:
        refuse_to_pass_over(["a record"])
    assert error.value.exit_status == 1


def test_a_rendered_table_hands_on_what_it_left_out(tmp_path, hydra_is_ready, capsys):
    table = quick(overrides=["training.epochs=1"])
    for r in table.runs():
        folder = write_wanted(tmp_path, table, r)
    (folder / "metrics.jsonl").write_text("")
    (warning,) = render(table, str(tmp_path), "made", WantedConfigs(table, str(tmp_path)))
    assert str(folder) in warning
    printed = capsys.readouterr().out
    assert warning in printed
