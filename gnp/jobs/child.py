"""A training script as a process that finds torch imported: a server that has done so forks it.

The server is the standard library's (``multiprocessing``'s "forkserver"), one for all children of
this process. A child is a process of its own all the same: a signal or the lack of memory costs it
alone, and its environment and its GPU are its own.
"""

import atexit
import ctypes
import os
import runpy
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, parent_process, reduction
from pathlib import Path
from types import ModuleType

PRELOAD_VARIABLE = "GNP_PRELOAD"  # names of the modules that the server imports

STARTS, BETWEEN_STARTS = 50, 0.1  # tries, and seconds between them, while a server dies
SERVER_GONE = 255  # ``multiprocessing``'s status of a child whose server has ended


def start_server(modules: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start the server, if there is none. Returns at once: the children wait for it.

    Args:
        modules: what it imports, if that can be imported.
        environment: variables that have to be there when it starts, for what reads them when it is
            loaded (OpenMP).
    """
    added = {**environment, PRELOAD_VARIABLE: " ".join(modules)}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        forkserver.set_forkserver_preload(["gnp.jobs.server"])
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Child:
    """A script at work, as ``python script argument …`` would be.

    Args:
        script: its file.
        arguments: its command line.
        environment: all of its variables.
        output: a descriptor of the file that gets what it prints.
        kept: a descriptor that the child has, too, while it lives.
        variable: the variable of its environment that gets the number of its copy of ``kept``.
    """

    def __init__(
        self,
        script: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: int,
        kept: int,
        variable: str,
    ):
        context = get_context("forkserver")
        for left in reversed(range(STARTS)):
            self._process = context.Process(
                target=_become,
                args=(str(script), list(arguments), dict(environment), variable),
                kwargs={"output": _Descriptor(output), "kept": _Descriptor(kept)},
                daemon=True,  # it ends when this process ends without having waited for it
            )
            try:
                with _main_is_left_alone():
                    self._process.start()
                break
            except (EOFError, ConnectionError):
                # A server that was killed can be asked until the system has taken it apart; then
                # Python starts another one. A child that it had forked has ended with it.
                if not left:
                    raise
                time.sleep(BETWEEN_STARTS)

    @property
    def ended(self) -> int:
        """A descriptor that becomes readable when the child has ended."""
        return self._process.sentinel

    def poll(self) -> int | None:
        """Its exit status, −N if signal N ended it; None while it works."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int | None:
        """``poll`` when it has ended, or after so many seconds."""
        self._process.join(seconds)
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self._process.pid, number)


class _Descriptor:
    """An open file that is handed to the child with the process's other arguments."""

    def __init__(self, number: int):
        self._number = number

    def __getstate__(self) -> object:
        return reduction.DupFd(self._number)

    def __setstate__(self, handed: object) -> None:
        self._number = handed.detach()

    def detach(self) -> int:
        return self._number


@contextmanager
def _main_is_left_alone() -> Iterator[None]:
    """Within it ``multiprocessing`` does not know this process's script, which it would run in the
    child once more, for functions defined there; ours are not."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _become(
    script: str,
    arguments: list[str],
    environment: dict[str, str],
    variable: str,
    *,
    output: _Descriptor,
    kept: _Descriptor,
) -> None:
    """In the child: be ``python script argument …``."""
    end_with_parent()
    if (pool := parent_process()) is None or not pool.is_alive():  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)
    atexit._clear()  # what is to be done at the server's end
    os.setsid()  # Ctrl-C on the terminal is for the pool, which then stops its children
    printed = output.detach()
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.close(printed)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # what a killed child printed is there
    os.environ.clear()
    os.environ.update(environment, **{variable: str(kept.detach())})
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    runpy.run_path(script, run_name="__main__")


def end_with_parent() -> None:
    """End this process when its parent ends, however that ends (Linux; elsewhere not).

    Without this, ``kill -9`` of a table would leave its children training unwatched.
    """
    if sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1  # <linux/prctl.h>
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
