"""What tells one record, one value, one holder of a lock from another: the parts of the proofs."""

import json
import os
import sys

import pytest
import torch
import yaml
from records import spec, write_record

from gnp.data.digest import digest_of
from gnp.jobs import SeriesMismatch, check_records, same_data
from gnp.tracking import DamagedRecord, RunRecord
from gnp.tracking.checksums import fits_its_checksum, with_checksum
from gnp.tracking.compare import config_hash
from gnp.tracking.lock import LOCK_FD_VARIABLE, LOCK_NAME, inherited_lock, lock_run
from gnp.tracking.reading import read_environments, read_finished
from gnp.tracking.record import RecordGone
from gnp.training.checkpoint import CheckpointError, Checkpoints, Identity


def test_a_digest_tells_values_of_different_types_and_shapes_apart():
    zeros = torch.zeros(2, 2)
    values = [
        zeros,
        zeros.reshape(4),
        zeros.reshape(1, 4),
        zeros.to(torch.int32),
        [zeros, [zeros]],
        [[zeros, zeros]],
        [[zeros], zeros],
        (zeros, [zeros]),
        {"a": zeros},
        ["a", zeros],
        {"a": 1},
        {"a": 1.0},
        {"a": True},
        {"a": "1"},
        {"a": None},
        ["ab", "c"],
        ["a", "bc"],
    ]
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of({"a": zeros}) == digest_of({"a": zeros.clone()})


def test_a_checksum_is_of_the_entries_in_whatever_order():
    value = {"b": [1, {"y": 2, "x": 3}], "a": "ü"}
    whole = with_checksum(value)
    assert fits_its_checksum(whole)
    other = {"a": "ü", "sha256": whole["sha256"], "b": [1, {"x": 3, "y": 2}]}
    assert fits_its_checksum(other)
    assert not fits_its_checksum(other | {"a": "u"})
    assert not fits_its_checksum(other | {"c": None})


def first_record(root, errors=(6.0, 5.0), **config):
    return write_record(root, next(spec(seeds=[0]).runs()), list(errors), **config)


def test_a_summary_of_more_epochs_than_its_config_is_refused(tmp_path):
    """Metrics and summary agree with each other."""
    folder = first_record(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["training"]["epochs"] = 3
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(DamagedRecord, match=r"it is of 2 epochs, config\.yaml of 3"):
        read_finished(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 5},
        {"method": "another"},
        {"experiment": "another"},
        {"dataset": {"name": "another"}},
        {"augmentation": {"name": "another"}},
    ],
)
def test_a_config_of_another_run_than_its_summary_is_refused(tmp_path, changed):
    folder = first_record(tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | changed))
    (name,) = changed
    with pytest.raises(DamagedRecord, match=f"it is of {name} .*another|it is of seed 0, .*of 5"):
        read_finished(folder)


def test_true_is_no_error_of_1_percent(tmp_path):
    folder = first_record(tmp_path, [1.0])
    summary = json.loads((folder / "summary.json").read_text())
    summary["final"]["test_error"] = True
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DamagedRecord, match=r"final\.test_error is True, no error in %"):
        read_finished(folder)


def with_starts(folder, *starts):
    (folder / "environment.json").write_text(json.dumps([with_checksum(s) for s in starts]))


def test_a_config_of_another_run_than_its_starts_is_damage(tmp_path):
    folder = first_record(tmp_path)
    recorded = config_hash(yaml.safe_load((folder / "config.yaml").read_text()))
    with_starts(folder, {"code": {}}, {"code": {}, "config": recorded})
    assert read_finished(folder) is not None
    with_starts(folder, {"code": {}, "config": recorded}, {"code": {}, "config": "0" * 16})
    with pytest.raises(DamagedRecord, match=r"environment\.json is of a run with another config"):
        read_finished(folder)


def test_a_start_that_does_not_fit_its_checksum_is_damage(tmp_path):
    with_starts(tmp_path, {"code": {}}, {"code": {}, "data": "a"})
    assert len(read_environments(tmp_path)) == 2
    starts = json.loads((tmp_path / "environment.json").read_text())
    starts[1]["data"] = "b"
    (tmp_path / "environment.json").write_text(json.dumps(starts))
    with pytest.raises(DamagedRecord, match="start 2 does not fit its own checksum"):
        read_environments(tmp_path)


@pytest.mark.parametrize(("epoch", "lines"), [(0, 0), (4, 4), (2, 3), (3, 2), (-1, 0)])
def test_a_checkpoint_of_an_epoch_that_the_run_has_not_is_none(tmp_path, epoch, lines):
    checkpoints = Checkpoints(tmp_path, Identity("run", "config", "data"), epochs=3)
    checkpoints.save({"epoch": 3, "metrics": [{"epoch": i} for i in (1, 2, 3)]})
    assert checkpoints.load()["epoch"] == 3
    fresh = Checkpoints(tmp_path, Identity("run", "config", "data"), epochs=3)
    with pytest.raises(CheckpointError, match=f"it is of epoch {epoch} with {lines} epochs"):
        fresh.save({"epoch": epoch, "metrics": [{"epoch": i + 1} for i in range(lines)]})
    assert fresh.load()["epoch"] == 3


# ---------------------------------------------------------------------- half-done records

CONFIG = {"seed": 0, "model": {"width": 1}}


def begun(folder, config=CONFIG):
    with RunRecord(folder, config) as record:
        record.begin({"code": {"hash": "c0de"}}, data="da7a")
    return folder


def test_a_config_that_was_changed_in_a_half_done_record_is_refused_or_restored(tmp_path, caplog):
    begun(tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("width: 1", "width: 2"))
    with pytest.raises(DamagedRecord, match="the run was begun with another"):
        RunRecord(tmp_path, {"seed": 0, "model": {"width": 2}})
    begun(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == text
    assert "it is written again" in caplog.text


def test_nothing_is_written_into_a_folder_that_has_taken_the_runs_place(tmp_path):
    folder = tmp_path / "run"
    with RunRecord(folder, CONFIG) as record:
        record.begin({"code": {"hash": "c0de"}}, data="da7a")
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        (folder / LOCK_NAME).touch()
        with pytest.raises(RecordGone, match="was replaced while its run was at work"):
            record.add_metrics({"epoch": 1})
    assert [file.name for file in folder.iterdir()] == [LOCK_NAME]


# ---------------------------------------------------------------------- data


@pytest.mark.parametrize(("today", "refused"), [("a", False), ("b", True), (None, False)])
def test_records_on_other_data_than_are_loaded_now_are_refused(
    tmp_path, monkeypatch, today, refused
):
    """None: the data are not there, and cannot be compared."""
    table = spec(seeds=[0])
    runs = list(table.runs())
    configs = {}
    for run in runs:
        folder = write_record(tmp_path, run, [5.0], data="a")
        configs[run] = yaml.safe_load((folder / "config.yaml").read_text())

    code = f"import json, sys; print(json.dumps([{today!r}] * len(json.loads(sys.argv[1]))))"
    monkeypatch.setattr(same_data, "COMMAND", [sys.executable, "-c", code])
    if not refused:
        check_records(table, runs, str(tmp_path), configs.__getitem__)
        return
    with pytest.raises(SeriesMismatch, match="4 recorded runs were trained on other images"):
        check_records(table, runs, str(tmp_path), configs.__getitem__)


def test_data_that_cannot_be_compared_end_the_start_with_the_reason(tmp_path, monkeypatch):
    table = spec(seeds=[0])
    for run in table.runs():
        folder = write_record(tmp_path, run, [5.0], data="a")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    code = "raise MemoryError('of images there are too many')"
    monkeypatch.setattr(same_data, "COMMAND", [sys.executable, "-c", code])
    runs = [run for run in table.runs() if run.folder(tmp_path) == folder]
    with pytest.raises(same_data.DataUnknown, match="MemoryError: of images there are too many"):
        check_records(table, runs, str(tmp_path), lambda run: config)


def test_a_run_that_another_process_finished_meanwhile_is_not_compared():
    with same_data.DataDigests([]) as digests:
        assert digests.of({"name": "d"}) is None


def test_a_table_that_is_refused_leaves_no_process_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(
        same_data, "COMMAND", [sys.executable, "-c", "import time; time.sleep(3600)"]
    )
    with pytest.raises(KeyboardInterrupt), same_data.DataDigests([{}]) as digests:
        raise KeyboardInterrupt
    assert digests._process.returncode is not None


# ---------------------------------------------------------------------- locks


def test_an_inherited_lock_is_not_handed_on(tmp_path, monkeypatch):
    """Else a child of the training keeps the run locked when the training has ended."""
    descriptor = lock_run(tmp_path).descriptor
    os.set_inheritable(descriptor, True)
    monkeypatch.setenv(LOCK_FD_VARIABLE, str(descriptor))
    assert inherited_lock(tmp_path).descriptor == descriptor
    assert not os.get_inheritable(descriptor)
    assert LOCK_FD_VARIABLE not in os.environ
    os.close(descriptor)


def test_another_folders_lock_is_not_this_ones(tmp_path, monkeypatch):
    for name in ("ours", "another"):
        (tmp_path / name).mkdir()
    lock = lock_run(tmp_path / "another")
    (tmp_path / "ours" / LOCK_NAME).touch()
    monkeypatch.setenv(LOCK_FD_VARIABLE, str(lock.descriptor))
    assert inherited_lock(tmp_path / "ours") is None
    lock.release()


def test_an_unlocked_record_names_no_host(tmp_path):
    begun(tmp_path)
    assert (tmp_path / LOCK_NAME).read_text() == ""
