"""What each of several processes gets of a batch."""

import pytest

from gnp.training.distributed import Processes


@pytest.mark.parametrize(("images", "count"), [(12, 3), (7, 3), (2, 3), (5, 1)])
def test_the_shares_of_processes_are_all_rows_each_once(images, count):
    shares = [list(range(images))[Processes(rank, count).share(images)] for rank in range(count)]
    assert [row for share in shares for row in share] == list(range(images))
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1
