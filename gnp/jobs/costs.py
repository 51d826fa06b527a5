"""Asks a process that has torch what runs cost; this one needs none."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gnp.errors import UserError
from gnp.jobs.slots import Slot

SECONDS = 20  # that all measurements together should take
COMMAND = (sys.executable, "-m", "gnp.training.cost")


class CostsUnknown(UserError):
    """A network cannot be made, or images cannot be counted: training would be refused, too."""


def ask_costs(
    configs: Sequence[Mapping[str, Any]],
    measured: Sequence[bool],
    images: Sequence[Sequence[int] | None],
    slot: Slot,
    lanes: int,
    say: Callable[[str], None],
    command: Sequence[str] = COMMAND,
) -> list[dict[str, Any]]:
    """What ``gnp.training.cost`` answers, an entry for each config.

    Args:
        configs: resolved ones, as plain containers.
        measured: whether the speed of each is asked for.
        images: how many each trains on and evaluates, where that is known.
        slot: where runs will be trained: measured there, with its threads.
        lanes: how many will be trained at a time.
        say: told what takes a while.

    Raises:
        CostsUnknown: says why.
    """
    own = dict(setting.removeprefix("runtime.").split("=") for setting in slot.settings)
    runtime = configs[0]["runtime"]  # what the user set wins, as in training
    threads = runtime["threads"] or own.get("threads")
    device = own["device"] if runtime["device"] == "auto" else runtime["device"]
    request = {
        "configs": list(configs),
        "measured": list(measured),
        "images": list(images),
        "device": device,
        "threads": threads and int(threads),
        "beside": lanes - 1,
        "seconds": SECONDS,
    }
    with tempfile.TemporaryFile("w+") as complaints, tempfile.TemporaryFile("w+") as question:
        json.dump(request, question)
        question.seek(0)
        child = subprocess.Popen(
            list(command),
            env={**os.environ, **slot.environment},
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        try:
            answer = _last_answer(child, say)
        finally:
            child.kill()
            child.wait()
        complaints.seek(0)
        said = complaints.read().strip()
    if "costs" in answer:
        for line in said.splitlines():
            say(line)
        return answer["costs"]
    reason = answer.get("error") or (said or "it printed nothing").splitlines()[-1]
    raise CostsUnknown(f"what the runs cost cannot be counted: {reason}")


def _last_answer(child: subprocess.Popen, say: Callable[[str], None]) -> dict[str, Any]:
    assert child.stdout is not None
    for line in child.stdout:
        try:
            answer = json.loads(line)
        except ValueError:  # a library has printed something
            continue
        if not isinstance(answer, dict):
            continue
        if "costs" in answer or "error" in answer:
            return answer
        say(str(answer.get("doing", "")))
    return {}
