"""Mutation testing: does a test notice each error of ``mutant_list.py``?

    python tests/mutants.py                      all of them, two at a time
    python tests/mutants.py cosine seed --jobs 1 those with one of these words in name or file
    python tests/mutants.py --write              all, and results/reliability/mutants.md

Each is made in a copy of this checkout, where the tests named with it run up to the first failure.
Exit status 0: all are noticed, but for those that the list explains; 1: not so; 2: the list is out
of date.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from mutant_list import AREAS, MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[1]
OUTCOME = "results/reliability/mutants.md"
COPIED = ("configs", "gnp", "models", "scripts", "tests", "results/images", "pyproject.toml")
OUTPUT = "output.txt"
IMPORTED = ("torchvision", "hydra", "pydantic", "hypothesis")  # once, before the children fork
LONGEST = 1800  # seconds; a mutant may never end, and then it is noticed too
PASSED, BROKEN = 0, 3  # pytest's exit status
WHOSE_CODE = """
import gnp
def test_whose():
    assert gnp.__file__.startswith("{tree}/")
"""


class OutOfDate(Exception):
    """The list does not fit the code, or the tests fail without a mutant."""


@dataclass(frozen=True)
class Outcome:
    """``by`` is the first test that failed, or "" if none did."""

    mutant: Mutant
    by: str

    @property
    def right(self) -> bool:
        return bool(self.by) != bool(self.mutant.equivalent)

    def __str__(self) -> str:
        if self.by:
            wrong = "" if self.right else ", which the list says cannot be"
            return f"noticed by {self.by}{wrong}"
        return f"equivalent: {self.mutant.equivalent}" if self.right else "NOT NOTICED"


def mutated(mutant: Mutant, text: str) -> str:
    """The file's text with the error in it.

    Raises:
        OutOfDate: the old text is not in it once.
    """
    if (count := text.count(mutant.old)) != 1:
        raise OutOfDate(f"{mutant.name}: its old text is {count} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def chosen(words: Sequence[str]) -> list[Mutant]:
    if not words:
        return MUTANTS
    return [m for m in MUTANTS if any(word in f"{m.name} {m.file}" for word in words)]


def prepare_for_forks() -> None:
    """Import what takes longer than most of the tests, and nothing of the checkout."""
    os.environ["OMP_NUM_THREADS"] = "1"  # the mutants share the cores
    # Two texts of a file within a second have one time stamp.
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    for name in IMPORTED:
        with suppress(ImportError):
            import_module(name)


def start_tests(tree: Path, tests: str, slow: bool = False) -> int:
    """The process id of a child that runs them in ``tree``; what it prints goes to a file there."""
    if child := os.fork():
        return child
    status = BROKEN
    try:
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        os.environ["PYTHONPATH"] = str(tree)  # of the children that tests start
        with open(tree / OUTPUT, "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        signal.alarm(LONGEST)
        arguments = ["-x", "-q", "-rfE", "-n", "0", "--tb=line", "-p", "no:cacheprovider"]
        status = pytest.main([*arguments, *([] if slow else ["-m", "not slow"]), *tests.split()])
        sys.stdout.flush()
    finally:
        os._exit(status)


def first_failure(tree: Path, status: int) -> str:
    """The first test that failed, or "" if all passed; ``status`` is what the child ended with."""
    status = os.waitstatus_to_exitcode(status)
    if status == PASSED:
        return ""
    if status == -signal.SIGALRM:
        return f"no end in {LONGEST} s"
    output = (tree / OUTPUT).read_text()
    first = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", output, re.MULTILINE)
    if first is None:
        raise OutOfDate(f"pytest ended with {status}:\n{output}")
    return first.group(1)


def check_without_mutants(mutants: Sequence[Mutant], tree: Path) -> None:
    """Raises OutOfDate if an old text is gone, or if a test fails or is not of ``tree``'s code."""
    for mutant in mutants:
        mutated(mutant, (tree / mutant.file).read_text())
    (tree / "tests/test_whose_code.py").write_text(WHOSE_CODE.format(tree=tree))
    for slow in {mutant.slow for mutant in mutants}:
        names = sorted({name for m in mutants if m.slow == slow for name in m.tests.split()})
        child = start_tests(tree, " ".join(["tests/test_whose_code.py", *names]), slow)
        if failed := first_failure(tree, os.waitpid(child, 0)[1]):
            raise OutOfDate(f"{failed} fails without any mutant")


def copy_checkout(tree: Path) -> None:
    """What the tests need of it; bytecode of the unchanged code is left behind."""
    tree.mkdir()
    no_bytecode = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=no_bytecode)
        else:
            shutil.copy(ROOT / name, tree)


def outcomes(mutants: Sequence[Mutant], jobs: int) -> Iterator[Outcome]:
    """Of each, as they come in."""
    with tempfile.TemporaryDirectory() as temporary:
        trees = [Path(temporary).resolve() / str(job) for job in range(min(jobs, len(mutants)))]
        for tree in trees:
            copy_checkout(tree)
        print("the tests without a mutant", flush=True)
        check_without_mutants(mutants, trees[0])
        waiting, running = list(mutants), {}
        while waiting or running:
            while waiting and trees:
                mutant, tree = waiting.pop(0), trees.pop()
                file = tree / mutant.file
                whole = file.read_text()
                file.write_text(mutated(mutant, whole))
                child = start_tests(tree, mutant.tests, mutant.slow)
                running[child] = mutant, tree, whole
            child, status = os.wait()
            mutant, tree, whole = running.pop(child)
            (tree / mutant.file).write_text(whole)
            trees.append(tree)
            yield Outcome(mutant, first_failure(tree, status))


def report(found: dict[str, Outcome]) -> str:
    """The list with what came of it, as Markdown, in the list's order."""
    noticed = sum(bool(o.by) for o in found.values())
    lines = [
        "# Mutation testing",
        "",
        "Errors that somebody could make, each made alone, and the first test that fails then",
        "(`python tests/mutants.py --write`). All tests but those of processes are fast ones.",
        "",
        f"{len(found)} mutants: {noticed} noticed, "
        f"{sum(bool(o.mutant.equivalent) for o in found.values())} equivalent, "
        f"{sum(not o.right for o in found.values())} unexplained.",
    ]
    for area, mutants in AREAS.items():
        lines += ["", f"## {area[0].upper()}{area[1:]} ({len(mutants)})", ""]
        lines += ["| error | in | noticed by |", "|---|---|---|"]
        for mutant in mutants:
            by = found[mutant.name].by.removeprefix("tests/").replace("|", "\\|")
            why = f"`{by}`" if by else f"equivalent: {mutant.equivalent}"
            lines.append(f"| {mutant.name} | `{mutant.file}` | {why} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only mutants with one of these in name or file")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (default 2)")
    parser.add_argument("--write", action="store_true", help=f"write {OUTCOME}")
    arguments = parser.parse_args()
    mutants = chosen(arguments.words)
    if not mutants:
        parser.error(f"no mutant has {' or '.join(arguments.words)} in its name or file")
    if arguments.write and arguments.words:
        parser.error("--write is for all mutants")
    prepare_for_forks()
    found: dict[str, Outcome] = {}
    started = time.monotonic()
    try:
        for outcome in outcomes(mutants, arguments.jobs):
            found[outcome.mutant.name] = outcome
            seconds = time.monotonic() - started
            place = f"[{len(found)}/{len(mutants)}] {seconds:.0f} s"
            print(f"{place}  {outcome.mutant.name}: {outcome}", flush=True)
    except OutOfDate as error:
        print(error, file=sys.stderr)
        return 2
    wrong = [o for o in found.values() if not o.right]
    for outcome in wrong:
        print(f"{outcome.mutant.file}: {outcome.mutant.name}: {outcome}")
    print(f"{len(found)} mutants, {len(wrong)} unexplained")
    if arguments.write:
        (ROOT / OUTCOME).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / OUTCOME).write_text(report(found))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
