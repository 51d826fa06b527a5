"""What is added with one new file and its config: a network, a data source."""

import json
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from gnp.settings import validate
from gnp.training.run import run

SMALL = [
    "training.epochs=1",
    "training.batch_size=16",
    "runtime.device=cpu",
    "runtime.threads=1",
    "wandb.mode=disabled",
]

NETWORK = """
from torch import nn


class Line(nn.Sequential):
    def __init__(self, num_classes: int, width: int = 4):
        super().__init__(nn.Flatten(), nn.Linear(3072, width), nn.Linear(width, num_classes))
"""


def test_a_network_is_a_class_and_a_file_of_configs_model(compose_train, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(NETWORK)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "line.yaml").write_text(
        "_target_: mine.Line\nnum_classes: ${dataset.num_classes}\n"
    )
    settings = [f"hydra.searchpath=[file://{tmp_path}]", "model=line", "+model.width=5"]
    data = ["dataset=synthetic", "dataset.synthetic_train_per_class=4"]
    config = validate(compose_train([*settings, *data, *SMALL, f"root={tmp_path}"]))
    assert run(config)["parameters"] == 3072 * 5 + 5 + 5 * 10 + 10


SOURCE = '''
"""Noise, of one brightness for each class."""

import torch


def load(settings, split):
    labels = torch.arange(settings.num_classes).repeat(8)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(20, (len(labels), 3, 32, 32), generator=generator)
    images = (noise + 20 * labels[:, None, None, None]).to(torch.uint8)
    return images, labels
'''


@pytest.mark.slow
def test_a_data_source_is_a_file_and_a_file_of_configs_dataset(tmp_path):
    """In a copy of the tree, where it is refused by its name until it is there."""
    for folder in ("gnp", "models", "configs", "scripts"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tmp_path / "configs/dataset/noise.yaml").write_text(
        "name: noise\nsource: noise\nnum_classes: 10\nmean: [0.5, 0.5, 0.5]\nstd: [0.3, 0.3, 0.3]\n"
    )
    command = [sys.executable, "scripts/train.py", "experiment=quickstart", "dataset=noise", *SMALL]

    def train():
        return subprocess.run(
            [*command, "model.width=0.0625"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )

    refused = train()
    assert refused.returncode == 2
    wanted = "dataset.source is noise; expected one of folder, synthetic, torchvision"
    assert wanted in refused.stderr
    (tmp_path / "gnp/data/sources/noise.py").write_text(SOURCE)
    done = train()
    assert done.returncode == 0, done.stderr
    (summary,) = (tmp_path / "outputs/runs").rglob("summary.json")
    assert json.loads(summary.read_text())["train_images"] == 80
