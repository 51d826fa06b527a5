"""What one training step of each paper-scale network costs here: time, memory, FLOPs.

    python scripts/step_costs.py
    python scripts/step_costs.py --experiments vit_s16 --device cuda
    python scripts/step_costs.py --output results/costs

A step is what training does with the experiment's own config: forward and backward, for SAM and GNP
the climb and a second forward and backward, and the base optimizer's update, at full size on random
images. Every network and method has a process of its own. Time is of the second step (the first one
allocates); memory is the process's peak on the CPU, Python and its libraries included, and the
allocator's peak on CUDA. FLOPs are of a forward pass of one image, a multiplication and an addition
counted as two, as torch.utils.flop_counter counts (convolutions and matrix products).
"""

import argparse
import csv
import io
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from rich.console import Console
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from gnp.cli import argument_parser, run_script
from gnp.files import write_json, write_text
from gnp.report.grid import Entry, Grid, Line
from gnp.report.terminal import fitted, print_tables
from gnp.screen import width_of
from gnp.settings import Config, validate
from gnp.tracking import describe_environment
from gnp.training.build import build_model, build_optimizer
from gnp.training.device import wait_for

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
EXPERIMENTS = (
    "vgg16",
    "vgg16_bn",
    "wrn_28_10",
    "wrn_ss_26_2x96",
    "pyramidnet_272_200_sd",
    "vit_ti16",
    "vit_s16",
)
ALPHA = {"base": 0.0, "sam": 1.0, "gnp": 0.8}  # base: the recipe's SGD or AdamW, no penalty


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--experiments",
        nargs="+",
        default=EXPERIMENTS,
        help="whose networks (default: the seven of the paper)",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=ALPHA,
        default=list(ALPHA),
        help="which steps (default: all)",
    )
    parser.add_argument("--batch-size", type=int, default=4, help="images (default 4)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, … (default cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default torch's)")
    parser.add_argument("--output", type=Path, help="write costs.md, .csv and .json to this folder")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        (experiment,), (method,) = arguments.experiments, arguments.methods
        print(json.dumps(measure(experiment, method, arguments)))
        return 0
    lines = []
    for experiment in arguments.experiments:
        for method in arguments.methods:
            lines.append(in_a_process_of_its_own(experiment, method, arguments))
            line = lines[-1]
            print(
                f"{experiment} {line['base'] if method == 'base' else method}: "
                f"{line['seconds']:.2f} s, {line['peak_MB']:,.0f} MB",
                flush=True,
            )
    print_tables(fitted("What a step costs", to_grid(lines), width_of(Console())))
    if arguments.output:
        write(lines, arguments)
    return 0


def in_a_process_of_its_own(
    experiment: str, method: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", "--experiments", experiment]
    command += ["--methods", method, "--batch-size", str(arguments.batch_size)]
    command += ["--device", arguments.device]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{experiment} with {method} failed with exit status {done.returncode} (above)")
    return json.loads(done.stdout.splitlines()[-1])


def measure(experiment: str, method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Two training steps of one network; see the module's text for what is returned."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config, device = compose_run(experiment, method), torch.device(arguments.device)
    flops = forward_flops(config)
    torch.manual_seed(0)
    model = build_model(config).to(device, memory_format=torch.channels_last)
    optimizer = build_optimizer(config, model, device)
    images = torch.randn(arguments.batch_size, 3, 32, 32, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (arguments.batch_size,), device=device)
    passes = 0

    def closure() -> torch.Tensor:
        nonlocal passes
        passes += 1
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        return loss.detach()

    before = [p.detach().clone() for p in model.parameters()]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        loss = optimizer.step(closure)
        wait_for(device)
        seconds.append(time.perf_counter() - started)
    assert math.isfinite(loss.item())
    assert passes == 2 * (1 if method == "base" else 2)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    return {
        "experiment": experiment,
        "method": method,
        "base": config.optimizer.base["_target_"].rsplit(".", 1)[-1],
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "forward_GFLOP": flops / 1e9,
        "seconds": seconds[-1],
        "peak_MB": peak_megabytes(device),
    }


def compose_run(experiment: str, method: str) -> Config:
    settings = [f"experiment={experiment}", "optimizer=gnp", f"optimizer.alpha={ALPHA[method]}"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return validate(compose("train", settings))


def forward_flops(config: Config) -> int:
    """Of one image, counted on the meta device: nothing is computed."""
    with torch.device("meta"):
        model = build_model(config)
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(2, 3, 32, 32))  # two, because BN refuses one value a channel
    return counter.get_total_flops() // 2


def peak_megabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB on Linux


def write(lines: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    settings = {"batch_size": arguments.batch_size, "device": arguments.device}
    settings["threads"] = arguments.threads or torch.get_num_threads()
    environment = describe_environment(name, ())
    write_json(
        folder / "costs.json", {"settings": settings, "environment": environment, "steps": lines}
    )
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, lines[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(folder / "costs.csv", buffer.getvalue())
    headers, rows = grid(lines)
    table = ["| " + " | ".join(headers) + " |", "|---|" + "---:|" * (len(headers) - 1)]
    table += ["| " + " | ".join(row) + " |" for row in rows]
    write_text(folder / "costs.md", "\n".join(table) + "\n")
    print(
        "written:",
        *(f"  {folder / f'costs.{suffix}'}" for suffix in ("md", "csv", "json")),
        sep="\n",
    )


def grid(lines: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """A row a network; base, SAM and GNP as columns of time and memory."""
    methods = list(dict.fromkeys(line["method"] for line in lines))
    names = {"base": "base", "sam": "SAM", "gnp": "GNP"}
    headers = ["network", "parameters", "GFLOP", "base is"]
    headers += [f"{names[m]}, s" for m in methods]
    headers += [f"{names[m]}, GB" for m in methods]
    rows = []
    for experiment in dict.fromkeys(line["experiment"] for line in lines):
        own = {line["method"]: line for line in lines if line["experiment"] == experiment}
        one = next(iter(own.values()))
        rows.append(
            [
                experiment,
                f"{one['parameters']:,}",
                f"{one['forward_GFLOP']:.2f}",
                one["base"],
                *(f"{own[m]['seconds']:.2f}" for m in methods),
                *(f"{own[m]['peak_MB'] / 1024:.2f}" for m in methods),
            ]
        )
    return headers, rows


def to_grid(lines: list[dict[str, Any]]) -> Grid:
    headers, rows = grid(lines)
    return Grid(headers, [Line(row[:1], list(map(Entry, row[1:]))) for row in rows], 1)


if __name__ == "__main__":
    sys.exit(run_script(main))
