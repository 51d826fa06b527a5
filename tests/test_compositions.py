"""Kept compositions are what Hydra would compose, and go with whatever they are made of."""

import json
import shutil

import pytest
from conftest import CONFIGS
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gnp.jobs import compositions
from gnp.jobs.compositions import Compositions
from gnp.settings import resolve
from gnp.tables import TableSpec

GNP = ["experiment=mini/vgg16_bn", "optimizer=gnp", "seed=3", "root=a b"]


@pytest.fixture
def composed(monkeypatch):
    """How often Hydra is asked."""
    asked = []

    def counted(name, overrides):
        asked.append(overrides)
        return compose(name, overrides)

    monkeypatch.setattr(compositions, "compose", counted)
    return asked


@pytest.fixture
def configs(tmp_path):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    return tmp_path / "configs"


def of(configs, folder, overrides):
    with initialize_config_dir(str(configs), version_base="1.3"):
        them = Compositions("train", folder)
        config = resolve(them(overrides))
        them.keep()
        return config


def test_a_kept_one_is_what_hydra_composes(tmp_path, composed):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        table = TableSpec.from_config(compose("reproduce_table", ["table=all"]).table)
        runs = [run.overrides("out", table.overrides) for run in table.runs() if run.seed == 0]
        fresh = [resolve(compose("train", overrides)) for overrides in runs]
        first = Compositions("train", tmp_path)
        assert [resolve(first(overrides)) for overrides in runs] == fresh
        assert len(composed) == len(runs) == 78
        first.keep()
        again = Compositions("train", tmp_path)
        assert [resolve(again(overrides)) for overrides in runs] == fresh
        assert len(composed) == 78


def test_what_the_environment_says_is_asked_anew(tmp_path, monkeypatch, composed):
    monkeypatch.setenv("GNP_DATA", "/one")
    assert of(CONFIGS, tmp_path, GNP).data_root == "/one"
    monkeypatch.setenv("GNP_DATA", "/two")
    assert of(CONFIGS, tmp_path, GNP).data_root == "/two"
    assert len(composed) == 1


def test_a_changed_config_is_composed_anew(tmp_path, configs, composed):
    before = of(configs, tmp_path / "kept", GNP)
    file = configs / "experiment/mini/vgg16_bn.yaml"
    file.write_text(file.read_text().replace("epochs: 50", "epochs: 51"))
    after = of(configs, tmp_path / "kept", GNP)
    assert (before.training.epochs, after.training.epochs) == (50, 51)
    (configs / "experiment/new.yaml").write_text("# @package _global_\nexperiment: new\n")
    of(configs, tmp_path / "kept", GNP)
    assert len(composed) == 3


def test_what_lies_behind_a_link_is_part_of_the_configs(tmp_path, configs, composed):
    (tmp_path / "private").mkdir()
    own = tmp_path / "private/default.yaml"
    (configs / "local").symlink_to(tmp_path / "private")
    for epochs in (5, 6):
        own.write_text(f"# @package _global_\ntraining:\n  epochs: {epochs}\n")
        assert of(configs, tmp_path / "kept", GNP).training.epochs == epochs
    assert len(composed) == 2


def test_a_config_that_is_changed_meanwhile_is_not_kept_as_the_old_one(tmp_path, configs):
    file = configs / "experiment/mini/vgg16_bn.yaml"
    text = file.read_text()
    with initialize_config_dir(str(configs), version_base="1.3"):
        them = Compositions("train", tmp_path / "kept")
        them(["experiment=smoke"])  # the configs are looked at here
        file.write_text(text.replace("epochs: 50", "epochs: 51"))
        assert them(GNP).training.epochs == 51
        them.keep()
    file.write_text(text)
    assert of(configs, tmp_path / "kept", GNP).training.epochs == 50


def test_what_was_composed_is_kept_when_the_process_ends(tmp_path, composed):
    """Hydra has been left by then."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        them = Compositions("train", tmp_path)
        them(GNP)
    them.keep()
    of(CONFIGS, tmp_path, GNP)
    assert len(composed) == 1


def test_other_overrides_are_others(tmp_path, composed):
    assert of(CONFIGS, tmp_path, GNP).seed == 3
    assert of(CONFIGS, tmp_path, [*GNP, "seed=4"]).seed == 4
    assert len(composed) == 2


def test_configs_elsewhere_are_never_kept(tmp_path, composed):
    (tmp_path / "own/experiment").mkdir(parents=True)
    file = tmp_path / "own/experiment/mine.yaml"
    overrides = [f"hydra.searchpath=[file://{tmp_path}/own]", "experiment=mine"]
    for epochs in (5, 6):
        file.write_text(f"# @package _global_\nexperiment: mine\ntraining:\n  epochs: {epochs}\n")
        assert of(CONFIGS, tmp_path / "kept", overrides).training.epochs == epochs
    assert not list(tmp_path.glob("kept/*"))


@pytest.mark.parametrize("damage", ["cut", "changed", "list", "folder"])
def test_what_cannot_be_read_is_composed(tmp_path, composed, damage):
    of(CONFIGS, tmp_path / "kept", GNP)
    (file,) = (tmp_path / "kept").iterdir()
    text = file.read_text()
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        changed = {
            "cut": text[: len(text) // 2],
            "changed": text.replace('"epochs": 50', '"epochs": 49'),
            "list": json.dumps([1]),
        }[damage]
        assert changed != text
        file.write_text(changed)
    assert of(CONFIGS, tmp_path / "kept", GNP).training.epochs == 50
    assert len(composed) == 2


def test_a_place_that_cannot_be_written_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert of(CONFIGS, tmp_path / "file/kept", GNP).seed == 3


def test_what_is_kept_does_not_grow_without_end(tmp_path, configs, monkeypatch):
    monkeypatch.setattr(compositions, "MOST_ENTRIES", 2)
    monkeypatch.setattr(compositions, "MOST_KEPT", 3)
    for seed in range(4):
        of(configs, tmp_path / "kept", [*GNP, f"seed={seed}"])
    (file,) = (tmp_path / "kept").iterdir()
    assert [json.loads(key)[-1] for key in json.loads(file.read_text()) if key != "sha256"] == [
        "seed=2",
        "seed=3",
    ]
    for k in range(4):
        (configs / f"experiment/new{k}.yaml").write_text("")
        of(configs, tmp_path / "kept", GNP)
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_what_json_does_not_bring_back_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(
        compositions, "compose", lambda *_: OmegaConf.create({"a": {1: float("nan")}})
    )
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        them = Compositions("train", tmp_path / "kept")
        them([])
        them.keep()
    assert not (tmp_path / "kept").exists()
