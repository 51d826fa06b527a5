"""What grows with the number of records: each is read once, and a config parsed once a cell."""

import json

import pytest
import yaml
from conftest import CONFIGS
from hydra import initialize_config_dir
from records import add_predictions, predictions, spec, write_record

from gnp.jobs import WantedConfigs, check_records, compositions, read_runs
from gnp.settings.overrides import override
from gnp.tables import TableSpec, collect
from gnp.tracking import reading
from gnp.tracking.reading import read_config, read_finished

NAME = "predictions.npz"


@pytest.fixture
def reads(monkeypatch):
    """The folders of the records that were read and proven."""
    folders = []

    def counted(folder, real=reading._read_and_proven):
        folders.append(folder)
        return real(folder)

    monkeypatch.setattr(reading, "_read_and_proven", counted)
    monkeypatch.setattr(reading, "TICK", -1)  # what was written just now counts as settled
    return folders


def test_a_record_is_read_once_while_its_files_are_left_alone(tmp_path, reads):
    table = spec()
    folders = [write_record(tmp_path, run, [6.0, 5.0]) for run in table.runs()]
    read_runs(table.runs(), tmp_path)
    collect(table, tmp_path)
    collect(table, tmp_path)
    assert sorted(reads) == sorted(folders)


@pytest.mark.parametrize("name", ["summary.json", "config.yaml", "metrics.jsonl", NAME])
def test_a_record_that_was_changed_is_read_again(tmp_path, reads, name):
    folder = write_record(tmp_path, next(spec().runs()), [6.0, 5.0])
    add_predictions(folder, predictions([0] * 20, [0] * 19 + [1], [0.1] * 20, [0.9] * 20))
    assert read_finished(folder).summary["final"]["test_error"] == 5.0
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(before[:-9])
    with pytest.raises(reading.DamagedRecord):
        read_finished(folder)
    with pytest.raises(reading.DamagedRecord):  # and the one before is forgotten
        read_finished(folder)
    (folder / name).write_bytes(before)
    assert read_finished(folder).metrics[-1]["test_error"] == 5.0
    assert reads == [folder] * 4


def test_a_record_that_was_written_just_now_is_read_again(tmp_path, reads, monkeypatch):
    monkeypatch.undo()
    folder = write_record(tmp_path, next(spec().runs()), [6.0, 5.0])
    first = read_finished(folder)
    assert read_finished(folder) is not first


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1}\nseed: 3\n",
        "seed: -12\na: 1\n",
        "seed: 0\n",
        "seed: 007\n",
        "seed: 1_0\n",
        "seed: 3\nb: {seed: 4}\n",
        "seed: 3\nb:\n  seed: 4\n",
        'a: "x\n\nseed: 3\n  y"\n',
        'a: "x\nseed: 3\n y"\nseed: 4\n',
        "a: |\n  seed: 3\nseed: 5\n",
        "b:\n- 1\nseed: 99999999999999999999999\n",
    ],
)
def test_a_config_whose_seed_is_read_apart_is_what_yaml_reads(tmp_path, text):
    for seed in (3, 8):
        (tmp_path / "config.yaml").write_text(text.replace("seed: 3", f"seed: {seed}"))
        expected = yaml.safe_load((tmp_path / "config.yaml").read_text())
        read = read_config(tmp_path)
        assert json.dumps(read) == json.dumps(expected)


def test_configs_of_one_cell_are_parsed_once(tmp_path, monkeypatch):
    reading._parsed_once.cache_clear()
    parsed = []

    def load(text, loader, real=yaml.load):
        parsed.append(text)
        return real(text, loader)

    monkeypatch.setattr(reading.yaml, "load", load)
    table = spec(seeds=list(range(6)))
    for run in table.runs():
        write_record(tmp_path, run, [5.0])
    read = read_runs(table.runs(), tmp_path).finished
    assert len(read) == 24
    assert len(parsed) == 4
    assert [f.config["seed"] for f in read] == [f.run.seed for f in read]


def test_a_table_is_started_with_one_composition_a_cell(tmp_path, monkeypatch):
    composed = []

    def compose(name, overrides, real=compositions.compose):
        composed.append(overrides)
        return real(name, overrides)

    monkeypatch.setattr(compositions, "compose", compose)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # none is kept
    table = TableSpec.from_config(
        yaml.safe_load((CONFIGS / "table" / "quickstart.yaml").read_text())
        | {"seeds": list(range(20))}
    )
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        configs = WantedConfigs(table, str(tmp_path))
        runs = list(table.runs())
        assert len(check_records(table, runs, str(tmp_path), configs).missing) == 120
        assert [configs(run)["seed"] for run in runs] == [run.seed for run in runs]
    assert len(composed) == len(list(table.cells()))


def test_a_name_and_a_value_are_made_an_override_once():
    override.cache_clear()
    table = spec(seeds=list(range(50)))
    for run in table.runs():
        run.settings()
    assert override.cache_info().misses == 6
