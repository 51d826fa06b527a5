"""What the benchmark's records recommend."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIMPLEST_FIRST = (
    "eager-channels_last",  # the default
    "eager-contiguous",
    "compiled-channels_last",
    "compiled-contiguous",
)
CLEARLY = 1.03  # so many times as fast, or it is not worth a setting that is not the default


def step_records(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """{network: {combination: record}}, those that failed too."""
    records: dict[str, dict[str, dict[str, Any]]] = {}
    for file in sorted((folder / "records/benchmark").glob("*/*.json")):
        records.setdefault(file.parent.name, {})[file.stem] = json.loads(file.read_text())
    return records


def best_settings(
    records: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, Any]]:
    """{network: {precision: {"settings", "images_per_second", "ratios"}, "fastest": the faster of
    these}}. A run's precision is part of what it is, so each has its own; the other settings are
    only how it is executed. Fastest is GNP's step, where a setting that is not the default has to
    be clearly faster."""
    best: dict[str, dict[str, Any]] = {}
    for network, of_network in records.items():
        done = {name: r["result"] for name, r in of_network.items() if r["status"] == "done"}
        own = {}
        for precision in ("fp32", "bf16"):
            names = [name for name in done if name.startswith(f"{precision}-")]
            if names:
                own[precision] = _recommended(done[_fastest(names, done)])
        if own:
            precisions = sorted(own, key=["fp32", "bf16"].index)
            fastest = max(precisions, key=lambda p: own[p]["images_per_second"]["GNP"])
            best[network] = {**own, "fastest": own[fastest]}
    return best


def _fastest(names: list[str], done: Mapping[str, Any]) -> str:
    """The simplest first: it stays unless another is clearly faster."""
    names = sorted(names, key=lambda name: SIMPLEST_FIRST.index(name.partition("-")[2]))
    chosen = names[0]
    for name in names[1:]:
        if _speed(done[name]) > CLEARLY * _speed(done[chosen]):
            chosen = name
    return chosen


def _speed(result: Mapping[str, Any]) -> float:
    return result["methods"]["GNP"]["images_per_second"]


def _recommended(result: Mapping[str, Any]) -> dict[str, Any]:
    methods = result["methods"]
    return {
        "settings": result["settings"],
        "images_per_second": {m: own["images_per_second"] for m, own in methods.items()},
        "ratios": {m: own["ratio"] for m, own in methods.items() if m != "plain"},
    }
