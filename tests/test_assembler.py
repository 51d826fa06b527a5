"""What the assembler makes of a config, number by number, beside a loop that is written out.

Each config sets what the others leave alone, so that a setting that is not handed on, or handed on
to something else, changes a number.
"""

import json
from functools import wraps

import pytest
import torch
from naive import NaiveRun

from gnp.data import Augmentation
from gnp.training.checkpoint import read_checkpoint
from gnp.training.run import folder_of, run
from models.pyramidnet import PyramidNet
from models.vgg import VGG

CONFIGS = {
    "base": [
        "optimizer=sgd",
        "training.drop_last=false",
        "training.batch_size=24",
        "training.schedule_every=epoch",
        "training.label_smoothing=0.2",
        "optimizer.decay_norms_and_biases=false",
        "optimizer.weight_decay=0.1",
        "augmentation=none",
        "dataset.validation_per_class=2",
    ],
    "dropout and a warm-up of r": [
        "optimizer=gnp",
        "optimizer.r=0.5",
        "optimizer.penalty_warmup=r",
        "optimizer.penalty_warmup_epochs=2",
        "training.max_grad_norm=0.7",
        "model.dropout=0.5",
        "augmentation=cutout",
        "seed=1",
    ],
    "pieces": [
        "optimizer=sam",
        "optimizer.r=0.3",
        "training.sharpness_batch=8",
        "training.train_metrics=second",
        "training.drop_last=true",
        "training.batch_size=24",
        "augmentation=mixup",
        "augmentation.mixing_alpha=0.5",
    ],
    "a part of the batch": [
        "optimizer=gnp",
        "optimizer.r=0.3",
        "optimizer.alpha=0.4",
        "optimizer.reference_fraction=0.5",
        "optimizer.penalty_warmup=lambda",
        "optimizer.penalty_warmup_epochs=2",
        "training.label_smoothing=0.1",
        "model.dropout=0.3",
        "dataset.train_per_class=5",
        "augmentation=cutmix",
    ],
    "official": [
        "model=pyramidnet_272_200_sd",
        "model.depth=11",
        "~model.width",
        "~model.dropout",
        "~model.blocks",
        "model.base_width=4",
        "model.alpha=4",
        "model.stem_stride=2",
        "fidelity=official",
        "optimizer=gnp",
        "optimizer.r=0.2",
        "optimizer.epsilon=0.5",
        "optimizer.weight_decay=0.05",
        "optimizer.decay_norms_and_biases=false",
        "augmentation=mixcut",
        "training.batch_size=20",
        "seed=2",
    ],
    "adaptive": [
        "optimizer=gnp",
        "optimizer.adaptive=true",
        "optimizer.adaptive_eta=0.1",
        "optimizer.r=1.0",
        "optimizer.batch_statistics=both",
        "optimizer.replay_draws=false",
        "model.dropout=0.2",
        "augmentation=autoaugment",
    ],
    "old directions": [
        "base=adamw",
        "recipe.base.eps=0.01",  # its first steps are signs of gradients, however small, else
        "optimizer=gnp",
        "optimizer.lr=0.002",
        "optimizer.r=0.3",
        "optimizer.direction_every=2",
        "optimizer.penalty_warmup=zero",
        "optimizer.penalty_warmup_epochs=1",
        "optimizer.weight_decay=1.0",
        "training.schedule_every=epoch",
        "augmentation=basic",
    ],
}
CONFIGS |= {
    "late, with an average": [
        "optimizer=gnp",
        "optimizer.r=0.3",
        "optimizer.penalty_start=0.4",  # of three epochs the first
        "training.ema=0.8",
        "training.max_grad_norm=0.7",
        "augmentation=cutout",
    ],
    "by chance": [
        "optimizer=gnp",
        "optimizer.r=0.3",
        "optimizer.probability=0.4",
        "optimizer.normalize_reference=true",
        "optimizer.weight_decay_in=loss",
        "training.train_metrics=second",
        "seed=1",
    ],
    "norms alone": [
        "optimizer=gnp",
        "optimizer.r=0.5",
        "optimizer.alpha=0.6",
        "optimizer.climb_only_norms=true",
        "training.sharpness_batch=8",
        "optimizer.decay_norms_and_biases=false",
        "optimizer.weight_decay=0.1",
    ],
    "along the momentum": [
        "optimizer=sam",
        "optimizer.r=1.0",
        "optimizer.climb_along=momentum",
        "optimizer.penalty_warmup=r",
        "optimizer.penalty_warmup_epochs=2",
        "model.dropout=0.3",
        "augmentation=mixup",
    ],
    "along AdamW's, with an average": [
        "base=adamw",
        "recipe.base.eps=0.01",
        "optimizer=gnp",
        "optimizer.lr=0.002",
        "optimizer.r=0.2",
        "optimizer.climb_along=momentum",
        "optimizer.probability=0.7",
        "training.ema=0.9",
    ],
}
STOPPED = (
    "late, with an average",
    "by chance",
    "along the momentum",
    "dropout and a warm-up of r",
    "a part of the batch",
    "old directions",
)


@pytest.fixture(autouse=True)
def networks_in_float64(monkeypatch):
    """In float32 two ways to one sum soon are two runs."""
    for network in (VGG, PyramidNet):
        monkeypatch.setattr(network, "__init__", doubled(network.__init__))
        monkeypatch.setattr(network, "forward", of_doubles(network.forward))


def doubled(init):
    @wraps(init)
    def wrapped(self, *arguments, **settings):
        init(self, *arguments, **settings)
        self.double()

    return wrapped


def of_doubles(forward):
    return wraps(forward)(lambda self, images: forward(self, images.double()))


# The clock's, and the record's about its own files.
NOT_OF_THE_TRAINING = ("seconds", "finished", "schema", "files", "sha256")


@pytest.fixture
def config_of(tiny, tmp_path):
    return lambda name: tiny(*CONFIGS[name], f"root={tmp_path}", "wandb.mode=disabled")


def assert_record_is(naive, config, summary):
    text = (folder_of(config) / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == len(naive.lines)
    for line, expected in zip(lines, naive.lines, strict=True):
        numbers = {k: v for k, v in line.items() if "seconds" not in k}
        assert numbers == pytest.approx(expected, rel=1e-6)
    recorded = {k: v for k, v in summary.items() if k not in NOT_OF_THE_TRAINING}
    for part in ("final", "best"):
        assert recorded.pop(part) == pytest.approx(naive.summary[part], rel=1e-6), part
    assert recorded == {k: v for k, v in naive.summary.items() if k not in ("final", "best")}
    weights = read_checkpoint(folder_of(config) / "checkpoint.pt")["model"]
    expected = naive.model.state_dict()
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
    average = read_checkpoint(folder_of(config) / "checkpoint.pt").get("ema")
    assert (average is None) == (config.training.ema is None)
    for name, value in (average or {}).items():
        torch.testing.assert_close(value, naive.average.state_dict()[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_number_of_a_run_is_what_the_config_says(config_of, name):
    config = config_of(name)
    summary = run(config)
    assert_record_is(NaiveRun(config), config, summary)


@pytest.mark.parametrize("name", STOPPED)
def test_so_is_every_number_of_a_run_that_was_stopped(config_of, name, monkeypatch):
    config, real, made = config_of(name), Augmentation.batch, []

    def batch(self, *arguments):
        made.append(1)
        if len(made) == 1 + 1.5 * naive.steps // 1:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return real(self, *arguments)

    naive = NaiveRun(config)
    monkeypatch.setattr(Augmentation, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert_record_is(naive, config, run(config))
