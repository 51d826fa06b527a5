"""On a GPU everything is what it is on the CPU: updates, networks, augmentation, whole runs.

What waits for the device there is asked in test_no_waiting.py and test_training.py."""

import json
from contextlib import nullcontext
from itertools import islice

import pytest
import torch
from conftest import printed_in_80_columns
from test_no_waiting import AUGMENTATIONS, METHODS, MIXTURES, NETWORKS
from test_training import assert_same_run, final_state, lines_of
from torch.nn.functional import cross_entropy
from torch.overrides import TorchFunctionMode

from gnp.benchmarks.training_step import compose_run
from gnp.data.loader import Normalise
from gnp.training.build import (
    build_augmentation,
    build_model,
    build_optimizer,
    build_schedules,
)
from gnp.training.ema import evaluated_network
from gnp.training.loop import train_epoch
from gnp.training.run import folder_of, run

pytestmark = pytest.mark.cuda
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# A network in which no gradient is 0 but for rounding (as those of biases before batch norms are),
# for Adam makes steps of such noise.
SETTINGS = ["experiment=wrn_28_10", "model.depth=10", "model.width=1", "model.base_width=4"]
SETTINGS += ["training.batch_size=16"]


class DrawnOnTheCpu(TorchFunctionMode):
    """Draws from a generator are made on the CPU, by a generator of this mode's own: two devices
    draw the same numbers."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is None:
            return function(*args, **kwargs)
        device = kwargs["generator"].device
        kwargs["generator"] = self.generator
        if "device" in kwargs:
            kwargs["device"] = CPU
        args = [a.cpu() if isinstance(a, torch.Tensor) else a for a in args]
        return function(*args, **kwargs).to(device)


def fixed_batches(count, size=16):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 3, 32, 32, generator=generator).double(),
            torch.randint(10, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def relative_distance(one, other):
    return ((one.cpu() - other.cpu()).norm() / other.cpu().norm()).item()


def weights_after(config, device, epochs=2, steps=2):
    """All evaluated weights and statistics after a training in float64, on that device, as one
    vector."""
    torch.manual_seed(0)
    layout = torch.contiguous_format if device == CPU else torch.channels_last
    model = build_model(config).double().to(device, memory_format=layout)
    optimizer = build_optimizer(config, model, device)
    schedules = build_schedules(config, optimizer, steps)
    evaluated = evaluated_network(config, model, model, optimizer)
    training, seen = config.training, iter(fixed_batches(epochs * steps))
    for _ in range(epochs):
        there = ((i.to(device), labels.to(device)) for i, labels in islice(seen, steps))
        train_epoch(
            model, optimizer, schedules, there, device, nullcontext,
            label_smoothing=training.label_smoothing, sharpness_batch=training.sharpness_batch,
            reference_every=config.optimizer.reference_every, after_step=evaluated.after_step,
        )  # fmt: skip
    state = evaluated.network.state_dict().values()
    return torch.cat([t.flatten() for t in state if t.is_floating_point()])


@pytest.mark.parametrize("method", METHODS)
def test_an_update_is_the_cpus(method):
    config = compose_run([*SETTINGS, "training.epochs=2", "optimizer=gnp", *METHODS[method]])
    ours, theirs = (weights_after(config, device) for device in (CUDA, CPU))
    # The loss is made of float32 logits, and Adam divides by gradients of their rounding's size. On
    # an H200: 1.4e-9 at most, with AdamW 2.5e-6.
    adam = "base=adamw" in METHODS[method] or "optimizer=adamw" in METHODS[method]
    assert relative_distance(ours, theirs) < (1e-5 if adam else 1e-8)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_networks_outputs_and_gradients_are_the_cpus(network):
    """Without what it draws: dropout, Shake-Shake, ShakeDrop."""
    config = compose_run([f"experiment={network}", "optimizer=gnp", *NETWORKS[network]])
    ((images, labels),) = fixed_batches(1, size=4)
    found = []
    for device in (CUDA, CPU):
        torch.manual_seed(0)
        layout = torch.contiguous_format if device == CPU else torch.channels_last
        model = build_model(config).double().eval()
        for zeros in (p for p in model.parameters() if not p.any()):  # a ViT's head
            torch.nn.init.normal_(zeros, std=0.02)
        model.to(device, memory_format=layout)
        outputs = model(images.to(device).contiguous(memory_format=layout))
        cross_entropy(outputs, labels.to(device) % outputs.shape[1]).backward()
        gradient = torch.cat([p.grad.flatten().cpu() for p in model.parameters()])
        found.append((outputs.detach(), gradient))
    (ours, our_gradient), (theirs, their_gradient) = found
    assert relative_distance(ours, theirs) < 1e-10
    assert relative_distance(our_gradient, their_gradient) < 1e-9


def augmented(settings, device):
    """An epoch's AutoAugment and a batch of it: uint8 images, float images, targets."""
    chosen = build_augmentation(compose_run([*SETTINGS, *settings]))
    images = torch.randint(
        256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(2), dtype=torch.uint8
    )
    images, labels = images.to(device), (torch.arange(64) % 10).to(device)
    generator = torch.Generator(device)
    normalise = Normalise((0.5,) * 3, (0.25,) * 3, device)
    with DrawnOnTheCpu():
        whole = chosen.whole_epoch(images, generator)
    with DrawnOnTheCpu():  # from the images as they were: a grey level is no difference of these
        batch, targets = chosen.batch(images, labels, normalise, 10, generator)
    return whole, batch, targets


@pytest.mark.parametrize(
    "settings",
    [[f"augmentation={name}"] for name in AUGMENTATIONS]
    + [["augmentation=cutmix", *mixture] for mixture in MIXTURES],
    ids=" ".join,
)
def test_augmentation_is_the_cpus(settings):
    (whole, batch, targets), theirs = augmented(settings, CUDA), augmented(settings, CPU)
    levels = (whole.cpu().int() - theirs[0].int()).abs()
    # An interpolated pixel may be rounded the other way, or be a neighbour at a sheared edge.
    assert (levels > 1).float().mean() < 1e-3
    differing = (batch.cpu() - theirs[1]).abs() > 1e-4
    assert differing.float().mean() < 1e-3
    assert torch.allclose(targets.cpu(), theirs[2])


@pytest.mark.parametrize("optimizer", ["sgd", "gnp"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    optimizer, tiny, tmp_path, run_stopped_in
):
    settings = [f"optimizer={optimizer}", "augmentation=autoaugment_cutmix", "model.dropout=0.5"]
    settings += ["runtime.device=cuda", "runtime.deterministic=true"]
    whole = tiny(*settings, f"root={tmp_path / 'whole'}")
    cut = tiny(*settings, f"root={tmp_path / 'cut'}")
    run(whole)
    run_stopped_in(cut, 2)
    run(cut)
    assert_same_run(whole, cut)
    (start,) = json.loads((folder_of(whole) / "environment.json").read_text())
    assert start["device"] == torch.cuda.get_device_name()


@pytest.mark.parametrize("optimizer", ["sgd", "gnp"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_close_to_single(optimizer, precision, tiny, tmp_path):
    settings = [f"optimizer={optimizer}", "training.epochs=2", "runtime.device=cuda"]
    half = tiny(*settings, f"training.precision={precision}", f"root={tmp_path / 'half'}")
    full = tiny(*settings, f"root={tmp_path / 'full'}")
    run(half)
    run(full)
    losses = [lines_of(config)[-1]["train_loss"] for config in (half, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert bool(final_state(half)["scaler"]) == (precision == "fp16")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_it_trains_as_plain(precision, tiny, tmp_path):
    settings = ["optimizer=gnp", "training.epochs=1", "runtime.device=cuda"]
    settings += [f"training.precision={precision}"]
    plain = tiny(*settings, f"root={tmp_path / 'plain'}")
    compiled = tiny(*settings, "runtime.compile=inductor", f"root={tmp_path / 'compiled'}")
    run(plain)
    run(compiled)
    losses = [lines_of(config)[0]["train_loss"] for config in (compiled, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3 if precision == "fp32" else 0.02)


@pytest.mark.slow
def test_runs_of_a_table_share_one_gpu(tmp_path):
    table = printed_in_80_columns(
        "reproduce_table.py", "table=quickstart", "table.seeds=[0]", f"root={tmp_path}",
        "overrides=['training.epochs=1']", "jobs=2", "device=cuda",
    )  # fmt: skip
    assert "failed" not in table
    starts = [json.loads(f.read_text()) for f in tmp_path.glob("runs/**/environment.json")]
    assert {start["device"] for (start,) in starts} == {torch.cuda.get_device_name()}
