"""How a run's images are shared by processes: arithmetic that needs no process."""

import pytest
import torch
from timm import create_model
from torch import nn

from gnp.settings import ConfigError
from gnp.training.distributed import Processes, check_shares, normalise_together


@pytest.mark.parametrize("images", [0, 1, 5, 16, 17])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shares_are_each_row_once_and_differ_by_at_most_one(images, count):
    shares = [range(images)[Processes(rank, count).share(images)] for rank in range(count)]
    assert [row for share in shares for row in share] == list(range(images))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["training.batch_size=15"], "batch_size=15 cannot be shared by 2 processes"),
        (["training.drop_last=false"], "drop_last=false needs one process"),
        (["training.sharpness_batch=16"], "no whole pieces of training.sharpness_batch=16"),
        (["optimizer.reference_fraction=0.333"], "1/3 does not divide a process's 8 images"),
    ],
)
def test_what_cannot_be_shared_is_refused(tiny, settings, words):
    config = tiny(*settings)
    check_shares(config, Processes(0, 1))
    with pytest.raises(ConfigError, match=words):
        check_shares(config, Processes(1, 2))
    check_shares(tiny("training.sharpness_batch=4"), Processes(1, 2))


@pytest.mark.parametrize("name", ["efficientnet_b0", "resnet18"])
def test_batch_norms_over_processes_keep_what_else_they_do(tiny, name):
    """timm's have an activation in them, which torch's own conversion leaves out."""
    network = create_model(name, num_classes=3).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images)
        together = normalise_together(network, tiny(), torch.device("cuda"))
        torch.testing.assert_close(together(images), before)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in together.modules())
    own = tiny("training.sharpness_batch=8")
    assert normalise_together(network, own, torch.device("cpu")) is network


def test_a_batch_norm_that_would_become_another_one_is_refused(tiny):
    class Squared(nn.BatchNorm2d):
        def forward(self, images):
            return super().forward(images) ** 2

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Squared(4))
    with pytest.raises(ConfigError, match="a network with Squared cannot be trained by several"):
        normalise_together(network, tiny(), torch.device("cuda"))
