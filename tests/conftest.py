"""Shared by all tests: small deterministic pieces, no network, no GPU needed."""

import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault("WANDB_MODE", "offline")  # nothing in a test may reach for a server

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # and so do the children that they start

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"


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
    from gnp.training.config import validate

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
