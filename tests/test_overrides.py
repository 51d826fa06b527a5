"""Overrides that are made from values survive Hydra's and OmegaConf's grammar, and the shell's."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from records import spec

from gnp.settings.overrides import override

ODD = "odd=é (a, #b) \"q' [s] {t} ~$x"


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text("ab1'\"\\\\${}[](),=:# é@~%+-.", max_size=10))
def test_any_value_is_read_back_as_it_is(value):
    (read,) = OverridesParser.create().parse_overrides([override("root", value)])
    config = OmegaConf.create({"root": read.value(), "b": "1"})
    assert OmegaConf.to_container(config, resolve=True)["root"] == value


@pytest.mark.parametrize("value", ["1", "1e3", "true", "null", "007", "${b}", "a,b", " a", "''"])
def test_a_text_that_looks_like_something_else_stays_a_text(value):
    (read,) = OverridesParser.create().parse_overrides([override("root", value)])
    assert OmegaConf.to_container(OmegaConf.create({"r": read.value()}), resolve=True)["r"] == value


def test_what_needs_no_quotes_has_none():
    assert override("root", "my results/x-1.5") == "root=my results/x-1.5"


def test_a_printed_command_is_read_by_the_shell_as_it_was_meant():
    run = next(spec().runs())
    words = shlex.split(run.command(ODD, []))
    assert words == ["python", "scripts/train.py", *run.overrides(ODD, [])]
    assert words[-1] == override("root", ODD)


OWN = """
name: own
title: Own
note: In a folder beside.
parts:
  one:
    rows: [{label: V, experiment: own}]
    columns: [{label: C, dataset: synthetic, augmentation: basic}]
    methods: [{label: GNP, optimizer: gnp, name: "gnp (1, é)"}]
seeds: [0]
overrides:
  - training.epochs=1
  - training.batch_size=16
  - model.width=0.0625
  - dataset.synthetic_train_per_class=8
  - dataset.synthetic_test_per_class=4
"""


def run(*command, shell=False):
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    done = subprocess.run(
        command[0] if shell else [sys.executable, *command],
        shell=shell, cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--config-dir", "hydra.searchpath"])
def test_own_configs_and_an_odd_root_reach_the_children_and_the_printed_commands(tmp_path, how):
    own, root = tmp_path / "own=configs, é", str(tmp_path / ODD)
    for group in ("table", "experiment"):
        (own / group).mkdir(parents=True)
    text = (ROOT / "configs/experiment/quickstart.yaml").read_text()
    text = text.replace("experiment: quickstart", "experiment: own")
    (own / "experiment/own.yaml").write_text(text)
    (own / "table/own.yaml").write_text(OWN)
    path = f"hydra.searchpath=['file://{own}']"
    where = ["--config-dir", str(own)] if how == "--config-dir" else [path]
    table = ["scripts/reproduce_table.py", *where, "table=own", override("root", root)]
    dry = run(*table, "device=cpu", "dry_run=true")
    (command,) = [line for line in dry.splitlines() if line.startswith("python scripts/train.py")]
    assert "finished, test error" in run(f"{command} runtime.device=cpu", shell=True)
    assert "1 runs, 1 finished" in run(*table, "device=cpu")
    page = Path(root, "tables/own/table.md").read_text()
    made = page[page.index("Made by `") + 9 : page.rindex("` from")]
    assert "1 runs, 1 finished" in run(made, shell=True)


@pytest.mark.slow
def test_settings_that_are_always_yours_need_no_header(tmp_path):
    (tmp_path / "local").mkdir()
    (tmp_path / "local/default.yaml").write_text("data_root: /mine\nruntime:\n  threads: 3\n")
    shown = run("scripts/train.py", "--config-dir", str(tmp_path), "--cfg", "job", "--resolve")
    assert "data_root: /mine" in shown
    assert "threads: 3" in shown
    assert "local" not in shown
