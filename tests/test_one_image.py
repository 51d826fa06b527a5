"""A pass over one image, which batch norm may not be able to take, is refused at the start."""

import copy

import pytest
import torch
from torch import nn

from gnp.data import ImageData, Split
from gnp.settings import ConfigError
from gnp.training.one_image import check_passes_of_one_image
from gnp.training.run import run

IMAGES = 80 + 1  # of batches of 16


def images(n=IMAGES):
    split = Split(torch.zeros(n, 3, 32, 32, dtype=torch.uint8), torch.arange(n) % 10)
    return ImageData(split, split, "test", 10, (0.5,) * 3, (0.25,) * 3)


def network(normalise, pixels=1):
    """Normalised where the maps have so many pixels."""
    layers = [nn.Conv2d(3, 4, 32 // pixels, 32 // pixels), normalise, nn.Flatten(), nn.Dropout()]
    return nn.Sequential(*layers, nn.Linear(4 * pixels**2, 10))


@pytest.mark.parametrize(
    ("settings", "n", "cause"),
    [
        (
            ["training.drop_last=false"],
            81,
            r"training\.batch_size=16 leaves a last batch of 1 of 81 images; "
            r"set training\.drop_last=true or another training\.batch_size$",
        ),
        (
            ["training.drop_last=false", "optimizer.reference_fraction=0.25"],
            84,
            r"leaves a last batch of 4 of 84 images, and optimizer\.reference_fraction takes 1 of",
        ),
        (["training.sharpness_batch=1"], 80, r"set training\.sharpness_batch to more than 1$"),
        (
            ["training.sharpness_batch=4", "optimizer.reference_fraction=0.25"],
            80,
            r"optimizer\.reference_fraction=1/4 takes 1 of 4 images; set a larger one$",
        ),
        (["training.batch_size=1"], 80, r"set training\.batch_size to more than 1$"),
    ],
)
def test_batch_norm_over_one_image_is_refused_with_what_leads_to_it(tiny, settings, n, cause):
    with pytest.raises(ConfigError, match=f"cannot train on one image: .*{cause}"):
        check_passes_of_one_image(tiny(*settings), network(nn.BatchNorm2d(4)), images(n))


@pytest.mark.parametrize(
    ("settings", "n"),
    [
        ([], 81),  # the last batch is left out
        (["training.drop_last=false"], 80),
        (["training.drop_last=false"], 82),
        (["training.sharpness_batch=2"], 80),
        (["training.drop_last=false", "optimizer.reference_fraction=0.5"], 83),
    ],
)
def test_batch_norm_over_more_images_goes_on(tiny, settings, n):
    check_passes_of_one_image(tiny(*settings), network(nn.BatchNorm2d(4)), images(n))


@pytest.mark.parametrize(
    "model", [network(nn.Identity()), network(nn.GroupNorm(2, 4)), network(nn.BatchNorm2d(4), 2)]
)
def test_networks_that_can_train_on_one_image_go_on_and_stay_as_they_are(tiny, model):
    before, draws = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    check_passes_of_one_image(tiny("training.batch_size=1"), model, images())
    assert torch.equal(torch.get_rng_state(), draws)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_network_that_looks_at_values_is_left_to_its_first_pass(tiny):
    class Looks(nn.Module):
        def forward(self, x):
            return x if float(x.mean()) > 0 else -x

    check_passes_of_one_image(tiny("training.batch_size=1"), Looks(), images())


def test_a_run_is_refused_before_its_first_step(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("gnp.training.run.build_model", lambda config: network(nn.BatchNorm2d(4)))
    last = ["training.drop_last=false", "training.batch_size=79", f"root={tmp_path}"]
    with pytest.raises(ConfigError, match="leaves a last batch of 1 of 80 images"):
        run(tiny(*last))
    assert not list(tmp_path.rglob("metrics.jsonl"))
    whole = tiny(*last, "method=whole", "training.batch_size=78", "training.epochs=1")
    assert run(whole)["epochs"] == 1
