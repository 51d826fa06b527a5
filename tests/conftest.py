"""Shared by all tests: small deterministic pieces, no network, no GPU needed."""

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

os.environ["WANDB_MODE"] = "disabled"  # but where a test is about wandb; and then never online
# Nor may one find, or leave, anything in the user's cache.
CACHE = tempfile.TemporaryDirectory(prefix="gnp-tests-cache-")
os.environ["XDG_CACHE_HOME"] = CACHE.name
os.environ.pop("COLUMNS", None)  # workers of xdist have one, for which output would be cut

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # and so do the children that they start

# A shell's background job ignores Ctrl-C, and nohup's the terminal's end; and so would the children
# that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Seconds until what does not end is given up: no measure of speed, which a loaded machine has not.
PATIENCE = 1200

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"


def printed_in_80_columns(script, *arguments):
    """What a script prints, given that many."""
    done = subprocess.run(
        [sys.executable, f"scripts/{script}", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def compose_train():
    """compose(["optimizer=sam", …]) → the composed config of one run."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield lambda overrides=(): compose("train", list(overrides))


@pytest.fixture
def tiny(compose_train):
    """tiny("optimizer=sam", …) → a validated config of a run that takes about a second."""
    from gnp.settings import validate

    settings = [
        "experiment=quickstart",
        "model.width=0.0625",
        "dataset.synthetic_train_per_class=8",
        "dataset.synthetic_test_per_class=4",
        "training.epochs=3",
        "training.batch_size=16",
        "runtime.device=cpu",
        "runtime.threads=1",
    ]
    return lambda *overrides: validate(compose_train([*settings, *overrides]))


@pytest.fixture
def run_stopped_in(monkeypatch):
    """run_stopped_in(config, epoch): a run that Ctrl-C ends when it has trained that epoch, and
    not yet evaluated it."""
    from gnp.training import run as module

    def run(config, epoch):
        real = module._Run._evaluation

        def evaluation(self, at):
            if at == epoch:
                raise KeyboardInterrupt
            return real(self, at)

        with monkeypatch.context() as patched:
            patched.setattr(module._Run, "_evaluation", evaluation)
            with pytest.raises(KeyboardInterrupt):
                module.run(config)

    return run


def augmentation(**settings):
    """An Augmentation with these settings, all others off."""
    from gnp.data import Augmentation
    from gnp.settings import AugmentationSettings

    return Augmentation(AugmentationSettings(name="test", **settings))


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Small files in CIFAR-10's own format, with their checksums in torchvision's class."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    random = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def part(name):
        pixels = random.integers(0, 256, (10, 3072), dtype=np.uint8)
        return write(name, {"data": pixels, "labels": list(range(10))})

    monkeypatch.setattr(CIFAR10, "train_list", [part(f"data_batch_{i}") for i in (1, 2)])
    monkeypatch.setattr(CIFAR10, "test_list", [part("test_batch")])
    names = {"label_names": [f"class{i}" for i in range(10)]}
    meta = dict(zip(("filename", "md5"), write("batches.meta", names), strict=True))
    monkeypatch.setattr(CIFAR10, "meta", {**meta, "key": "label_names"})
    return tmp_path
