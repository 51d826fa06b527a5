"""Progress of one run: a bar on a terminal, a line an epoch otherwise."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gnp.screen import width_of, wrapped
from gnp.settings.run import shown_in

BAR = 12  # columns
BESIDE = BAR + len("epoch / 99.99 % 0:00:00") + 4  # that a line has beside the title


class RunProgress:
    """Shows where a run is.

    Args:
        title: what is running.
        epochs: total epochs.
        steps: steps in an epoch.
        done: epochs done before.
    """

    def __init__(self, title: str, epochs: int, steps: int, done: int):
        self._title, self._epochs, self._steps = title, epochs, steps
        self._base = done * steps
        self._console = Console(file=sys.stdout, soft_wrap=True, highlight=False)
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                TextColumn("epoch {task.fields[epoch]}"),
                TextColumn("{task.fields[error]}"),
                BarColumn(BAR),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            room = self._console.width - BESIDE - 2 * len(str(epochs))
            self._task = self._bar.add_task(
                shown_in(title, room),
                total=epochs * steps,
                completed=self._base,
                epoch=self._epoch_at(self._base),
                error="",
            )

    def __enter__(self) -> "RunProgress":
        if self._bar is not None:
            self._bar.start()
        else:
            self._print(f"{self._title}: {self._epochs} epochs of {self._steps} steps")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step_done(self, step: int) -> None:
        if self._bar is not None:
            at = self._base + step
            self._bar.update(self._task, completed=at, epoch=self._epoch_at(at - 1))

    def epoch_done(self, metrics: Mapping[str, Any]) -> None:
        self._base += self._steps
        self._print(epoch_line(metrics, self._epochs, width_of(self._console)))
        errors = [metrics[k] for k in ("test_error", "validation_error") if k in metrics]
        if self._bar is not None and errors:
            self._bar.update(self._task, error=f"{errors[0]:.2f} %")

    def finished(self, summary: Mapping[str, Any]) -> None:
        name = f"{summary['evaluated']}_error"
        self._print(
            f"{self._title}: finished, {summary['evaluated']} error "
            f"{summary['final'][name]:.2f} % after {summary['epochs']} epochs "
            f"({summary['seconds']:.0f} s)"
        )

    def _epoch_at(self, step: int) -> str:
        return f"{min(step // self._steps + 1, self._epochs)}/{self._epochs}"

    def _print(self, line: str) -> None:
        self._console.print(wrapped(line, width_of(self._console)), markup=False)
        self._console.file.flush()


def epoch_line(metrics: Mapping[str, Any], epochs: int, width: int | None = None) -> str:
    """What does not fit into ``width`` characters, from the last on, is left to the record."""
    splits = [s for s in ("train", "test", "validation") if f"{s}_error" in metrics]
    numbers = [
        f"{s} loss {metrics[f'{s}_loss']:.3f} error {metrics[f'{s}_error']:5.2f} %" for s in splits
    ]
    parts = [
        f"epoch {metrics['epoch']:>{len(str(epochs))}}/{epochs}",
        *numbers,
        f"lr {metrics['learning_rate']:.2e}",
        f"{metrics['seconds']:.1f} s",
    ]
    while width is not None and len(parts) > 2 and len("  ".join(parts)) > width:
        del parts[-1]
    return "  ".join(parts)
