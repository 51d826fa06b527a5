"""The settings of training: how long, on how many images at a time, to which loss."""

from typing import Literal

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from gnp.settings.section import Section, setting

PROBED_BATCHES = 8  # of an epoch, where ``training.probe_every`` measures


def is_evaluated(epoch: int, epochs: int, every: int) -> bool:
    """Whether an evaluation follows this epoch (from 1) of so many, every so many epochs."""
    return epoch == epochs or (every > 0 and epoch % every == 0)


def is_due(epoch: int, epochs: int, every: int) -> bool:
    """Whether what is done every so many epochs, and after the last, is to be done after this
    one (0: before the first); never with ``every`` = 0."""
    return every > 0 and is_evaluated(epoch, epochs, every)


def snapshot_epochs(epochs: int, every: int) -> list[int]:
    """Whose weights a run keeps: 0, each so many-th, and the last; none with ``every`` = 0."""
    return [e for e in range(epochs + 1) if is_due(e, epochs, every)]


def batches_of(images: int, batch_size: int, drop_last: bool) -> int:
    """Batches in a pass over so many images."""
    whole, rest = divmod(images, batch_size)
    return whole if drop_last or not rest else whole + 1


class TrainingSettings(Section):
    epochs: int = setting(200, "passes over the training images", ge=1)
    batch_size: int = setting(128, "images a step, of all processes together", ge=1)
    label_smoothing: float = setting(
        0.0, "share of a label that is spread evenly over all classes", ge=0, lt=1
    )
    max_grad_norm: float | None = setting(None, "clip the mixed gradient to this global norm", gt=0)
    sharpness_batch: int | None = setting(
        None,
        "images that climb together; null: the whole batch",
        expected="null or a divisor of batch_size",
    )
    train_metrics: Literal["first", "second"] = setting(
        "first", "the pass whose loss and error are logged; the second is at the climbed weights"
    )
    schedule_every: Literal["step", "epoch"] = setting(
        "step", "when the learning rate changes along the cosine"
    )
    lr_warmup_epochs: int = setting(
        0,
        "epochs in which the learning rate grows from 0, step by step, before its cosine",
        expected="from 0 to below training.epochs",
        ge=0,
    )
    evaluate_every: int = setting(
        1,
        "epochs between two evaluations; the last epoch is always evaluated, and 0: it alone",
        ge=0,
    )
    probe_every: int = setting(
        0,
        "epochs between two measurements of both gradients: norms, cosine, ‖g2 − g1‖/r; 0: none",
        ge=0,
    )
    snapshot_every: int = setting(
        0,
        "epochs between two kept copies of the weights, the initial and the last ones too; 0: none",
        ge=0,
    )
    drop_last: bool = setting(True, "leave out an epoch's last, smaller batch")
    ema: float | None = setting(
        None,
        "evaluate a moving average of the weights, of about 1/(1 - ema) steps; null: the last ones",
        gt=0,
        lt=1,
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", "of the forward and backward pass; fp16 scales the loss"
    )

    @field_validator("sharpness_batch")
    @classmethod
    def _divides_the_batch(cls, value: int | None, info: ValidationInfo) -> int | None:
        batch_size = info.data.get("batch_size")
        wrong_itself = batch_size is None
        if value is None or wrong_itself or (value > 0 and batch_size % value == 0):
            return value
        raise PydanticCustomError(
            "custom",
            "expected null or a divisor of training.batch_size={batch_size}",
            {"batch_size": batch_size},
        )

    @field_validator("lr_warmup_epochs")
    @classmethod
    def _leaves_epochs_for_the_cosine(cls, value: int, info: ValidationInfo) -> int:
        epochs = info.data.get("epochs")
        if epochs is None or value < epochs:
            return value
        raise PydanticCustomError(
            "custom", "expected from 0 to below training.epochs={epochs}", {"epochs": epochs}
        )

    @field_validator("drop_last")
    @classmethod
    def _leaves_pieces_of_one_size(cls, value: bool, info: ValidationInfo) -> bool:
        if value or info.data.get("sharpness_batch") is None:
            return value
        raise PydanticCustomError(
            "custom", "expected true with training.sharpness_batch, whose pieces are of one size"
        )
