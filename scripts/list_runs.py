"""List the finished runs below a root with the settings in which they differ, best first.

python scripts/list_runs.py outputs/tuning
python scripts/list_runs.py outputs/tuning --csv results/tuning/tried.csv
"""

import argparse
import sys
from pathlib import Path

from gnp.cli import run_script
from gnp.files import write_text
from gnp.settings import unrecorded
from gnp.tables.listing import list_runs, to_csv


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", help="a results root: the folder that has runs/ in it")
    parser.add_argument("--csv", type=Path, help="also write them to this file")
    arguments = parser.parse_args()
    runs, complaints = list_runs(arguments.root, unrecorded())
    for complaint in complaints:
        print(f"list_runs.py: {complaint}", file=sys.stderr)
    if not runs:
        print(f"list_runs.py: no finished runs below {arguments.root}/runs", file=sys.stderr)
        return 2
    print(aligned(runs))
    if arguments.csv:
        write_text(arguments.csv, to_csv(runs))
        print(f"written: {arguments.csv}")
    return 1 if complaints else 0


def aligned(runs: list[dict]) -> str:
    """Columns in which the runs differ, under the last part of their names, two spaces apart."""
    keys = [k for k in runs[0] if len({str(run[k]) for run in runs}) > 1 or k.endswith("error")]
    lines = [[k.rsplit(".", 1)[-1] for k in keys]]
    for run in runs:
        values = [run[k] for k in keys]
        lines.append([f"{v:.4g}" if isinstance(v, float) else str(v) for v in values])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(w) for text, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
