"""What is done inside a child: every write of a record is met, and limits are set."""

import contextlib
import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

from gnp import files


class Writes:
    """Meets every call with which a record is changed, in the process where it is made.

    A point is a call and its file, such as "inside write checkpoint.pt"; ``at`` is called with its
    name each time it is reached.
    """

    CALLS = ("replace", "fsync", "open", "mkdir", "unlink", "ftruncate")

    def __init__(self, root: Path, at: Callable[[str], None]):
        self._root, self._at = str(root), at
        for name in self.CALLS:
            setattr(os, name, self._met(name, getattr(os, name)))
        meet = self._meet

        class Halves(files._Raw):
            """Met when half of each piece is written."""

            def write(self, data):
                data = memoryview(data).cast("B")
                half = super().write(data[: len(data) // 2])
                meet("inside write", self.name)
                return half + super().write(data[half:])

        files._Raw = Halves
        files.open = lambda path, mode, buffering: Halves(path, mode)

    def _met(self, name, real):
        def call(*arguments, **keywords):
            path = arguments[1] if name == "replace" else arguments[0]
            if isinstance(path, int):
                with contextlib.suppress(OSError):
                    path = os.readlink(f"/proc/self/fd/{path}")
            self._meet(f"before {name}", path)
            result = real(*arguments, **keywords)
            self._meet(f"after {name}", path)
            return result

        return call

    def _meet(self, call: str, path: object) -> None:
        path = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        if path.startswith(self._root):
            name = re.sub(r"^\.(.*)-[0-9a-f]{8}\.tmp$", r"\1", Path(path).name)
            self._at(f"{call} {name}")


def at_occurrence(point: str, number: int, act: Callable[[], None]) -> Callable[[str], None]:
    """For ``Writes``: ``act`` at the number-th time that ``point`` is reached."""
    left = [number]

    def at(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] == 0:
                act()

    return at


def limit(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def memory_in_use() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
