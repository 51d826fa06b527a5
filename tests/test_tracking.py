"""The run record and its mirror in wandb."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from conftest import PATIENCE, ROOT

from gnp.files import write_atomically
from gnp.settings import WandbSettings, checked
from gnp.tracking import ConfigMismatch, RunBusy, RunRecord, WandbMirror, describe_environment
from gnp.tracking.compare import config_difference
from gnp.tracking.reading import read_metrics

CONFIG = {"seed": 0, "root": "a", "runtime": {"threads": 1}, "dataset": {"name": "d", "root": "x"}}


def begun(folder):
    record = RunRecord(folder, CONFIG)
    record.begin({"code": {"hash": "c0de"}}, data="da7a")
    return record


def test_a_run_is_locked_while_its_record_is_open(tmp_path):
    with (
        RunRecord(tmp_path, CONFIG),
        pytest.raises(RunBusy, match=rf"process {os.getpid()} on .* is working on"),
    ):
        RunRecord(tmp_path, CONFIG)
    RunRecord(tmp_path, CONFIG).close()


def test_a_refused_config_leaves_no_lock(tmp_path):
    begun(tmp_path).close()
    with pytest.raises(ConfigMismatch, match="seed: 0 recorded, 1 wanted"):
        RunRecord(tmp_path, {**CONFIG, "seed": 1})
    RunRecord(tmp_path, CONFIG).close()


def test_where_a_run_runs_is_not_its_identity():
    moved = {"seed": 0, "root": "b", "runtime": {"threads": 2, "device": "cuda"},
             "dataset": {"name": "d", "root": "y"}, "wandb": {"mode": "online"}}  # fmt: skip
    assert config_difference(CONFIG, moved) == []
    assert config_difference(CONFIG, {**moved, "dataset": {"name": "e", "root": "y"}}) == [
        "dataset.name: d recorded, e wanted"
    ]
    assert config_difference(CONFIG, {**moved, "new": {"a": 1}}) == [
        "new.a: (not set) recorded, 1 wanted"
    ]


def test_where_files_lie_is_not_recorded(tmp_path):
    begun(tmp_path).close()
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {
        "seed": 0,
        "runtime": {"threads": 1},
        "dataset": {"name": "d"},
    }


def test_metrics_are_read_up_to_a_torn_line(tmp_path):
    with begun(tmp_path) as record:
        for epoch in (1, 2, 3):
            record.add_metrics({"epoch": epoch})
        with open(tmp_path / "metrics.jsonl", "a") as file:
            file.write('{"epoch": 4, "lo')
        assert [m["epoch"] for m in read_metrics(tmp_path)] == [1, 2, 3]
        record.set_metrics([{"epoch": 1}, {"epoch": 2}])
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1}\n{"epoch": 2}\n'


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    write_atomically(tmp_path / "f", lambda file: file.write(b"old"))

    def half(file):
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "f", half)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [f.name for f in tmp_path.iterdir()] == ["f"]


def test_a_written_file_may_be_read_by_whom_any_other_may(tmp_path):
    (tmp_path / "other").touch()
    write_atomically(tmp_path / "written", lambda file: file.write(b"text"))
    modes = [(tmp_path / name).stat().st_mode for name in ("other", "written")]
    assert modes[0] == modes[1]


def test_the_environment_names_code_and_versions_and_no_place():
    environment = describe_environment("cpu", ["seed=1", f"root={ROOT}"])
    assert len(environment["code"]["hash"]) == 16
    assert environment["overrides"] == ["seed=1"]
    assert environment["packages"]["torch"]
    assert str(ROOT) not in json.dumps(environment)


# ---------------------------------------------------------------------- wandb


def mirror(mode, folder):
    settings = WandbSettings(mode=mode, tags=["t"])
    return WandbMirror(settings, folder, "e/d-basic/gnp/seed0", CONFIG)


def test_disabled_does_not_import_wandb(tmp_path):
    code = (
        "import sys; from pathlib import Path; from gnp.settings import WandbSettings; "
        "from gnp.tracking import WandbMirror; settings = WandbSettings(mode='disabled'); "
        "m = WandbMirror(settings, Path('.'), 'id', {}); m.log({}, 1); m.finish(); "
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_mode_is_refused():
    with pytest.raises(
        ValueError, match="mode is on; expected one of null, offline, online, disabled"
    ):
        checked(WandbSettings, {"mode": "on"})


OFFLINE = """
import sys
from pathlib import Path
from gnp.settings import WandbSettings
from gnp.tracking import WandbMirror
settings = WandbSettings(mode=sys.argv[1], tags=["t"])
m = WandbMirror(settings, Path(sys.argv[2]), "e/gnp/seed0", {"a": 1})
m.log({"epoch": 1, "test_error": 5.0}, step=1)
m.finish({"final": {"test_error": 5.0}, "best": {"epoch": 1, "test_error": 5.0}})
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_without_a_key_it_records_offline_and_asks_nothing(tmp_path, mode):
    """On a terminal too: wandb itself would ask for a key there."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    parent, child = os.openpty()
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, mode, str(tmp_path)],
        env=environment,
        stdin=child,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    os.close(parent)
    os.close(child)
    assert done.returncode == 0, done.stderr
    assert "choice" not in done.stdout + done.stderr
    assert len(list((tmp_path / "wandb").glob("offline-run-*-e-gnp-seed0-*"))) == 1
    assert "wandb stopped" not in done.stderr
    assert ("no API key: recording offline" in done.stderr) == (mode == "online")


def test_a_wandb_that_fails_does_not_stop_the_run(tmp_path, monkeypatch, caplog):
    import wandb

    def broken(**_):
        raise RuntimeError("no server")

    monkeypatch.setattr(wandb, "init", broken)
    m = mirror("offline", tmp_path)
    m.log({"a": 1}, step=1)
    m.finish({})
    assert "wandb could not start (offline mode): no server" in caplog.text


def test_true_is_not_1():
    assert config_difference({"a": 1}, {"a": True}) == ["a: 1 recorded, True wanted"]
    assert config_difference({"a": 1}, {"a": 1.0}) == []


def test_a_recorded_value_is_not_its_default():
    known = {"a": 0, "b": 0}
    assert config_difference({"a": 1}, {"a": 1, "b": 0}, known) == []
    assert config_difference({"a": 1}, {"a": 0}, known) == ["a: 1 recorded, 0 wanted"]
    assert config_difference({"a": 0}, {"a": 1}, known) == ["a: 0 recorded, 1 wanted"]
