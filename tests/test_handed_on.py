"""What the settings say reaches the part that it is for, where no number of a run would tell."""

import pytest
import torch
from torch import nn

from gnp.data import ImageData, Split
from gnp.training import run as run_module
from gnp.training.build import build_autocast, build_optimizer
from gnp.training.distributed import Processes
from gnp.training.loop import Average
from gnp.training.run import _Run, folder_of, run
from gnp.training.summary import summarise

CPU = torch.device("cpu")


def summary_of(config, lines, model=None):
    split = Split(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.arange(4))
    data = ImageData(split, split, "test", 10, (0.5,) * 3, (0.25,) * 3)
    return summarise(config, data, model or nn.Linear(2, 2), lines, Average(0.1, 5.0))


def line(epoch, train_error, test_error):
    return {
        "epoch": epoch,
        "train_error": train_error,
        "test_error": test_error,
        "test_loss": test_error / 10,
        "seconds": 1.0,
    }


def test_the_best_epoch_is_that_of_the_lowest_evaluated_error(tiny):
    lines = [line(1, 9.0, 8.0), line(2, 5.0, 6.0), line(3, 7.0, 4.0), line(4, 3.0, 6.0)]
    summary = summary_of(tiny(), lines)
    assert summary["best"] == {"epoch": 3, "test_error": 4.0}
    assert summary["final"] == {
        "test_error": 6.0,
        "test_loss": 0.6,
        "fit_error": 5.0,
        "fit_loss": 0.1,
    }


def test_parameters_that_are_not_trained_are_not_counted(tiny):
    model = nn.Linear(3, 5)
    model.bias.requires_grad_(False)
    assert summary_of(tiny(), [line(1, 1.0, 1.0)], model)["parameters"] == 15


def begun(config):
    """The parts of a run of one process, without its record."""
    return _Run(config, None, CPU, Processes())


@pytest.mark.parametrize(
    ("channels_last", "wanted"), [(True, torch.channels_last), (False, torch.contiguous_format)]
)
def test_images_and_weights_have_the_memory_format_of_the_settings(
    tiny, monkeypatch, channels_last, wanted
):
    formats = []

    def train_epoch(model, optimizer, schedules, epoch_batches, *_, **__):
        formats.extend(images.is_contiguous(memory_format=wanted) for images, _ in epoch_batches)

    monkeypatch.setattr(run_module, "train_epoch", train_epoch)
    training = begun(tiny(f"runtime.channels_last={channels_last}"))
    training._train(1, lambda step: None)
    kernels = [p for p in training.model.parameters() if p.ndim == 4]
    formats += [p.is_contiguous(memory_format=wanted) for p in kernels]
    assert len(formats) == 5 + len(kernels)
    assert all(formats)


def test_evaluation_takes_as_many_images_at_a_time_as_the_settings_say(tiny):
    training = begun(tiny("runtime.eval_batch_size=15"))
    sizes = []
    training.model.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    training._evaluate(training.data)
    assert sizes == [15, 15, 10]


@pytest.mark.parametrize(("pieces", "together"), [("null", True), ("8", False)])
def test_processes_climb_apart_where_there_are_pieces(tiny, pieces, together):
    config = tiny(f"training.sharpness_batch={pieces}")
    assert build_optimizer(config, nn.Linear(2, 2), CPU).sync_climb is together


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_precision_is_what_the_settings_say(precision, dtype):
    with build_autocast(precision, CPU)():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_the_scale_of_fp16_goes_on_from_the_checkpoint(tiny, tmp_path, monkeypatch):
    """It is adapted after each step: the count of its steps without an overflow grows."""
    config = tiny("training.precision=fp16", "training.epochs=2", f"root={tmp_path}")
    counts = []
    real = _Run._save

    def save_and_stop(self, lines):
        real(self, lines)
        counts.append(self.optimizer.grad_scaler.state_dict()["_growth_tracker"])
        raise KeyboardInterrupt

    monkeypatch.setattr(_Run, "_save", save_and_stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert counts == [5, 10]
    assert folder_of(config).is_dir()
