"""The rooms of the house and the one way in which they import each other."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


def imported(file):
    """Dotted names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_in(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_script_imports_a_script(script):
    assert not imported(script) & {other.stem for other in SCRIPTS}


@pytest.mark.parametrize(
    ("room", "may_not_import"),
    [
        ("statistics", ["gnp"]),
        ("jobs", ["gnp.tables", "gnp.studies", "gnp.report"]),
        ("report", ["gnp.tables", "gnp.studies"]),
        ("tables", ["gnp.studies"]),
        ("studies", ["gnp.tables"]),
    ],
)
def test_rooms_import_one_way(room, may_not_import):
    for file in (ROOT / "gnp" / room).glob("*.py"):
        names = {name for name in imported(file) if not is_in(name, [f"gnp.{room}"])}
        assert not {name for name in names if is_in(name, may_not_import)}, file


def test_what_reads_records_imports_no_torch():
    rooms = ("jobs", "report", "statistics", "studies", "tables", "settings.job")
    files = [f"gnp.report.{file.stem}" for file in (ROOT / "gnp/report").glob("[a-z]*.py")]
    modules = ", ".join([*(f"gnp.{room}" for room in rooms), *files])
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "matplotlib.pyplot"} & set(done.stdout.split())
