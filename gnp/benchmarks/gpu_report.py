"""What a GPU's first hour has measured, as pages: gpu.md, gpu.json, best.json, and the lines for
results/README.md. From the records alone, whatever of them there is."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gnp.benchmarks.best import best_settings, step_records
from gnp.benchmarks.cell import PLAN
from gnp.benchmarks.results import markdown_table
from gnp.files import write_json, write_text

NOTHING = "–"


def write_report(folder: Path, command: str, missing: int) -> list[Path]:
    """Write the pages. Returns the files.

    Args:
        command: what made the records.
        missing: how many pieces have none yet.
    """
    steps, machine = step_records(folder), _records(folder, "machine.json").get("machine")
    best = best_settings(steps)
    inputs, cells = _records(folder, "input/*.json"), _records(folder, "cell/*.json")
    tests = _records(folder, "tests.json").get("tests")
    environment = machine["result"] if machine and machine["status"] == "done" else None
    write_json(
        folder / "gpu.json",
        {
            "command": command,
            "environment": environment,
            "tests": tests,
            "benchmark": steps,
            "input": inputs,
            "cell": cells,
        },
    )
    write_json(folder / "best.json", best)
    page = [
        f"# The first hour on {_device(environment)}",
        f"Made by `{command}`" + (f"; {missing} pieces are missing yet." if missing else "."),
        *_mixtures(steps, inputs, cells),
        f"Tests that need a GPU: {_said(tests, 'pytest')}",
        "## A training step",
        "Images a second of the plain base, ratios of SAM's and GNP's step to the plain one of the "
        "same round (median, lowest to highest), first step in seconds, MB above the resting state "
        "at the peak. (A third party's logs have 1.80 end to end for SAM on such a ResNet-18, "
        "whose first convolution is 3×3.)",
        markdown_table(STEP_HEAD, _step_rows(steps)),
        "## The fastest settings",
        markdown_table(["network", "settings", "GNP, images/s", "SAM", "GNP"], _best_rows(best)),
        "## Input",
        "Images a second, ours on the device and torchvision's in a DataLoader.",
        markdown_table(
            ["augmentation", "ours", "torchvision", "ratio", "workers"], _input_rows(inputs)
        ),
        "## One cell of the paper's table",
        *_cell(folder, cells),
    ]
    write_text(folder / "gpu.md", "\n\n".join(page) + "\n")
    write_text(folder / "rows.md", "\n".join(_lines_for_the_readme(environment, best, cells)))
    return [folder / name for name in ("gpu.md", "gpu.json", "best.json", "rows.md")]


STEP_HEAD = ["network", "batch", "settings", "rounds", "plain, images/s", "SAM", "GNP"]
STEP_HEAD += ["first step, s", "plain, MB", "SAM, MB", "GNP, MB"]


def _step_rows(steps: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for network, of_network in steps.items():
        for name, record in of_network.items():
            if record["status"] != "done":
                reason = record["reason"].replace("|", "\\|")
                yield [network, "", name, f"failed: {reason}", *[""] * (len(STEP_HEAD) - 4)]
                continue
            result = record["result"]
            methods = result["methods"]
            yield [
                network,
                str(result["batch_size"]),
                name,
                str(result["rounds"]),
                f"{methods['plain']['images_per_second']:,.0f}",
                *(_ratio(methods[m]) for m in ("SAM", "GNP")),
                f"{result['first_step']:.1f}",
                *(f"{own['MB']:,.0f}" if "MB" in own else NOTHING for own in methods.values()),
            ]


def _ratio(method: Mapping[str, Any]) -> str:
    return "{ratio:.2f} ({lowest:.2f}–{highest:.2f})".format(**method)


def _best_rows(best: Mapping[str, Any]) -> Iterator[list[str]]:
    for network, own in best.items():
        fastest = own["fastest"]
        yield [
            network,
            " ".join(f"`{setting}`" for setting in fastest["settings"]),
            f"{fastest['images_per_second']['GNP']:,.0f}",
            *(f"{fastest['ratios'][m]:.2f}" for m in ("SAM", "GNP")),
        ]


def _input_rows(inputs: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, record in inputs.items():
        if record["status"] != "done":
            yield [name, f"failed: {record['reason']}", "", "", ""]
            continue
        own = record["result"]
        speeds = [f"{own[key]:,.0f}" for key in ("images_per_second", "torchvision")]
        yield [name, *speeds, f"{own['ratio']:.1f}", str(own["workers"])]


def _cell(folder: Path, cells: Mapping[str, Any]) -> Iterator[str]:
    if (folder / PLAN).exists():
        plan = json.loads((folder / PLAN).read_text())
        yield (
            f"{plan['epochs']} epochs, as many as the time allows: not the paper's recipe where "
            f"that has more. One seed. Settings: {' '.join(f'`{s}`' for s in plan['settings'])}"
        )
    rows = [
        [name, f"{r['result']['test_error']:.2f}", f"{r['result']['minutes']:.1f}"]
        if r["status"] == "done"
        else [name, f"failed: {r['reason']}", ""]
        for name, r in cells.items()
    ]
    yield markdown_table(["method", "test error, %", "minutes"], rows) if rows else "Not yet."


def _lines_for_the_readme(
    environment: Mapping[str, Any] | None, best: Mapping[str, Any], cells: Mapping[str, Any]
) -> Iterator[str]:
    """To be put into results/README.md."""
    yield f"## The first hour on {_device(environment)}\n"
    yield "[gpu.md](gpu/gpu.md) · [gpu.json](gpu/gpu.json) · [best.json](gpu/best.json)\n"
    yield markdown_table(
        ["network", "fastest settings", "GNP, images/s", "SAM to plain", "GNP to plain"],
        _best_rows(best),
    )
    for name, record in cells.items():
        if record["status"] == "done":
            own = record["result"]
            yield f"\n{name}: {own['test_error']:.2f} % after {own['epochs']} epochs (one seed)"
    yield ""


def _records(folder: Path, pattern: str) -> dict[str, Any]:
    return {
        file.stem: json.loads(file.read_text())
        for file in sorted((folder / "records").glob(pattern))
    }


def _mixtures(*records: Mapping[str, Any]) -> Iterator[str]:
    """A warning, where the records are of different code or machines."""
    flat = [r for of in records for r in of.values()]
    inner = [r for of in flat for r in (of.values() if "status" not in of else [of])]
    results = [r["result"] for r in inner if r["status"] == "done"]
    for what, found in (
        ("code", {r["code"] for r in inner}),
        ("devices", {r["device"] for r in results if "device" in r}),
    ):
        if len(found) > 1:
            yield f"**Warning:** the records are of different {what}: {', '.join(sorted(found))}."


def _device(environment: Mapping[str, Any] | None) -> str:
    return "an unknown device" if environment is None else environment["device"]


def _said(record: Mapping[str, Any] | None, key: str) -> str:
    if record is None:
        return "not run yet."
    return record["result"][key] if record["status"] == "done" else f"failed: {record['reason']}"
