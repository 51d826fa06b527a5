"""A long measurement in pieces: each has a process of its own and a record on disk, so that one
that fails costs no other, and what is stopped goes on where it was."""

import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gnp.errors import UserError
from gnp.files import storing, write_json
from gnp.interruptions import raise_on_signals
from gnp.jobs.child import end_with_parent, start_server
from gnp.tracking.environment import code_hash
from gnp.tracking.lock import holder, lock_run

GRACE_SECONDS = 20  # from the wish that a piece end to its end by force
LEAST_SECONDS = 30  # what goes on another time is not begun for less


@dataclass(frozen=True)
class Piece:
    """A part of the work.

    Args:
        name: "benchmark/vgg16_bn/fp32": its record is records/<name>.json, what it prints is in
            logs/<name>.txt.
        work: what a process of its own calls, and that can be pickled. Returns the record's
            result, in JSON's terms.
        seconds: after so many it is given up, and has failed.
        goes_on: instead it is stopped, and goes on when ``work`` is called the next time.
        after: pieces that have to be recorded before.
    """

    name: str
    work: Callable[[], dict[str, Any]]
    seconds: float
    goes_on: bool = False
    after: tuple[str, ...] = ()


class Pieces:
    """The pieces of one folder.

    Args:
        imports: modules that each piece needs, imported once.
    """

    def __init__(self, folder: Path, pieces: Sequence[Piece], imports: Sequence[str]):
        self.folder, self.pieces = folder, pieces
        self._context = multiprocessing.get_context("forkserver")
        self._imports = imports

    def record(self, name: str) -> dict[str, Any] | None:
        """What is recorded of a piece: {"status": "done", "result": …} or {"status": "failed",
        "reason": …}, with its seconds and the code's hash."""
        file = record_file(self.folder, name)
        with storing(file, "read"):
            if not file.exists():
                return None
            return json.loads(file.read_text())

    def missing(self, only: Sequence[str] = ()) -> list[Piece]:
        """Those without a record, in their order.

        Args:
            only: names of pieces, or of folders of some; none: all.
        """
        for name in only:
            if not any(f"{piece.name}/".startswith(f"{name}/") for piece in self.pieces):
                raise UserError(f"there is no piece {name!r}; --list shows them")
        starts = tuple(f"{name}/" for name in only) or ("",)
        chosen = [piece for piece in self.pieces if f"{piece.name}/".startswith(starts)]
        return [piece for piece in chosen if self.record(piece.name) is None]

    def run(self, limit: float, only: Sequence[str] = ()) -> None:
        """Do what is missing, for at most ``limit`` seconds. A piece that is not to end within
        what is left of them is not begun.

        Raises:
            UserError: another process is at work on the folder, or a piece needs more time than
                there is.
        """
        deadline = time.monotonic() + limit
        missing = self.missing(only)
        longest = max((p.seconds for p in missing if not p.goes_on), default=0)
        if longest > limit:
            raise UserError(f"a piece may take {longest / 60:.1f} minutes: give a limit above that")
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        start_server(self._imports, {})
        lock = lock_run(self.folder)
        if lock is None:
            raise UserError(f"{self.folder}: {holder(self.folder)} is at work on it; wait for it")
        try:
            for piece in missing:
                left = deadline - time.monotonic()
                needed = LEAST_SECONDS if piece.goes_on else piece.seconds
                if any(self.record(name) is None for name in piece.after):
                    print(f"{piece.name} waits for {', '.join(piece.after)}", flush=True)
                elif left >= needed:
                    self._do(piece, min(left, piece.seconds))
        finally:
            lock.release()

    def _do(self, piece: Piece, seconds: float) -> None:
        started = time.monotonic()
        process = self._context.Process(target=_work, args=(piece, self.folder))
        process.start()
        stopped = False
        try:
            _await(process, seconds)
            stopped = process.is_alive()
        finally:
            _end(process)
        took = time.monotonic() - started
        record = self.record(piece.name)
        if record is None and not (stopped and piece.goes_on):
            reason = f"no end within {seconds:.0f} s" if stopped else _how(process.exitcode)
            record = write_record(self.folder, piece.name, took, reason=reason)
        said = "stopped, goes on next time" if record is None else outcome(record)
        print(f"{piece.name}: {said} ({took:.0f} s)", flush=True)


def outcome(record: dict[str, Any]) -> str:
    """A record in a few words."""
    return "done" if record["status"] == "done" else f"failed: {record['reason']}"


def record_file(folder: Path, name: str) -> Path:
    return folder / "records" / f"{name}.json"


def write_record(
    folder: Path,
    name: str,
    seconds: float,
    result: dict[str, Any] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    outcome = {"status": "done", "result": result} if reason is None else _failed(reason)
    record = {"piece": name, **outcome, "seconds": round(seconds, 1), "code": code_hash()}
    write_json(record_file(folder, name), record)
    return record


def _failed(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": reason}


def _how(exit_code: int | None) -> str:
    """How a process ended that has left no record."""
    if exit_code is not None and exit_code < 0:
        return f"ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit status {exit_code}"


def _work(piece: Piece, folder: Path) -> None:
    """In the process of its own."""
    os.setsid()  # what it starts can be ended with it
    end_with_parent()
    raise_on_signals()
    log = folder / "logs" / f"{piece.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab" if piece.goes_on else "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    started = time.monotonic()
    try:
        result, reason = piece.work(), None
    except Exception as error:
        traceback.print_exc()
        first = (str(error).strip().splitlines() or [""])[0]
        result, reason = None, f"{type(error).__name__}: {first[:300]}"
    write_record(folder, piece.name, time.monotonic() - started, result, reason)


def _await(process: BaseProcess, seconds: float) -> None:
    process.join(seconds)


def _end(process: BaseProcess) -> None:
    """End it, and all that it has started."""
    if process.is_alive():
        process.terminate()
        process.join(GRACE_SECONDS)
    if process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
