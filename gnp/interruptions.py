"""Ctrl-C, SIGTERM and SIGHUP, taken where work can be left: between two steps, not within one.

A signal's exception that is raised inside a library's C++ may end the process: torch's writer of
checkpoints turns it into another error, or aborts.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# SIGTERM is a scheduler's warning, SIGHUP a terminal that was closed; Windows has no SIGHUP.
SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def raise_on_signals() -> None:
    """Let each of the signals raise KeyboardInterrupt from now on, unless it is ignored (nohup)."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _raise)


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Within it a signal waits for the next call of the function that is yielded, or for the end.
    Either then raises KeyboardInterrupt; so does, at once, a second signal.

    In a thread other than the main one, which gets no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    waiting = False

    def hold(*_: object) -> None:
        nonlocal waiting
        if waiting:
            raise KeyboardInterrupt
        waiting = True

    def let_through() -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in SIGNALS}
    held = [n for n in SIGNALS if before[n] not in (signal.SIG_IGN, signal.SIG_DFL, None)]
    for number in held:
        signal.signal(number, hold)
    try:
        yield let_through
        let_through()
    finally:
        for number in held:
            signal.signal(number, before[number])


def _raise(*_: object) -> None:
    raise KeyboardInterrupt
