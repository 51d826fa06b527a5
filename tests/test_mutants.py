"""The list of mutants fits the code as it is; the command says what no test notices."""

import subprocess
import sys

import mutants
import pytest
from conftest import ROOT
from mutant_list import AREAS, MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_changes_its_file_in_one_place(mutant):
    text = (ROOT / mutant.file).read_text()
    assert mutants.mutated(mutant, text) != text
    assert all((ROOT / name.split("::")[0]).exists() for name in mutant.tests.split())


def test_there_are_enough_each_with_a_name_of_its_own():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 80
    assert all(len(of_area) >= 3 for of_area in AREAS.values())


@pytest.mark.parametrize("text", ["b = 1", "a = 1; a = 1"])
def test_an_old_text_that_is_gone_or_ambiguous_is_refused(text):
    with pytest.raises(mutants.OutOfDate, match=r"times in x\.py"):
        mutants.mutated(Mutant("m", "x.py", "a = 1", "a = 2", "t.py"), text)


def checkout(folder, function):
    """Of one function with one test."""
    for name in ("gnp", "tests"):
        (folder / name).mkdir()
    (folder / "gnp/__init__.py").write_text(f"def double(x):\n    return {function}\n")
    test = "from gnp import double\ndef test_two():\n    assert double(2) == 4\n"
    (folder / "tests/test_it.py").write_text(test)
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['slow: s']\n")


COMMAND = """
import sys
from pathlib import Path
import mutants
from mutant_list import Mutant
mutants.ROOT, mutants.COPIED = Path(sys.argv[1]), ("gnp", "tests", "pyproject.toml")
mutants.IMPORTED = ["hypothesis"]
mutants.MUTANTS = [
    Mutant(f"m{i}", "gnp/__init__.py", "x + x", new, "tests/test_it.py", equivalent)
    for i, (new, equivalent) in enumerate(zip(sys.argv[2::2], sys.argv[3::2]))
]
sys.argv[1:] = []
sys.exit(mutants.main())
"""


def command(folder, *mutants_and_reasons):
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(folder), *mutants_and_reasons],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_command_tells_noticed_from_not_noticed(tmp_path):
    checkout(tmp_path, "x + x")
    status, said = command(tmp_path, "x * 3", "", "x * x", "4 is 2 times 2")
    assert status == 0, said
    assert "m0: noticed by tests/test_it.py::test_two" in said
    assert "m1: equivalent: 4 is 2 times 2" in said
    status, said = command(tmp_path, "x * x", "", "x * 3", "no reason", "x *", "")
    assert status == 1, said
    assert "m0: NOT NOTICED" in said
    assert "m1: noticed by tests/test_it.py::test_two, which the list says cannot be" in said
    assert "m2: noticed by tests/test_it.py\n" in said
    assert "3 mutants, 2 unexplained" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "words"),
    [("x + x + 1", "test_two fails without any mutant"), ("2 * x", "its old text is 0 times in")],
)
def test_a_list_that_does_not_fit_the_code_is_out_of_date(tmp_path, function, words):
    checkout(tmp_path, function)
    status, said = command(tmp_path, "x * 3", "")
    assert status == 2
    assert words in said
