"""Scripts in processes that are forked from one that has torch imported: no start waits for it."""

import atexit
import contextlib
import io
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PATIENCE_SECONDS = 120


class Child:
    """A script in a process that is forked from this one, which has torch imported already.

    Args:
        script: its name.
        before: called in the child before the script.
        output: a descriptor that gets what it prints; by default a pipe, read by ``wait``.
        variables: its environment.
    """

    def __init__(
        self,
        script: str,
        settings: Sequence[str],
        before: Callable[[], None] = lambda: None,
        output: int | None = None,
        variables: dict[str, str] | None = None,
    ):
        self._read, write = (None, output) if output is not None else os.pipe()
        self._printed, self.returncode = b"", None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(script, settings, before, write, variables)
        if self._read is not None:
            os.close(write)
            os.set_blocking(self._read, False)

    def poll(self) -> int | None:
        if self.returncode is None:
            self._drain()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                self._drain()
        return self.returncode

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("", seconds)
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    @property
    def printed(self) -> str:
        return self._printed.decode(errors="replace")

    def _drain(self) -> None:
        if self._read is None:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read, 65536):
                self._printed += data


def _become(script, settings, before, output, variables) -> None:
    """Run the script as ``python scripts/<script>`` would, and end."""
    status = 1
    try:
        atexit._clear()  # what is to be done at the parent's end
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(output, 1)
        os.dup2(output, 2)
        # Unbuffered: what a killed child printed is there.
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(n, "w", closefd=False), "utf-8", write_through=True)
            for n in (1, 2)
        )
        if variables is not None:
            os.environ.clear()
            os.environ.update(variables)
        sys.argv = [str(SCRIPTS / script), *settings]
        GlobalHydra.instance().clear()  # a table's
        before()
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
