"""What runs cost: ``python -m gnp.training.cost``, for what plans them and needs no torch.

Reads a line of JSON, {"configs": […], "measured": […], "images": […], "device": "cpu",
"threads": 1, "beside": 1, "seconds": 20}: resolved configs, whether the speed of each is asked for,
and how many images each trains on and evaluates, or null; how many processes will train beside
each, and how long all measurements should take. Prints a line of JSON for each thing that takes a
while, {"doing": "…"}, and last either {"costs": […]}, one for each config in their order, or
{"error": "…"}.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gnp.data import DataError
from gnp.data.sizes import sizes
from gnp.settings import Config, ConfigError, checked
from gnp.training.calibration import Passes
from gnp.training.device import prepare_device
from gnp.training.flops import count
from gnp.training.speeds import Speeds, kept_in

LONGEST = 2.5  # seconds of a network's measurement; where there are many, less
MOST_BESIDE, LOAD_IMAGES = 15, 8  # processes, and what they compute: each needs memory


class Costs:
    """Each network is counted once, and measured once.

    Args:
        request: see the module's text.
        say: told what takes a while.

    Raises:
        ConfigError: the device is not there.
    """

    def __init__(self, request: Mapping[str, Any], say: Callable[[str], None]):
        self._say, self._request = say, request
        self._configs = [checked(Config, config) for config in request["configs"]]
        self._device = prepare_device(_runtime(self._configs[0], request))
        on_cpu = self._device.type == "cpu"  # on a GPU of its own a run has no others beside it
        self._beside = min(request["beside"], MOST_BESIDE) if on_cpu else 0
        self._speeds = Speeds(self._device, self._beside)
        self._counted: dict[str, dict[str, float]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def all(self) -> list[dict[str, Any]]:
        """For each config: ``train`` and ``evaluation``, images; ``flops``, as ``count``;
        ``speed``, as ``Speeds.of``, or None; ``kept``, where that is kept.

        Raises:
            ConfigError, DataError: a network cannot be made, or images cannot be counted.
        """
        measured = self._request["measured"]
        asked = [c for c, its in zip(self._configs, measured, strict=True) if its]
        unknown = {_network(c): c for c in asked if not self._speeds.knows(c)}
        load = [*unknown.values()][:1]
        with _at_work_beside(load * self._beside, self._request) as begun:
            counted = [
                (known or self._sizes_of(config), self._flops(config))
                for config, known in zip(self._configs, self._request["images"], strict=True)
            ]
            begun()  # they have needed some seconds
            seconds = min(LONGEST, self._request["seconds"] / max(1, len(unknown)))
            return [
                {
                    "train": train,
                    "evaluation": evaluation,
                    "flops": flops,
                    "speed": self._speed(config, flops, seconds) if its else None,
                    "kept": str(kept_in()),
                }
                for config, ((train, evaluation), flops), its in zip(
                    self._configs, counted, measured, strict=True
                )
            ]

    def _sizes_of(self, config: Config) -> tuple[int, int]:
        data = config.dataset.model_dump_json()
        if data not in self._sizes:
            self._sizes[data] = sizes(config.dataset)
        return self._sizes[data]

    def _flops(self, config: Config) -> dict[str, float]:
        network = json.dumps([_network(config), config.dataset.num_classes])
        if network not in self._counted:
            self._say(f"counting {config.experiment}, {config.dataset.num_classes} classes")
            self._counted[network] = count(config)
        return self._counted[network]

    def _speed(self, config: Config, flops: dict[str, float], seconds: float) -> dict[str, Any]:
        if not self._speeds.knows(config):
            self._say(f"measuring {config.experiment}, {config.augmentation.name}")
        return self._speeds.of(config, flops, seconds)


def _network(config: Config) -> str:
    model = {key: value for key, value in config.model.items() if key != "num_classes"}
    return json.dumps([model, config.optimizer.base])


def _runtime(config: Config, request: Mapping[str, Any]) -> Any:
    asked = {"device": request["device"], "threads": request["threads"]}
    return config.runtime.model_copy(update=asked)


@contextmanager
def _at_work_beside(
    configs: list[Config], request: Mapping[str, Any]
) -> Iterator[Callable[[], None]]:
    """A process for each config that computes, as other runs will. Gives what waits for them to
    have begun."""
    children = []
    try:
        for config in configs:
            child = subprocess.Popen(
                [sys.executable, "-m", "gnp.training.cost"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            children.append(child)
            load = {**request, "load": config.model_dump(), "configs": [], "parent": os.getpid()}
            child.stdin.write(json.dumps(load) + "\n")
            child.stdin.flush()

        def begun() -> None:
            for child in children:
                child.stdout.readline()

        yield begun
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _load(request: Mapping[str, Any]) -> None:
    """Computes for as long as the process that asked for it is there."""
    config = checked(Config, request["load"])
    call = Passes(config, prepare_device(_runtime(config, request))).training(LOAD_IMAGES)
    call()
    print("begun", flush=True)
    while os.getppid() == request["parent"]:
        call()


def main() -> None:
    def answer(line: Mapping[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    request = json.loads(sys.stdin.readline())
    if "load" in request:
        return _load(request)
    try:
        costs = Costs(request, lambda what: answer({"doing": what}))
        answer({"costs": costs.all()})
    except (ConfigError, DataError) as error:
        answer({"error": str(error)})


if __name__ == "__main__":
    main()
