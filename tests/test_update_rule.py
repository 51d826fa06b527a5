"""The functions of ``update_rule.py`` where the optimizer's tests do not tell right from nearly."""

import math

import pytest
import torch

from gnp.optim.update_rule import clip_scale, global_norm


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_norm_of_halves_has_float32s_digits(dtype):
    norm = global_norm([torch.ones(3, dtype=dtype)])
    assert norm.item() == pytest.approx(math.sqrt(3), rel=1e-6)


def test_clipping_leaves_what_is_short_enough():
    assert clip_scale(torch.tensor(0.5), 2.0) == 1
    assert clip_scale(torch.tensor(2.0), 2.0) == 1
    assert clip_scale(torch.tensor(8.0), 2.0) == 0.25
