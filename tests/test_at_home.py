"""GNP in other people's training code: schedulers, timm, Lightning, Accelerate, torch.compile."""

import copy
import warnings

import pytest
import torch
from problems import closure_for
from torch import nn
from torch.nn.functional import cross_entropy

from gnp.optim import GNP
from gnp.optim.reference import gnp_gradient

R, ALPHA = 0.3, 0.8


def data():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(32, 6, generator=generator)
    return x, (x.sum(1) > 0).long()


def network():
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def closure_of(optimizer, model):
    x, y = data()
    return closure_for(optimizer, lambda: cross_entropy(model(x), y))


def trained(steps=6):
    """What every test below has to end with: a bare loop's weights."""
    model = network()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), R, ALPHA)
    for _ in range(steps):
        optimizer.step(closure_of(optimizer, model))
    return model


def assert_same(left, right):
    for a, b in zip(left.parameters(), right.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------------- schedulers

SCHEDULERS = {
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.5, total_steps=8),
    "CosineAnnealingWarmRestarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        o, T_0=3
    ),
    "CyclicLR": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "SequentialLR": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o,
        [
            torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=3),
            torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        ],
        [3],
    ),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_schedulers_do_to_the_wrapper_what_they_do_to_the_base(kind):
    """Rate and, with OneCycle and CyclicLR, momentum; the gradient is the formula's."""
    model, twin = network().double(), network().double()
    base = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), R, ALPHA)
    x, y = data()

    def loss_of(params):
        names = [n for n, _ in twin.named_parameters()]
        weights = dict(zip(names, params, strict=True))
        return cross_entropy(torch.func.functional_call(twin, weights, (x.double(),)), y)

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(x.double()), y)
        loss.backward()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "step of the scheduler before that of the optimizer"
        warnings.filterwarnings("ignore", "The epoch parameter")  # SequentialLR's own
        schedulers = [SCHEDULERS[kind](o) for o in (optimizer, base)]
        for _ in range(7):
            optimizer.step(closure)
            params = list(twin.parameters())
            for p, g in zip(params, gnp_gradient(loss_of, params, R, ALPHA), strict=True):
                p.grad = g
            base.step()
            for scheduler in schedulers:
                scheduler.step()
            for setting in ("lr", "momentum"):
                assert optimizer.param_groups[0][setting] == base.param_groups[0][setting]
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
    fresh = SCHEDULERS[kind](GNP(torch.optim.SGD(network().parameters(), lr=0.1, momentum=0.9)))
    fresh.load_state_dict(copy.deepcopy(schedulers[0].state_dict()))
    assert fresh.get_last_lr() == schedulers[0].get_last_lr()


def test_reduce_on_plateau_lowers_the_rate():
    model = network()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), R, ALPHA)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for loss in (1.0, 1.0, 1.0):
        optimizer.step(closure_of(optimizer, model))
        scheduler.step(loss)
    assert optimizer.base.param_groups[0]["lr"] == 0.025


def test_swa_averages_its_weights():
    model = network()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), R, ALPHA)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    scheduler = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)
    seen = []
    for _ in range(3):
        optimizer.step(closure_of(optimizer, model))
        averaged.update_parameters(model)
        scheduler.step()
        seen.append(model[0].weight.detach().clone())
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.05)
    torch.testing.assert_close(averaged.module[0].weight, torch.stack(seen).mean(0))


# ---------------------------------------------------------------------- timm


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "lion", "adan", "lookahead_sgd"])
def test_timms_optimizers_as_base_and_its_scheduler(name):
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    model, plain = network(), network()
    base = create_optimizer_v2(model, opt=name, lr=0.05, weight_decay=0.01)
    optimizer = GNP(base, R, ALPHA)
    scheduler = CosineLRScheduler(optimizer, t_initial=10, warmup_t=3, warmup_lr_init=0.001)
    first = optimizer.step(closure_of(optimizer, model))
    for step in range(1, 10):
        scheduler.step(step)
        last = optimizer.step(closure_of(optimizer, model))
    assert last < first
    assert base.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] != 0.05
    # The same base without a penalty is the base itself.
    bare, wrapped = network(), network()
    bare_base = create_optimizer_v2(bare, opt=name, lr=0.05, weight_decay=0.01)
    wrapper = GNP(create_optimizer_v2(wrapped, opt=name, lr=0.05, weight_decay=0.01), alpha=0.0)
    for _ in range(7):
        bare_base.zero_grad()
        cross_entropy(bare(data()[0]), data()[1]).backward()
        bare_base.step()
        wrapper.step(closure_of(wrapper, wrapped))
    assert all(
        torch.equal(a, b) for a, b in zip(bare.parameters(), wrapped.parameters(), strict=True)
    )
    assert not torch.equal(model[0].weight, plain[0].weight)
    again = GNP(create_optimizer_v2(network(), opt=name, lr=0.05, weight_decay=0.01))
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))


# ---------------------------------------------------------------------- Lightning


def lightning_module(model, manual=False):
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model
            self.automatic_optimization = not manual
            self.losses = []

        def loss(self, batch):
            x, y = batch
            return cross_entropy(self.model(x), y)

        def training_step(self, batch, _):
            if not manual:
                self.losses.append(self.loss(batch))
                return self.losses[-1]
            optimizer = self.optimizers().optimizer
            optimizer.zero_grad()
            with optimizer.first_pass():
                self.manual_backward(self.loss(batch))
            if optimizer.needs_second_pass:
                with optimizer.second_pass():
                    self.manual_backward(self.loss(batch))
            self.optimizers().step()
            return None

        def configure_optimizers(self):
            base = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
            return GNP(base, R, ALPHA, model=self.model)

    return lightning, Module()


@pytest.mark.slow
@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
@pytest.mark.filterwarnings("ignore")  # Lightning's about workers and loggers
def test_lightning(tmp_path, manual):
    model = network()
    lightning, module = lightning_module(model, manual)
    trainer = lightning.Trainer(
        max_epochs=6,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=32)
    trainer.fit(module, loader)
    assert_same(model, trained(6))
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    state = torch.load(checkpoint, weights_only=False)["optimizer_states"][0]
    assert state["param_groups"][0]["alpha"] == ALPHA
    assert "momentum_buffer" in state["state"][0]


def test_a_group_can_be_added_through_lightnings_wrapper():
    pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.core.optimizer import LightningOptimizer

    model = network()
    optimizer = GNP(torch.optim.SGD(model[0].parameters(), lr=0.1), R, ALPHA)
    LightningOptimizer(optimizer).add_param_group({"params": list(model[2].parameters())})
    assert [group["r"] for group in optimizer.base.param_groups] == [R, R]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lightnings_accumulation_is_refused(tmp_path):
    model = network()
    lightning, module = lightning_module(model)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        accumulate_grad_batches=2,
    )
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=16)
    with pytest.raises(RuntimeError, match="accumulate_grad_batches=1"):
        trainer.fit(module, loader)
    assert_same(model, network())


# ---------------------------------------------------------------------- Accelerate


@pytest.mark.slow
def test_accelerate():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = network()
    base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model, optimizer = accelerator.prepare(model, GNP(base, R, ALPHA, model=model))
    x, y = data()

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        accelerator.backward(loss)
        return loss

    for _ in range(6):
        optimizer.step(closure)
    assert_same(accelerator.unwrap_model(model), trained(6))


@pytest.mark.slow
def test_accelerates_accumulation_is_refused():
    accelerate = pytest.importorskip("accelerate")
    from accelerate.state import AcceleratorState, GradientState

    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    try:
        model = network()
        base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model, optimizer = accelerator.prepare(model, GNP(base, R, ALPHA, model=model))
        x, y = data()

        def step(rows):
            def closure():
                optimizer.zero_grad()
                loss = cross_entropy(model(x[rows]), y[rows])
                accelerator.backward(loss)
                return loss

            with accelerator.accumulate(model):
                optimizer.step(closure)

        step(slice(16))
        with pytest.raises(RuntimeError, match="gradient_accumulation_steps=2"):
            step(slice(16, 32))
        assert_same(accelerator.unwrap_model(model), network())
    finally:
        GradientState._reset_state()
        AcceleratorState._reset_state(reset_partial_state=True)


# ---------------------------------------------------------------------- torch.compile


@pytest.mark.slow
@pytest.mark.parametrize("what", ["network", "loss"])
def test_compiled(what):
    model = network()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), R, ALPHA)
    x, y = data()

    def loss_of(x, y):
        return cross_entropy(model(x), y)

    if what == "network":
        forward = torch.compile(model, backend="aot_eager")
    else:
        loss_of = torch.compile(loss_of, backend="aot_eager")

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(forward(x), y) if what == "network" else loss_of(x, y)
        loss.backward()
        return loss

    for _ in range(6):
        optimizer.step(closure)
    assert_same(model, trained(6))


@pytest.mark.slow
def test_a_compiled_closure():
    model = network()
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), R, ALPHA)
    closure = torch.compile(closure_of(optimizer, model), backend="aot_eager")
    for _ in range(6):
        optimizer.step(closure)
    assert_same(model, trained(6))
