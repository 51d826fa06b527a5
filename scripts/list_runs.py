"""List the finished runs below a root with the settings in which they differ, best first.

    python scripts/list_runs.py outputs/tuning
    python scripts/list_runs.py outputs/tuning --csv outputs/tuning/tried.csv

What all of them have in common is not listed.
"""

import sys
from pathlib import Path

from rich.console import Console

from gnp.cli import add_root, argument_parser, run_script
from gnp.files import write_text
from gnp.screen import width_of
from gnp.settings import unrecorded
from gnp.tables.listing import aligned, list_runs, to_csv


def main() -> int:
    parser = argument_parser(__doc__)
    add_root(parser)
    parser.add_argument("--csv", type=Path, help="also write them to this file, with all columns")
    arguments = parser.parse_args()
    runs, complaints = list_runs(arguments.root, unrecorded())
    for complaint in complaints:
        print(f"list_runs.py: {complaint}", file=sys.stderr)
    if not runs:
        print(f"list_runs.py: no finished runs below {arguments.root}/runs", file=sys.stderr)
        return 2
    print(aligned(runs, width_of(Console())))
    if arguments.csv:
        write_text(arguments.csv, to_csv(runs))
        print(f"written: {arguments.csv}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
