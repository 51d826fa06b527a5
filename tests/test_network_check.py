"""What is no network for these images and classes is refused at the start, in one line."""

import pytest
import torch
from torch import nn

from gnp.settings import ConfigError
from gnp.training.build import build_model, build_optimizer, check_network
from gnp.training.device import prepare_device

MODEL = "{_target_: %s}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["model.num_classes=3"], r"makes \(2, 3\) of 2 images; expected \(2, 10\)"),
        (["model._target_=torch.nn.Identity"], "no parameters to train"),
        (["+model._partial_=true"], "made no torch.nn.Module"),
        (["model.width=abc"], "model: "),
        (["model.dropout=5"], "model: "),
        (["model._target_=models.vgg.conv_block"], "class derived from torch's Module"),
        (
            ["+model.extra._target_=os.getcwd"],
            r"model\.extra\._target_=os\.getcwd: expected a class",
        ),
    ],
)
def test_what_is_no_network_is_refused(tiny, compose_train, settings, words):
    from gnp.settings import resolve

    config = resolve(compose_train(["experiment=quickstart", *settings]))
    with pytest.raises(ConfigError, match=words) as refused:
        build_model(config)
    assert "\n" not in str(refused.value)


def test_nothing_but_networks_and_optimizers_is_called(tiny, tmp_path):
    config, mark = tiny(), tmp_path / "called"
    command = {"_target_": "os.mkdir", "path": str(mark)}
    with pytest.raises(ConfigError, match=r"model\._target_=os\.mkdir: expected a class"):
        build_model(config.model_copy(update={"model": command}))
    wrong = config.optimizer.model_copy(update={"base": command})
    with pytest.raises(ConfigError, match=r"optimizer\.base\._target_=os\.mkdir: expected a class"):
        build_optimizer(config.model_copy(update={"optimizer": wrong}), nn.Linear(1, 1), None)
    assert not mark.exists()


def test_the_check_leaves_the_network_and_the_draws_as_they_were():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3072), nn.Dropout(), nn.Linear(3072, 10))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_network(model, 10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("runtime.compile=nope", "torch.compile has no such backend; it has .*inductor"),
        ("runtime.compile=cudagraphs", "overwrite what a pass returned .* use inductor"),
        ("runtime.device=cuda:99", "runtime.device=cuda:99, but torch sees"),
        ("runtime.device=xpu:99", "runtime.device=xpu:99, but torch sees"),
    ],
)
def test_a_device_or_backend_that_is_not_there_is_refused(tiny, setting, words):
    with pytest.raises(ConfigError, match=words):
        prepare_device(tiny(setting).runtime)
