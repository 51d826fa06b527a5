"""Between the reads that are meant, training reads nothing on the host and makes nothing there
that the device needs. (On CUDA itself torch is asked too, in test_training.py.)"""

from contextlib import nullcontext

import pytest
import torch
from conftest import CONFIGS
from fake_device import DEVICE, Crossing, OneDevice, fake_device, fake_images
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
)

from gnp.optim import GNP, PenaltySchedule
from gnp.settings import validate
from gnp.training import loop
from gnp.training import run as run_module
from gnp.training.distributed import Processes
from gnp.training.loop import FiniteGuard, Meter, Schedules, train_epoch
from gnp.training.predictions import Predicted

CPU = torch.device("cpu")
METHODS = {
    "the base, SGD": ["optimizer=sgd"],
    "the base, AdamW": ["optimizer=adamw"],
    "SAM": ["optimizer=sam"],
    "GNP": [],
    "GNP around AdamW": ["base=adamw"],
    "adaptive": ["optimizer.adaptive=true"],
    "normalize_reference": ["optimizer.normalize_reference=true", "optimizer.epsilon=1e-12"],
    "reference_every": ["optimizer.reference_fraction=0.25"],
    "direction_every": ["optimizer.direction_every=2"],
    "both": ["optimizer.reference_fraction=0.25", "optimizer.direction_every=2"],
    "unit and kept": ["optimizer.normalize_reference=true", "optimizer.direction_every=2"],
    "m-sharpness": ["training.sharpness_batch=4"],
    "clipping": ["training.max_grad_norm=0.1"],
    "decay in the loss": ["optimizer.weight_decay_in=loss"],
    "apart from norms": ["optimizer.decay_norms_and_biases=false"],
    "statistics of both": ["optimizer.batch_statistics=both", "optimizer.replay_draws=false"],
    "penalty warm-up": ["optimizer.penalty_warmup=r", "optimizer.penalty_warmup_epochs=1"],
    "rest, smoothing": ["training.drop_last=false", "training.label_smoothing=0.1"],
    "official": ["fidelity=official"],
    "late": ["optimizer.penalty_start=0.5"],
    "by chance": ["optimizer.probability=0.5"],
    "norms alone": ["optimizer.climb_only_norms=true"],
    "along the momentum": ["optimizer.climb_along=momentum", "optimizer.adaptive=true"],
    "along AdamW's": ["base=adamw", "optimizer.climb_along=momentum"],
    "a moving average": ["training.ema=0.9"],
}
NETWORKS = {  # name → what makes it smaller
    "vgg16": [],
    "vgg16_bn": ["model.dropout=0.5"],
    "wrn_28_10": [],
    "wrn_ss_26_2x96": [],
    "pyramidnet_272_200_sd": ["model.depth=11"],
    "vit_ti16": ["model.depth=1", "model.dropout=0.1"],
}
AUGMENTATIONS = sorted(file.stem for file in (CONFIGS / "augmentation").glob("*.yaml"))
MIXTURES = [
    ["augmentation.mixing_alpha=0.5"],
    ["augmentation.mixing_scope=batch", "augmentation.cutout=8", "augmentation.cutout_scope=batch"],
    ["augmentation.mixing_partner=reversed", "augmentation.mixing_dominant=true"],
    ["augmentation.padding_mode=zeros"],
]
STEPS = 3  # two more than put constants on the device


@pytest.fixture
def train(monkeypatch):
    """train(config) trains an epoch of ``STEPS`` and evaluates, with fake tensors. What is read
    when they end is not."""
    monkeypatch.setattr(FiniteGuard, "check", lambda self: None)
    monkeypatch.setattr(Meter, "read", lambda self: None)
    real_build, real_batches = run_module.build_model, run_module.batches

    def trained(config, device=DEVICE):
        def build(config):
            with torch.device(device):
                model = real_build(config)
            model.to = lambda *_, **__: model  # torch cannot move a module of fake tensors
            return model

        def batches(*arguments):
            epoch = real_batches(*arguments)
            first = next(epoch)
            watch.strict = True  # what an epoch needs once is on the device
            yield first
            yield from epoch

        monkeypatch.setattr(run_module, "build_model", build)
        monkeypatch.setattr(run_module, "batches", batches)
        if config.training.ema is not None:  # nor can it copy one of fake tensors
            monkeypatch.setattr("timm.utils.model_ema.deepcopy", lambda _: build(config))
        steps = []
        with fake_device(monkeypatch, device), OneDevice(device) as watch:
            data = fake_images(device, STEPS * config.training.batch_size + 4)
            monkeypatch.setattr(run_module, "load_data", lambda *_: data)
            run = run_module._Run(config, None, device, Processes())
            run._train(1, steps.append)
            watch.strict = False
            run.model.register_forward_pre_hook(lambda *_: setattr(watch, "strict", True))
            run._evaluate(data, predicted := Predicted(device))
            assert [batch.shape[1] for batch in predicted._batches] == [0, 8]
        assert steps[:STEPS] == [1, 2, 3]

    return trained


def test_the_fake_device_shows_reads_and_copies(monkeypatch):
    with fake_device(monkeypatch), OneDevice() as watch:
        here, there = torch.ones(()), torch.zeros(3, device=DEVICE)
        with pytest.raises(DataDependentOutputException):
            there.sum().item()
        with pytest.raises(DataDependentOutputException):
            bool(there.any())
        with pytest.raises(DynamicOutputShapeException):
            there.nonzero()
        watch.strict = True
        for cross in (there.cpu, lambda: torch.tensor(1.0, device=DEVICE), lambda: there * here):
            with pytest.raises(Crossing):
                cross()


@pytest.mark.parametrize("method", METHODS)
def test_no_method_reads_on_the_host_or_crosses_devices(method, train, tiny):
    train(tiny("optimizer=gnp", *METHODS[method]))


@pytest.mark.parametrize("network", NETWORKS)
def test_no_network_reads_on_the_host_or_crosses_devices(network, train, compose_train):
    settings = [f"experiment=mini/{network}", "optimizer=gnp", "dataset=synthetic"]
    settings += ["augmentation=basic", "training.batch_size=4", *NETWORKS[network]]
    train(validate(compose_train(settings)))


@pytest.mark.parametrize("fidelity", ["paper", "official"])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_no_augmentation_reads_on_the_host_or_crosses_devices(
    augmentation, fidelity, train, tiny, monkeypatch
):
    """But for AutoAugment, which learns once an epoch how many images drew what."""
    told = []

    def tolist(counts):
        told.append(counts)
        drew, kinds = STEPS * 16 + 4, counts.shape[1]
        return [[drew // kinds] * (kinds - 1) + [drew - drew // kinds * (kinds - 1)]] * 2

    monkeypatch.setattr(FakeTensor, "tolist", tolist)
    train(tiny("optimizer=sgd", f"augmentation={augmentation}", f"fidelity={fidelity}"))
    assert len(told) == ("autoaugment" in augmentation)


@pytest.mark.parametrize("settings", MIXTURES)
def test_no_mixture_reads_on_the_host_or_crosses_devices(settings, train, tiny):
    train(tiny("optimizer=sgd", "augmentation=cutmix", *settings))


def test_an_epoch_on_the_meta_device_stays_there(train, tiny):
    train(tiny("optimizer=gnp", "augmentation=cutmix"), torch.device("meta"))


def test_bf16_reads_nothing_on_the_host(train, tiny):
    """Autocast knows no fake device: on the CPU, where reading is seen but a copy is not."""
    train(tiny("optimizer=gnp", "training.precision=bf16"), CPU)


def test_fp16_reads_nothing_on_the_host_but_in_torchs_scaler(train, tiny, monkeypatch):
    asked = []

    def step_anyway(self, optimizer, state, *args, **kwargs):
        asked.append(optimizer)  # torch reads here whether a gradient overflowed
        return optimizer.step(*args, **kwargs)

    monkeypatch.setattr(torch.amp.GradScaler, "_maybe_opt_step", step_anyway)
    units = ["optimizer.weight_decay_in=loss", "optimizer.normalize_reference=true"]
    clipped = ["training.precision=fp16", "training.max_grad_norm=1"]
    train(tiny("optimizer=gnp", *units, *clipped), CPU)
    assert len(asked) == STEPS


@pytest.mark.parametrize(
    "settings",
    [{}, {"alpha": 1.0}, {"adaptive": True}, {"l2": 1e-3}, {"probability": 0.5},
     {"climb_along": "momentum"}],
)  # fmt: skip
def test_a_step_in_two_phases_reads_nothing_on_the_host(settings, monkeypatch):
    with fake_device(monkeypatch), OneDevice() as watch:
        with torch.device(DEVICE):
            model, x = torch.nn.Linear(3, 2), torch.ones(4, 3)
        base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        optimizer = GNP(base, model=model, **settings)
        watch.strict = True
        for _ in range(2):
            optimizer.zero_grad()
            with optimizer.first_pass():
                model(x).sum().backward()
            if optimizer.needs_second_pass:
                with optimizer.second_pass():
                    model(x).sum().backward()
            optimizer.step()


@pytest.mark.cuda
@pytest.mark.parametrize("method", METHODS)
def test_on_cuda_no_method_waits(method, tiny, monkeypatch):
    monkeypatch.setattr(FiniteGuard, "check", lambda self: None)
    monkeypatch.setattr(Meter, "read", lambda self: None)
    config = tiny("optimizer=gnp", *METHODS[method])
    run = run_module._Run(config, None, torch.device("cuda"), Processes())
    real_batches = run_module.batches

    def batches(*arguments):
        epoch = real_batches(*arguments)
        first = next(epoch)  # what an epoch needs once is on the device
        torch.cuda.set_sync_debug_mode("error")
        yield first
        yield from epoch

    monkeypatch.setattr(run_module, "batches", batches)
    try:
        run._train(1, lambda step: None)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_loss_is_looked_at_every_fifty_steps(monkeypatch):
    """And, with the sums, when an epoch ends."""
    assert loop.CHECK_EVERY == 50
    monkeypatch.setattr(loop, "CHECK_EVERY", 5)
    done, looked = [], []
    monkeypatch.setattr(FiniteGuard, "check", lambda self: looked.append(len(done)))
    model = torch.nn.Linear(3, 2)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), alpha=0.0)
    constant = torch.optim.lr_scheduler.ConstantLR(optimizer)
    schedules = Schedules(constant, PenaltySchedule(optimizer))
    epoch = [(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))] * 12
    train_epoch(model, optimizer, schedules, epoch, CPU, nullcontext, progress=done.append)
    assert looked == [4, 9, 12]  # of steps 5 and 10 ``progress`` is told afterwards
