"""Random draws that are made again."""

import inspect
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch


class _Generator(NamedTuple):
    """How the state of a generator is read and written."""

    read: Callable[[], Any]
    write: Callable[[Any], None]


class RandomState:
    """The state of the default generators at one moment: torch's on the CPU and on ``devices``,
    Python's (``random``) and NumPy's (``numpy.random``).

    ``with state.replayed():`` draws the same numbers again that were drawn since then, and
    leaves the generators, when it ends, as they were when it began. Generators that a network
    keeps for itself (``torch.Generator``, ``random.Random``, ``numpy.random.default_rng``) are not
    known here, and draw anew.
    """

    def __init__(self, devices: Iterable[torch.device] = ()):
        self._generators = [*_of_the_cpu(), *_of_accelerators(devices)]
        self._states = self._read()

    def _read(self) -> list[Any]:
        return [generator.read() for generator in self._generators]

    def _write(self, states: list[Any]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.write(state)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        now = self._read()
        self._write(self._states)
        try:
            yield
        finally:
            self._write(now)


def _of_the_cpu() -> Iterator[_Generator]:
    yield _Generator(torch.get_rng_state, torch.set_rng_state)
    yield _Generator(random.getstate, random.setstate)
    # torch imports NumPy where it is installed; it is no requirement of ours.
    if (numpy := sys.modules.get("numpy")) is not None:
        yield _Generator(numpy.random.get_state, numpy.random.set_state)


def _of_accelerators(devices: Iterable[torch.device]) -> Iterator[_Generator]:
    for device in sorted({d for d in devices if d.type not in ("cpu", "meta")}, key=str):
        module = torch.get_device_module(device)
        if not hasattr(module, "get_rng_state"):
            continue
        if inspect.signature(module.get_rng_state).parameters:
            write = partial(module.set_rng_state, device=device)
            yield _Generator(partial(module.get_rng_state, device), write)
        else:  # mps: one device, which is not named
            yield _Generator(module.get_rng_state, module.set_rng_state)
