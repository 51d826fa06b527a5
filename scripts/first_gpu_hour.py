"""A GPU's first hour: tests, speed, input pipeline, one cell of the paper's table.

    python scripts/first_gpu_hour.py
    python scripts/first_gpu_hour.py --list
    python scripts/first_gpu_hour.py --only benchmark/vgg16_bn cell
    python scripts/first_gpu_hour.py --device cpu --toy --output outputs/gpu

Each call works for at most --limit-minutes and ends; the same command goes on with what is
missing, again and again, until nothing is. --list shows the pieces and what is recorded. Every
piece has a process of its own and a record in <output>/records, made once: one that fails (out of
memory, refused by the compiler, too slow) is recorded with its reason and costs no other. To have
one made again, delete its record.

    tests      pytest -m cuda
    benchmark  a step of each network of configs/model at its size: fp32, bf16 ×
               eager, compiled × channels last or not; SAM and GNP to plain,
               images/s, peak memory
    input      images/s of each augmentation, ours and torchvision's DataLoader
    cell       VGG16-BN on CIFAR-10 (or the 10,000 images): SGD, SAM and GNP
               with the fastest settings, as many epochs as --cell-minutes allow

Written: <output>/gpu.md, gpu.json, best.json (the fastest settings of each network and
precision), and rows.md for results/README.md. Exit status 0: nothing is missing; 1: the same
command goes on.

On a machine that is lent for ten minutes a command, fresh and without network: bring this folder
with data/ in it (or set GNP_DATA) and what <output> holds already, take <output>
back each time, and

    export PYTHONPATH=$PWD   # or: pip install -e '.[test]'
    python scripts/first_gpu_hour.py; [ $? = 1 ] && echo "call it again"
"""

import sys
from pathlib import Path

from gnp.benchmarks.gpu_hour import paper_scale, pieces, toy_scale
from gnp.benchmarks.gpu_report import write_report
from gnp.benchmarks.pieces import Pieces, outcome
from gnp.benchmarks.training_step import Effort
from gnp.cli import FAILED, argument_parser, run_script
from gnp.interruptions import raise_on_signals
from gnp.settings import RuntimeSettings
from gnp.training.device import prepare_device

IMPORTS = ["gnp.benchmarks.gpu_hour"]


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--only", metavar="PIECE", nargs="+", default=[], help="these, or those of these folders"
    )
    parser.add_argument("--list", action="store_true", help="show the pieces and their records")
    parser.add_argument("--limit-minutes", type=float, default=8, help="of a call (default 8)")
    parser.add_argument(
        "--cell-minutes", type=float, default=12, help="of the cell's three runs (default 12)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=Effort.rounds,
        help=f"measurements of a step, without --toy (default {Effort.rounds})",
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default cuda)")
    parser.add_argument("--toy", action="store_true", help="tiny networks: does it run?")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/gpu"),
        help="folder of the records (default results/gpu)",
    )
    arguments = parser.parse_args()
    raise_on_signals()
    scale = toy_scale() if arguments.toy else paper_scale(arguments.cell_minutes, arguments.rounds)
    plan = pieces(arguments.output, scale, arguments.device)
    work = Pieces(arguments.output, plan, IMPORTS)
    if arguments.list:
        for piece in plan:
            record = work.record(piece.name)
            print(f"{piece.name}: {'missing' if record is None else outcome(record)}")
        return 0
    prepare_device(RuntimeSettings.model_construct(device=arguments.device))  # or it is refused
    command = f"python scripts/first_gpu_hour.py --device {arguments.device}"
    if arguments.toy:
        command += " --toy"
    elif arguments.rounds != Effort.rounds:
        command += f" --rounds {arguments.rounds}"
    try:
        work.run(60 * arguments.limit_minutes, arguments.only)
    finally:
        missing = len(work.missing())
        if missing < len(plan):
            print("written:", *write_report(arguments.output, command, missing))
    if missing:
        print(f"{missing} of {len(plan)} pieces are missing yet: the same command goes on")
    return FAILED if missing else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
