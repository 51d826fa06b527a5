"""Random draws that are made again."""

import inspect
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from operator import ne
from typing import Any, NamedTuple

import torch


def _always(before: Any, now: Any) -> bool:
    return True


class _Generator(NamedTuple):
    """How the state of a generator is read and written, and whether it has to be."""

    read: Callable[[], Any]
    write: Callable[[Any], None]
    moved: Callable[[Any, Any], bool] = _always


class RandomState:
    """The state of the default generators at one moment: torch's on the CPU and on ``devices``,
    Python's (``random``) and NumPy's (``numpy.random``).

    ``with state.replayed():`` draws the same numbers again that were drawn since then, and
    leaves the generators, when it ends, as they were when it began. (Python's and NumPy's, which
    are slow to write, are left alone if nothing was drawn from them since.) Generators that a
    network keeps for itself (``torch.Generator``, ``random.Random``,
    ``numpy.random.default_rng``) are not known here, and draw anew.
    """

    def __init__(self, devices: Iterable[torch.device] = ()):
        self._generators = [*_of_the_cpu(), *_of_accelerators(devices)]
        self._states = [generator.read() for generator in self._generators]

    def put_back(self) -> None:
        """The generators are again as they were at that moment."""
        for generator, state in zip(self._generators, self._states, strict=True):
            if generator.moved(state, generator.read()):
                generator.write(state)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        seen = [
            (g, state, g.read()) for g, state in zip(self._generators, self._states, strict=True)
        ]
        moved = [entry for entry in seen if entry[0].moved(*entry[1:])]
        for generator, state, _ in moved:
            generator.write(state)
        try:
            yield
        finally:
            for generator, _, now in moved:
                generator.write(now)


def _of_the_cpu() -> Iterator[_Generator]:
    yield _Generator(torch.get_rng_state, torch.set_rng_state)
    yield _Generator(random.getstate, random.setstate, ne)
    # torch imports NumPy where it is installed; it is no requirement of ours.
    if (numpy := sys.modules.get("numpy")) is not None:
        yield _Generator(numpy.random.get_state, numpy.random.set_state, _numpy_moved)


@cache  # looking costs more than reading the state
def _names_devices(module: Any) -> bool:
    return bool(inspect.signature(module.get_rng_state).parameters)


def _numpy_moved(before: Any, now: Any) -> bool:
    """States are ("MT19937", uint32 key (624,), position, whether a normal number is in store and
    which one); of other bit generators, which a user may have put there, they are dicts."""
    if not isinstance(before, tuple) or not isinstance(now, tuple):
        return True
    return before[2:] != now[2:] or bool(before[1].tobytes() != now[1].tobytes())


def _of_accelerators(devices: Iterable[torch.device]) -> Iterator[_Generator]:
    for device in sorted(set(devices), key=str):
        if device.type in ("cpu", "meta"):
            continue
        module = torch.get_device_module(device)
        if not hasattr(module, "get_rng_state"):
            continue
        if _names_devices(module):
            write = partial(module.set_rng_state, device=device)
            yield _Generator(partial(module.get_rng_state, device), write)
        else:  # mps: there is one device
            yield _Generator(module.get_rng_state, module.set_rng_state)
