"""What things cost, as ratios: each part compares what takes turns in one process or one script.

    python scripts/benchmark.py
    python scripts/benchmark.py step --width 1 --batch-size 256 --device cuda
    python scripts/benchmark.py starts growth --output results/benchmark
    pip install -e '.[benchmark]'   # pytorch_optimizer's SAM, WSAM

Without the name of a part it measures the step, on this machine.

    step        a step of SGD, SAM, GNP and variants, and what ours adds
    input       augmented batches: ours, and torchvision's in a DataLoader
    epoch       an epoch: ours, and a straightforward loop over that DataLoader
    evaluation  an evaluation by the images at a time
    allocator   a step on the CPU, with glibc's allocator and as training has it
    starts      a run beside its epochs: as a process, and in a pool
    growth      tables and lists with many records

Timings of one machine differ from minute to minute. What is compared takes turns, for several
rounds, and what is reported is the median over rounds of the ratio within a round. Run it alone.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from gnp.benchmarks import allocator, epoch, evaluation, growth, input, starts, step
from gnp.benchmarks.results import Measured, write_results
from gnp.cli import argument_parser, run_script
from gnp.errors import UserError
from gnp.tracking import describe_environment
from gnp.training.device import device_name

PARTS: dict[str, Callable[[argparse.Namespace, torch.device], Measured]] = {
    "step": step.measure,
    "input": input.measure,
    "epoch": epoch.measure,
    "evaluation": evaluation.measure,
    "allocator": allocator.measure,
    "starts": starts.measure,
    "growth": growth.measure,
}


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("parts", nargs="*", default=["step"], help="what to measure (step)")
    parser.add_argument("--width", type=float, default=0.125, help="of VGG16-BN (default 0.125)")
    parser.add_argument("--batch-size", type=int, default=128, help="images (default 128)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (default 9)")
    parser.add_argument("--steps", type=int, default=5, help="steps a turn (default 5)")
    parser.add_argument(
        "--records", type=int, default=1000, help="of the smaller root, growth (default 1000)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, … (default cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default torch's)")
    parser.add_argument("--output", type=Path, help="folder for a .md, .csv and .json of each part")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {device}, but torch sees no CUDA device; use cpu")
    for part in arguments.parts:
        measured = PARTS[part](arguments, device)
        print(f"{measured.title}\n\n{measured.table}\n")
        if arguments.output:
            write(part, measured, arguments, device)
    return 0


def write(
    part: str, measured: Measured, arguments: argparse.Namespace, device: torch.device
) -> None:
    environment = describe_environment(device_name(device))
    environment["packages"]["pytorch_optimizer"] = step.other_package()
    write_results(
        arguments.output,
        part,
        settings={k: v for k, v in vars(arguments).items() if k not in ("output", "parts")},
        environment=environment,
        results=measured.results,
        markdown=f"# {measured.title}\n\n{measured.table}\n\n{measured.note} "
        f"{environment['device']} ({environment['processor']}, {torch.get_num_threads()} threads), "
        f"torch {torch.__version__}.\n",
        columns=measured.columns,
    )
    print(f"written: {arguments.output}/{part}.md, .csv, .json\n")


if __name__ == "__main__":
    sys.exit(run_script(main))
