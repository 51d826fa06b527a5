"""What a pool is doing: a live table on a terminal, lines otherwise."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gnp.jobs.job import Job
from gnp.jobs.pool import Active, Pool
from gnp.screen import width_of, wrapped
from gnp.settings.run import shown_in
from gnp.tracking.reading import DamagedRecord, read_config, read_metrics

HEARTBEAT_SECONDS = 30
REFRESH_SECONDS = 1.0
PATIENCE_SECONDS = 60
NARROW, BAR = 100, 24  # columns: up to there a line has no bar and no device


class PoolProgress:
    """``watch`` it from a pool; a context, because a live display has to be ended."""

    def __init__(self, console: Console, done_before: int, total: int):
        self._console, self._before, self._total = console, done_before, total
        self._started = time.monotonic()
        self._spoken, self._retried, self._last = 0, 0, 0.0
        self._idle, self._idle_since, self._complained = -1, self._started, False
        self._first: dict[Job, int] = {}  # epochs that a child's record had when it was first seen
        self._made_before = 0.0  # runs' worth of them
        self._live = (
            Live(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> "PoolProgress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, pool: Pool) -> None:
        for run, summary in pool.finished[self._spoken :]:
            self._spoken += 1
            error = summary["final"][f"{summary['evaluated']}_error"]
            done = self._before + self._spoken
            before = f"[{done:>{len(str(self._total))}}/{self._total}] "
            after = f": {summary['evaluated']} error {error:.2f} % ({summary['seconds']:.0f} s)"
            path = str(run.path)
            if (width := width_of(self._console)) is not None:
                path = shown_in(run.path, width - len(before + after))
            self._print(f"{before}{path}{after}")
        for failure in pool.retried[self._retried :]:
            self._retried += 1
            self._print(f"started again after it failed: {failure}")
        now = time.monotonic()
        for child in pool.active:
            self._epochs_before(child)
        self._name_what_is_waited_for(pool, now)
        interval = HEARTBEAT_SECONDS if self._live is None else REFRESH_SECONDS
        if now - self._last < interval or not (pool.active or pool.waiting):
            return
        self._last = now
        children = [(child, *epochs_of(child)) for child in pool.active]
        if self._live is not None:
            self._live.update(self._picture(pool, children), refresh=True)
        else:
            at = ", ".join(
                f"{c.run.path} epoch {done}/{total or '?'}" for c, done, total, _ in children
            )
            self._print(
                f"{self._line(pool, children)}: {at or 'waiting for runs of another process'}"
            )

    def _print(self, text: str) -> None:
        text = wrapped(text, width_of(self._console))
        self._console.print(text, markup=False, highlight=False)

    def _name_what_is_waited_for(self, pool: Pool, now: float) -> None:
        """Once, when for a minute nothing was at work here and nothing was finished elsewhere."""
        if pool.active or not pool.waiting or self._idle != len(pool.finished):
            self._idle = -1 if pool.active else len(pool.finished)
            self._idle_since, self._complained = now, False
        elif not self._complained and now - self._idle_since >= PATIENCE_SECONDS:
            self._complained = True
            since = time.strftime("%H:%M:%S", time.localtime(time.time() - now + self._idle_since))
            self._print(
                f"since {since} only waiting for what other processes hold; stop one that hangs:\n"
                + "\n".join(f"  {run}" for run in pool.waited_for())
            )

    def _line(self, pool: Pool, children: list) -> str:
        finished = self._before + len(pool.finished)
        line = f"{finished} of {self._total} runs finished, {len(pool.active)} at work"
        if pool.failed:
            line += f", {len(pool.failed)} failed"
        parts = sum(epoch / total for _, epoch, total, _ in children if total)
        done = len(pool.finished) + len(pool.failed) + parts
        # Epochs that were made before this start say nothing of how long one takes.
        worked = done - self._made_before
        if worked > 0.5 and pool.active:  # how long others take is not known
            left = (time.monotonic() - self._started) / worked * (pool.total - done)
            line += f", about {duration(left)} left"
        return line

    def _picture(self, pool: Pool, children: list) -> Group:
        """A line for each child, in the terminal's width: what is left of it is the name's."""
        rows = [
            (
                f"epoch {done}/{total or '?'}",
                "" if error is None else f"{error:.1f} %",
                self._left_of(child, done, total),
                *([child.slot.name] if self._console.width > NARROW else []),
            )
            for child, done, total, error in children
        ]
        taken = sum(max(map(len, column)) + 1 for column in zip(*rows, strict=True))
        bar = BAR if self._console.width > NARROW else 0
        room = self._console.width - taken - bar - bool(bar)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
        for (child, done, total, _), row in zip(children, rows, strict=True):
            bars = [ProgressBar(total=total or 1, completed=done, width=bar)] if bar else []
            table.add_row(Text(shown_in(child.run.path, room)), *bars, *map(Text, row))
        return Group(Text(self._line(pool, children)), table)

    def _left_of(self, child: Active, done: int, total: int | None) -> str:
        """How long a child will take, by the epochs that it has made; before, how long it has been
        at work."""
        first = self._epochs_before(child)
        passed = time.monotonic() - child.started
        if total is None or done <= first:
            return f"for {duration(passed)}"
        return f"{duration(passed / (done - first) * (total - done))} left"

    def _epochs_before(self, child: Active) -> int:
        """The epochs that a child's record had when it was first seen."""
        if child.run not in self._first:
            done, total, _ = epochs_of(child)
            self._first[child.run] = done
            self._made_before += done / total if total else 0.0
        return self._first[child.run]


def epochs_of(child: Active) -> tuple[int, int | None, float | None]:
    """(epochs done, epochs in all if known yet, last error in %) of a child, from its record."""
    try:
        config, metrics = read_config(child.log.parent), read_metrics(child.log.parent)
        total = config["training"]["epochs"] if config else None
    except (DamagedRecord, OSError):  # the child itself mends it or says what to do
        return 0, None, None
    names = ("test_error", "validation_error")
    error = next((line[k] for line in reversed(metrics) for k in names if k in line), None)
    return len(metrics), total, error


def duration(seconds: float) -> str:
    """ "45 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
