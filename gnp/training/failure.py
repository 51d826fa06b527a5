"""A run that cannot go on, and what to try in its place."""

from pathlib import Path

from gnp.errors import UserError
from gnp.settings import Config


class TrainingFailed(UserError, RuntimeError):
    """The run cannot go on; the message says where it stopped and what to try."""

    exit_status = 1


def diverged(config: Config, folder: Path, epoch: int, error: Exception) -> TrainingFailed:
    """The loss became NaN or infinite: the settings that keep it finite, the likeliest first.

    Args:
        folder: the run's record.
        epoch: in which it happened.
        error: says where in the epoch.
    """
    advice = [f"a lower optimizer.lr (now {config.optimizer.lr:g})"]
    if config.optimizer.r:
        advice.append(f"a lower optimizer.r (now {config.optimizer.r:g})")
    if config.training.max_grad_norm is None:
        advice.append("training.max_grad_norm=5")
    if config.training.precision == "fp16":
        advice.append("training.precision=bf16")
    return TrainingFailed(
        f"{folder}, epoch {epoch}: {error}. Try {', or '.join(advice)}. Epochs "
        f"before it are kept; a changed setting needs a new method=… name or that folder "
        f"deleted. This command tries again from the last of them; a table, a study or a tuning "
        f"does not."
    )
