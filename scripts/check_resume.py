"""Check that a table survives ``kill -9``: train it once in peace and once with kills, and compare
every number and every weight.

    python scripts/check_resume.py --kills 5 table=quickstart device=cpu

Further arguments are settings of scripts/reproduce_table.py. The kills hit the table runner at
random moments, spread over the work; its children end with it. Exit status 1 if anything differs.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from gnp.cli import run_script

RUNNER = Path(__file__).resolve().with_name("reproduce_table.py")
POLL_SECONDS = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=5, help="how often to kill (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--keep", type=Path, help="keep both roots in this folder")
    arguments, settings = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.keep or Path(temporary)
        peaceful, killed = place / "peaceful", place / "killed"
        subprocess.run(command(settings, peaceful), check=True)
        epochs = len(metrics_lines(peaceful))
        kills = kill_repeatedly(
            settings, killed, arguments.kills, epochs, random.Random(arguments.seed)
        )
        subprocess.run(command(settings, killed), check=True)
        differences, compared = compare(peaceful, killed)
    for difference in differences:
        print(difference)
    print(
        f"{kills} kills; {compared} runs, {epochs} epochs compared: "
        + (f"{len(differences)} differences" if differences else "identical")
    )
    return 1 if differences or kills < arguments.kills else 0


def command(settings: list[str], root: Path) -> list[str]:
    return [sys.executable, str(RUNNER), *settings, f"root={root}"]


def kill_repeatedly(
    settings: list[str], root: Path, kills: int, epochs: int, moments: random.Random
) -> int:
    """Start the table, kill it when a share of its epochs is recorded, and again. Returns how
    many kills hit."""
    for kill in range(1, kills + 1):
        target = epochs * kill / (kills + 1)
        runner = subprocess.Popen(command(settings, root))
        while len(metrics_lines(root)) < target:
            if runner.poll() is not None:
                return kill - 1
            time.sleep(POLL_SECONDS)
        time.sleep(moments.uniform(0, 0.5))
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        print(f"kill {kill} after {len(metrics_lines(root))} of {epochs} epochs", flush=True)
    return kills


def metrics_lines(root: Path) -> list[tuple[str, dict]]:
    """(run, metrics without the clock's) of every recorded epoch."""
    lines = []
    for file in sorted(root.glob("runs/**/metrics.jsonl")):
        for text in file.read_text().splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:  # being written
                continue
            numbers = {k: v for k, v in line.items() if "seconds" not in k}
            lines.append((str(file.parent.relative_to(root)), numbers))
    return lines


def compare(left: Path, right: Path) -> tuple[list[str], int]:
    """Differences between the two roots' records, and the number of runs compared."""
    differences = []
    if metrics_lines(left) != metrics_lines(right):
        pairs = zip(metrics_lines(left), metrics_lines(right), strict=False)
        differences.append(f"metrics differ: {next((p for p in pairs if p[0] != p[1]), 'length')}")
    summaries = sorted(left.glob("runs/**/summary.json"))
    for file in summaries:
        run = file.parent.relative_to(left)
        a, b = (json.loads((root / run / "summary.json").read_text()) for root in (left, right))
        for summary in (a, b):
            # The clock's, and the checksums of files that have the clock's.
            for clock in ("seconds", "finished", "files", "sha256"):
                summary.pop(clock)
        if a != b:
            differences.append(f"{run}: summary {a} and {b}")
        weights = [
            torch.load(root / run / "checkpoint.pt", weights_only=True)["model"]
            for root in (left, right)
        ]
        differences += [
            f"{run}: {name} differs"
            for name, value in weights[0].items()
            if not torch.equal(value, weights[1][name])
        ]
    for name in ("table.md", "table.csv", "table.tex"):
        for file in left.glob(f"tables/*/{name}"):
            texts = [
                (root / file.relative_to(left)).read_text().replace(str(root), "")
                for root in (left, right)
            ]
            if texts[0] != texts[1]:
                differences.append(f"{file.relative_to(left)} differs")
    return differences, len(summaries)


if __name__ == "__main__":
    sys.exit(run_script(main))
