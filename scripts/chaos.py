"""Break a small table's jobs on purpose, and see whether anything is lost or wrong.

    python scripts/chaos.py --faults 200 --write results/reliability/chaos.txt
    python scripts/chaos.py --faults 20 --kinds "kill at a write" "damaged file"

The table (6 runs of 4 epochs, some seconds) is trained once in peace, then again and again under
faults, each at a random place. After every fault the finished records that are believed are
compared with the peaceful ones; at the end of a round (some faults on one root) the jobs are
started in peace, and every number, every weight and the written tables are. Needs Linux; the kinds
that need a disk of their own are left out where none can be mounted.

Exit status 1 if a cell was lost or wrong, or if anything ended otherwise than it should.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from gnp.cli import argument_parser
from gnp.errors import UserError
from gnp.faults.kinds import KINDS, NEED_A_DISK
from gnp.faults.rounds import Chaos
from gnp.files import StorageError, write_text
from gnp.tracking.environment import describe_environment

OWN_MOUNTS = "GNP_CHAOS_OWN_MOUNTS"  # set in the process that may mount a disk
DISK_BYTES = 64 << 20


def summary(chaos: Chaos, left_out: Sequence[str]) -> str:
    kinds = [f"  {kind:22}{chaos.faults[kind]:4}" for kind in KINDS if kind in chaos.faults]
    left = [f"left out, as no disk can be mounted here: {', '.join(left_out)}"] if left_out else []
    return "\n".join(
        [
            f"{chaos.faults.total()} faults in {chaos.rounds} rounds:",
            *kinds,
            *left,
            f"killed at {len(chaos.points)} different writes",
            f"records that had to be deleted, as a message said: {chaos.deleted}",
            f"checkpoints damaged after their run was finished, so not compared: {chaos.taken}",
            f"ended otherwise than it should (traceback, hang, wrong status): {len(chaos.odd)}",
            f"cells lost: {len(chaos.lost)}",
            f"cells wrong: {len(chaos.wrong)}",
        ]
    )


def arguments_of() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--faults", type=int, default=50, help="how many (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=KINDS,
        metavar="KIND",
        default=list(KINDS),
        help=f"which (default all): {', '.join(KINDS)}",
    )
    parser.add_argument("--write", type=Path, help="also write what is printed to this file")
    return parser.parse_args()


def with_own_mounts() -> bool:
    """Whether a disk can be mounted: starts this command again where that is possible."""
    if os.environ.get(OWN_MOUNTS):
        return True
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        mounted = subprocess.run(
            [*unshare, "mount", "-t", "tmpfs", "t", tempfile.gettempdir()], capture_output=True
        )
        if mounted.returncode == 0:
            os.environ[OWN_MOUNTS] = "1"
            os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    except OSError:
        pass
    return False


def main() -> int:
    arguments = arguments_of()
    disk = with_own_mounts()
    torch.set_num_threads(1)  # nothing may run beside this thread when it forks
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(text)
        print(text, flush=True)

    code = describe_environment("cpu")["code"]
    say(
        f"chaos.py --faults {arguments.faults} --seed {arguments.seed}, commit {code['commit']}"
        + (" and changes" if code["modified"] else "")
    )
    left_out = [] if disk else [kind for kind in arguments.kinds if kind in NEED_A_DISK]
    kinds = {kind: KINDS[kind] for kind in arguments.kinds if kind not in left_out}
    with tempfile.TemporaryDirectory() as temporary:
        chaos = Chaos(Path(temporary), arguments.seed, say)
        mounted = chaos.root.parent
        if disk:
            size = f"size={DISK_BYTES}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "chaos", mounted], check=True)
        status = 0
        try:
            chaos.in_peace()
            if kinds:
                chaos.go(kinds, arguments.faults)
        except KeyboardInterrupt:
            say("stopped")
            status = 130
        except UserError as error:
            say(f"chaos.py: {error}")
            status = 1
        finally:
            for child in chaos.children:
                child.kill()
            if disk:
                subprocess.run(["umount", "-l", mounted], check=True)
            say(summary(chaos, left_out))
            if arguments.write:
                try:
                    write_text(arguments.write, "\n".join(lines) + "\n")
                except StorageError as error:
                    print(f"chaos.py: {error}", file=sys.stderr)
                    status = 1
    return status or int(bool(chaos.lost or chaos.wrong or chaos.odd))


if __name__ == "__main__":
    sys.exit(main())
