"""One run from config to record, in this process, on the CPU."""

import dataclasses
import json
import math
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import yaml
from conftest import augmentation
from torch import nn

from gnp.data import ImageData, Split, batches
from gnp.optim import GNP, PenaltySchedule
from gnp.settings import ConfigError, to_plain
from gnp.tracking import RunRecord
from gnp.tracking.diverged import read_diverged
from gnp.tracking.reading import read_finished
from gnp.training import run as run_module
from gnp.training.build import build_optimizer, build_schedules
from gnp.training.checkpoint import read_checkpoint
from gnp.training.device import prepare_device
from gnp.training.failure import TrainingFailed
from gnp.training.loop import (
    FiniteGuard,
    Meter,
    NonFiniteLoss,
    Schedules,
    are_finite,
    cosine,
    evaluate,
    train_epoch,
)
from gnp.training.run import folder_of, run
from gnp.training.seeds import stream_seed
from models import ShakeShakeNet
from models.vgg import VGG

CPU = torch.device("cpu")
SCHEDULE_FREE = [
    "optimizer=gnp",
    "~optimizer.base",
    "+optimizer.base={_target_: schedulefree.SGDScheduleFree}",
]


def final_state(config):
    return read_checkpoint(folder_of(config) / "checkpoint.pt")


def lines_of(config):
    """The metrics without what a clock says."""
    text = (folder_of(config) / "metrics.jsonl").read_text()
    return [
        {k: v for k, v in json.loads(line).items() if "seconds" not in k}
        for line in text.splitlines()
    ]


def assert_same_run(left, right):
    assert lines_of(left) == lines_of(right)
    a, b = final_state(left), final_state(right)
    for name, value in a["model"].items():
        assert torch.equal(value, b["model"][name]), name


def test_a_run_leaves_its_whole_record(tiny, tmp_path):
    config = tiny("optimizer=gnp", f"root={tmp_path}")
    summary = run(config, ("optimizer=gnp",))
    folder = tmp_path / "runs/quickstart/synthetic-basic/gnp/seed0"
    assert {f.name for f in folder.iterdir()} == {
        ".lock",
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "checkpoint.pt",
        "predictions.npz",
        "summary.json",
    }
    assert yaml.safe_load((folder / "config.yaml").read_text())["optimizer"]["alpha"] == 0.8
    (start,) = json.loads((folder / "environment.json").read_text())
    assert start["overrides"] == ["optimizer=gnp"]
    assert start["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    lines = lines_of(config)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert summary["final"]["test_error"] == lines[-1]["test_error"]
    assert summary["best"]["test_error"] == min(line["test_error"] for line in lines)
    assert summary == json.loads((folder / "summary.json").read_text())
    assert lines[0]["learning_rate"] == config.optimizer.lr


def test_a_finished_run_is_left_as_it_is(tiny, tmp_path, monkeypatch):
    config = tiny(f"root={tmp_path}")
    first = run(config)
    monkeypatch.setattr(run_module, "_Run", lambda *_: pytest.fail("trained again"))
    assert run(config) == first


def test_schedule_free_bases_are_evaluated_and_saved_at_their_average(tiny, tmp_path, monkeypatch):
    schedulefree = pytest.importorskip("schedulefree")
    config = tiny(*SCHEDULE_FREE, f"root={tmp_path}")
    optimizers, modes, evaluated = [], [], []

    class Seen(schedulefree.SGDScheduleFree):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            optimizers.append(self)

    def evaluate(model, *args, real=run_module.evaluate):
        modes.append(optimizers[0].param_groups[0]["train_mode"])
        evaluated.append([p.detach().clone() for p in model.parameters()])
        return real(model, *args)

    monkeypatch.setattr(schedulefree, "SGDScheduleFree", Seen)
    monkeypatch.setattr(run_module, "evaluate", evaluate)
    run(config)
    assert modes == [False] * 4  # after each epoch, and on the training set
    state = final_state(config)
    assert state["optimizer"]["param_groups"][0]["train_mode"] is False
    names = [name for name, value in state["model"].items() if value.is_floating_point()]
    saved = [state["model"][name] for name in names if "running" not in name]
    assert all(torch.equal(a, b) for a, b in zip(saved, evaluated[-1], strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "gnp", "schedule-free"])
def test_resuming_from_any_epoch_is_bit_identical(tiny, tmp_path, monkeypatch, optimizer):
    chosen = [f"optimizer={optimizer}"]
    if optimizer == "schedule-free":
        pytest.importorskip("schedulefree")
        chosen = SCHEDULE_FREE
    settings = [*chosen, "augmentation=cutout", "model.dropout=0.5"]
    whole = tiny(*settings, f"root={tmp_path / 'whole'}")
    run(whole)
    for stop in (1, 2):
        cut = tiny(*settings, f"root={tmp_path / f'cut{stop}'}")
        with monkeypatch.context() as patched:
            real = run_module._Run._save

            def save(self, lines, real=real, stop=stop):
                real(self, lines)
                if len(lines) == stop:
                    raise KeyboardInterrupt

            patched.setattr(run_module._Run, "_save", save)
            with pytest.raises(KeyboardInterrupt):
                run(cut)
        run(cut)
        assert_same_run(whole, cut)
        assert len(json.loads((folder_of(cut) / "environment.json").read_text())) == 2


def test_a_metrics_line_without_its_checkpoint_is_made_again(tiny, tmp_path, monkeypatch):
    whole, cut = tiny(f"root={tmp_path / 'whole'}"), tiny(f"root={tmp_path / 'cut'}")
    run(whole)

    def killed_before_saving(self, lines):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_module._Run, "_save", killed_before_saving)
        with pytest.raises(KeyboardInterrupt):
            run(cut)
    with open(folder_of(cut) / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "train_l')  # torn by the kill
    run(cut)
    assert_same_run(whole, cut)


def test_one_seed_gives_all_methods_the_same_start_and_batches(tiny, tmp_path):
    settings = ["optimizer.lr=1e-30", "training.epochs=1", "augmentation=cutout"]
    settings += ["model.dropout=0.5", f"root={tmp_path}"]
    losses = {}
    for optimizer, seed in (("sgd", 0), ("sam", 0), ("gnp", 0), ("sgd", 1)):
        config = tiny(*settings, f"optimizer={optimizer}", f"seed={seed}")
        run(config)
        losses[optimizer, seed] = lines_of(config)[0]["train_loss"]
    assert losses["sgd", 0] == losses["sam", 0] == losses["gnp", 0]
    assert losses["sgd", 1] != losses["sgd", 0]


def test_streams_of_random_numbers_are_apart():
    seeds = {
        stream_seed(seed, stream, epoch)
        for seed in (0, 1)
        for stream in ("data", "network")
        for epoch in (0, 1)
    }
    assert len(seeds) == 8


def test_another_config_in_the_same_place_is_refused_with_the_difference(tiny, tmp_path):
    run(tiny("training.epochs=1", f"root={tmp_path}"))
    with pytest.raises(ValueError, match=r"training\.epochs: 1 recorded, 2 wanted"):
        run(tiny("training.epochs=2", f"root={tmp_path}"))
    # Where it runs is no difference.
    run(tiny("training.epochs=1", f"root={tmp_path}", "runtime.threads=2", "wandb.mode=disabled"))


def test_checkpoints_load_with_weights_only(tiny, tmp_path):
    config = tiny("training.epochs=1", f"root={tmp_path}")
    run(config)
    state = torch.load(folder_of(config) / "checkpoint.pt", weights_only=True)
    assert state["epoch"] == 1
    assert "momentum_buffer" in next(iter(state["optimizer"]["state"].values()))


@pytest.mark.parametrize("name", ["lr", "weight_decay", "params"])
def test_what_a_base_is_told_elsewhere_is_refused_in_it(tiny, name):
    config = tiny("optimizer=sgd", f"+optimizer.base.{name}=0.5")
    with pytest.raises(ConfigError, match=rf"optimizer\.base\.{name} has no effect; "):
        build_optimizer(config, nn.Linear(2, 2), CPU)


def test_a_diverging_run_stops_with_where_and_what_to_try(tiny, tmp_path):
    config = tiny("optimizer=gnp", "optimizer.lr=1e30", f"root={tmp_path}")
    with pytest.raises(TrainingFailed) as error:
        run(config)
    message = str(error.value)
    assert "epoch 1" in message
    assert "at step 2 of the epoch" in message
    assert "lower optimizer.lr (now 1e+30), or a lower optimizer.r" in message
    folder = folder_of(config)
    assert not (folder / "summary.json").exists()
    diverged = read_diverged(folder)
    assert (
        str(diverged) == "diverged in epoch 1: the loss was NaN or infinite at step 2 of the epoch"
    )
    assert (diverged.config["optimizer"]["lr"], diverged.metrics) == (1e30, [])
    with pytest.raises(TrainingFailed):  # its own command tries again
        run(config)
    assert len(json.loads((folder / "environment.json").read_text())) == 2
    assert read_diverged(folder) == diverged


def test_a_second_pass_that_is_counted_and_overflows_ends_the_run_in_words(tiny, tmp_path):
    """In fp16 the scaler skips the step, so that the first pass never shows it."""
    config = tiny(
        "optimizer=gnp",
        "optimizer.r=3000",
        "training.precision=fp16",
        "training.train_metrics=second",
        f"root={tmp_path}",
    )
    with pytest.raises(TrainingFailed, match="the loss of the second pass was NaN or infinite"):
        run(config)
    assert read_diverged(folder_of(config)).metrics == []


def test_a_network_that_draws_from_pythons_and_numpys_generators_is_reproducible(
    tiny, tmp_path, monkeypatch, run_stopped_in
):
    """Also by a run that is stopped and goes on."""
    forward = VGG.forward

    def drawing(self, images):
        return forward(self, images) * (0.5 + random.random() + np.random.random())

    monkeypatch.setattr(VGG, "forward", drawing)
    configs = [tiny("optimizer=gnp", f"root={tmp_path / name}") for name in ("a", "b", "c")]
    for number, config in enumerate(configs):
        random.seed(number)
        np.random.seed(number)
        if number == 2:
            run_stopped_in(config, 2)
        run(config)
    assert_same_run(configs[0], configs[1])
    assert_same_run(configs[0], configs[2])


def test_a_mask_of_the_network_may_be_infinite():
    network = torch.nn.BatchNorm1d(2)
    network.register_buffer("mask", torch.full((2,), -math.inf))
    assert are_finite(network)
    network.running_var[0] = math.nan
    assert not are_finite(network)


def test_a_run_that_diverged_and_does_not_again_is_finished(tiny, tmp_path, run_stopped_in):
    """As a GPU's rounding may have it."""
    config = tiny("optimizer=sgd", f"root={tmp_path}")
    run_stopped_in(config, 3)
    folder = folder_of(config)
    with RunRecord(folder, to_plain(config)) as record:
        record.diverge(3, "the loss was NaN")
    assert [line["epoch"] for line in read_diverged(folder).metrics] == [1, 2]
    run(config)
    assert read_finished(folder) is not None
    assert read_diverged(folder) is None


def test_weights_that_the_last_step_broke_become_no_record(tiny, tmp_path):
    """One step an epoch: its loss, seen before the update, is still finite."""
    settings = ["optimizer=sgd", "optimizer.lr=1e30", "training.batch_size=80"]
    config = tiny(*settings, "training.epochs=1", f"root={tmp_path}")
    with pytest.raises(TrainingFailed, match="epoch 1: the loss after it is NaN"):
        run(config)
    assert not (folder_of(config) / "summary.json").exists()
    assert not (folder_of(config) / "checkpoint.pt").exists()


def test_leftovers_of_a_kill_are_removed(tiny, tmp_path):
    config = tiny("training.epochs=1", f"root={tmp_path}")
    folder_of(config).mkdir(parents=True)
    (folder_of(config) / ".checkpoint.pt-abc.tmp").write_bytes(b"half")
    run(config)
    assert not list(folder_of(config).glob("*.tmp"))


def test_the_finite_guard_names_the_first_bad_step():
    guard = FiniteGuard(CPU)
    for step, loss in enumerate([1.0, 2.0], start=1):
        guard.see(torch.tensor(loss), step)
    guard.check()
    for step, loss in enumerate([math.inf, 1.0, math.nan], start=3):
        guard.see(torch.tensor(loss), step)
    with pytest.raises(NonFiniteLoss, match="step 3"):
        guard.check()


@pytest.mark.parametrize("optimizer", ["sgd", "gnp"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_close_to_single(tiny, tmp_path, optimizer, precision):
    settings = [f"optimizer={optimizer}", "training.epochs=2", "model.dropout=0"]
    half = tiny(*settings, f"training.precision={precision}", f"root={tmp_path / 'half'}")
    full = tiny(*settings, f"root={tmp_path / 'full'}")
    run(half)
    run(full)
    assert lines_of(half)[-1]["train_loss"] != lines_of(full)[-1]["train_loss"]
    assert lines_of(half)[-1]["train_loss"] == pytest.approx(
        lines_of(full)[-1]["train_loss"], rel=0.05
    )
    assert bool(final_state(half)["scaler"]) == (precision == "fp16")


def test_compiled_and_channels_last_train_as_plain(tiny, tmp_path):
    settings = ["optimizer=gnp", "training.epochs=1"]
    plain = tiny(*settings, "runtime.channels_last=false", f"root={tmp_path / 'plain'}")
    other = tiny(*settings, "runtime.compile=aot_eager", f"root={tmp_path / 'other'}")
    run(plain)
    run(other)
    assert lines_of(other)[0]["train_loss"] == pytest.approx(
        lines_of(plain)[0]["train_loss"], rel=1e-4
    )
    # Statistics are frozen in the second pass of the compiled network too.
    tracked = [k for k in final_state(other)["model"] if k.endswith("num_batches_tracked")]
    assert [final_state(other)["model"][k].item() for k in tracked] == [5] * 5


def test_validation_is_evaluated_in_place_of_the_test_set(tiny, tmp_path):
    config = tiny("dataset.validation_per_class=2", "training.epochs=1", f"root={tmp_path}")
    summary = run(config)
    assert summary["evaluated"] == "validation"
    assert summary["evaluation_images"] == 20
    assert not any("test" in key for key in lines_of(config)[0])


def test_a_batch_larger_than_the_training_set_is_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match="batch_size=81 is larger than the training set of 80"):
        run(tiny("training.batch_size=81", f"root={tmp_path}"))


@pytest.mark.parametrize(
    ("device", "words"), [("gpu", "expected auto, cpu, cuda"), ("cuda", "sees no CUDA device")]
)
def test_a_device_that_is_not_there_is_refused(tiny, device, words):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigError, match=words):
        prepare_device(tiny(f"runtime.device={device}").runtime)


def test_clipping_and_decay_reach_the_optimizer(tiny):
    config = tiny("training.max_grad_norm=0.5", "optimizer.weight_decay=0.25")
    optimizer = build_optimizer(config, nn.Linear(2, 2), CPU)
    assert optimizer.max_grad_norm == 0.5
    assert optimizer.base.param_groups[0]["weight_decay"] == 0.25
    assert optimizer.base.param_groups[0]["nesterov"]


def test_official_fidelity_trains_shake_networks_with_ordinary_shake_by_the_base(tiny):
    config = tiny("fidelity=official", "optimizer=sgd")
    assert config.optimizer.true_gradient
    model = ShakeShakeNet(depth=8, width=4, stem_width=4)
    optimizer = build_optimizer(config, model, CPU)
    modes = []

    def closure():
        optimizer.zero_grad()
        modes.append([m.true_gradient for m in model.modules() if hasattr(m, "true_gradient")])
        loss = model(torch.randn(2, 3, 32, 32)).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert modes == [[False] * 3]


def test_the_learning_rate_is_the_official_per_step_cosine():
    lr, total = 0.1, 30
    factor = cosine(total)
    for t in range(total + 1):
        assert lr * factor(t) == pytest.approx(lr / 2 * (1 + math.cos(math.pi * t / total)))


def test_the_learning_rate_grows_linearly_from_0_before_a_cosine_over_the_rest():
    """As optax.warmup_cosine_decay_schedule(0, lr, warm-up steps, total steps)."""
    total, warmup = 30, 12
    factor = cosine(total, warmup_steps=warmup)
    for t in range(warmup):
        assert factor(t) == pytest.approx(t / warmup)
    for t in range(warmup, total + 1):
        over = (t - warmup) / (total - warmup)
        assert factor(t) == pytest.approx((1 + math.cos(math.pi * over)) / 2)
    assert (factor(0), factor(warmup), factor(total)) == (0, 1, 0)


def test_a_warm_up_changes_each_step_also_where_the_cosine_changes_each_epoch():
    factor = cosine(20, every=5, warmup_steps=10)
    by_step = cosine(20, warmup_steps=10)
    assert [factor(t) for t in range(11)] == [by_step(t) for t in range(11)]
    assert [factor(t) for t in range(10, 20)] == [1] * 5 + [by_step(15)] * 5


def test_the_learning_rate_s_warm_up_lasts_its_epochs(tiny):
    config = tiny("training.lr_warmup_epochs=2", "training.epochs=4", "optimizer.lr=0.5")
    optimizer = build_optimizer(config, nn.Linear(2, 2), CPU)
    scheduler = build_schedules(config, optimizer, steps=3).learning_rate
    cosine_part = [0.5 * (1 + math.cos(math.pi * t / 6)) for t in range(6)]
    factors = [scheduler.lr_lambdas[0](t) for t in range(12)]
    assert factors == pytest.approx([t / 6 for t in range(6)] + cosine_part)
    assert optimizer.param_groups[0]["lr"] == 0
    assert scheduler.base_lrs == [0.5]


# ---------------------------------------------------------------------- the loop by itself


def loop_data():
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(256, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(40) % 5)
    return ImageData(split, split, "test", 5, (0.5,) * 3, (0.25,) * 3)


def constant(optimizer):
    """Schedules that change nothing."""
    return Schedules(
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0), PenaltySchedule(optimizer)
    )


@pytest.mark.parametrize("sharpness_batch", [None, 4])
def test_training_metrics_are_of_the_first_pass_or_of_the_second_if_asked(sharpness_batch):
    data, model = loop_data(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.0), r=50.0, alpha=1.0)
    plain = evaluate(model, data, CPU, nullcontext)  # the weights will not move

    def epoch(metrics_of):
        generator = torch.Generator().manual_seed(0)
        epoch_batches = batches(data, 8, augmentation(), generator)
        return train_epoch(
            model,
            optimizer,
            constant(optimizer),
            epoch_batches,
            CPU,
            nullcontext,
            metrics_of=metrics_of,
            sharpness_batch=sharpness_batch,
        )

    train = epoch("first")
    assert train.loss == pytest.approx(plain.loss, rel=1e-5)
    assert train.error == plain.error
    assert epoch("second").loss > 10 * plain.loss  # uphill by a length of 50


def test_a_batch_in_pieces_is_one_step_on_the_mean_of_the_pieces():
    """Each climbs along its own gradient: not the whole batch's step, which has one direction."""
    data = loop_data()

    def trained(sharpness_batch):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).double()
        optimizer = GNP(torch.optim.SGD(model.parameters(), lr=1.0), r=0.5, alpha=0.8)
        images, labels = data.train.images[:8].double() / 255, data.train.labels[:8]
        train_epoch(
            model,
            optimizer,
            constant(optimizer),
            [(images, labels)],
            CPU,
            nullcontext,
            sharpness_batch=sharpness_batch,
        )
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    def by_hand(size):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).double()
        images, labels = data.train.images[:8].double() / 255, data.train.labels[:8]
        params = list(model.parameters())
        total = torch.zeros(sum(p.numel() for p in params), dtype=torch.float64)

        def gradient(at, x, y):
            torch.nn.utils.vector_to_parameters(at, params)
            loss = nn.functional.cross_entropy(model(x).float(), y)
            return torch.cat([g.flatten() for g in torch.autograd.grad(loss, params)])

        start = torch.nn.utils.parameters_to_vector(params).detach().clone()
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            g1 = gradient(start, x, y)
            g2 = gradient(start + 0.5 * g1 / g1.norm(), x, y)
            total += (0.2 * g1 + 0.8 * g2) * len(x) / len(images)
        return start - total

    for size in (8, 4, 2):
        torch.testing.assert_close(trained(size), by_hand(size), rtol=1e-6, atol=1e-7)
    assert torch.equal(trained(None), trained(8))
    assert not torch.allclose(trained(4), trained(8), rtol=1e-3, atol=1e-5)


def test_mixtures_of_labels_are_trained_on_and_counted_by_the_heaviest():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.0), r=0.0)
    images = torch.randn(2, 3, 2, 2)
    logits = model(images).detach()
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6]])
    batch = [(images, targets)]
    train = train_epoch(model, optimizer, constant(optimizer), batch, CPU, nullcontext)
    expected = -(targets * logits.log_softmax(1)).sum(1).mean()
    assert train.loss == pytest.approx(expected.item(), rel=1e-5)
    wrong = (logits.argmax(1) != torch.tensor([0, 2])).float().mean()
    assert train.error == pytest.approx(100 * wrong.item())


def test_the_learning_rate_changes_a_step_or_an_epoch_at_a_time():
    by_step, by_epoch = cosine(12), cosine(12, every=4)
    assert [by_epoch(t) for t in range(12)] == [by_step(t - t % 4) for t in range(12)]
    assert len({by_step(t) for t in range(12)}) == 12
    assert by_step(12) == by_epoch(12) == 0


def test_evaluation_covers_every_image_whatever_the_batch_size():
    data, model = loop_data(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    whole = evaluate(model, data, CPU, nullcontext, batch_size=40)
    parts = evaluate(model, data, CPU, nullcontext, batch_size=7)
    assert parts.error == whole.error
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)


def test_label_smoothing_reaches_the_loss():
    data, model = loop_data(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    losses = []
    for smoothing in (0.0, 0.2):
        optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.0), r=0.0)
        epoch = batches(data, 8, augmentation(), torch.Generator().manual_seed(0))
        train = train_epoch(
            model,
            optimizer,
            constant(optimizer),
            epoch,
            CPU,
            nullcontext,
            label_smoothing=smoothing,
        )
        losses.append(train.loss)
    logits = model((data.train.images.float() / 255 - 0.5) / 0.25)
    expected = nn.functional.cross_entropy(logits, data.train.labels, label_smoothing=0.2)
    assert losses[1] == pytest.approx(expected.item(), rel=1e-4)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_the_meter_weights_by_images():
    meter = Meter(CPU)
    meter.add(torch.tensor(1.0), torch.tensor([[1.0, 0.0]] * 3), torch.tensor([0, 0, 1]))
    meter.add(torch.tensor(5.0), torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert dataclasses.astuple(meter.read()) == (2.0, 25.0)


@pytest.mark.cuda
def test_on_cuda_an_epoch_waits_for_the_device_only_to_check_the_loss(monkeypatch):
    device = torch.device("cuda")
    split = loop_data().train.to(device)
    data = ImageData(split, split, "test", 5, (0.5,) * 3, (0.25,) * 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).to(device)
    optimizer = GNP(torch.optim.SGD(model.parameters(), lr=0.1), r=0.1, model=model)
    schedules = constant(optimizer)
    generator = torch.Generator(device).manual_seed(0)
    monkeypatch.setattr(FiniteGuard, "check", lambda self: None)
    monkeypatch.setattr(Meter, "read", lambda self: None)
    chosen = augmentation(flip=True, crop_padding=2, cutout=4)
    epoch = batches(data, 8, chosen, generator)
    batch = next(epoch)  # puts the constants on the device
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_epoch(model, optimizer, schedules, [batch, *epoch], device, nullcontext)
    finally:
        torch.cuda.set_sync_debug_mode("default")
