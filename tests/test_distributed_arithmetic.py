"""How a run's images are shared by processes: arithmetic that needs no process."""

import pytest

from gnp.settings import ConfigError
from gnp.training.distributed import Processes, check_shares


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
