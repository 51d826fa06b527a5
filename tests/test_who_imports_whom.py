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
        ("jobs", ["gnp.tables", "gnp.studies", "gnp.tuning", "gnp.report"]),
        ("report", ["gnp.tables", "gnp.studies", "gnp.tuning"]),
        ("tables", ["gnp.studies", "gnp.tuning"]),
        ("studies", ["gnp.tables", "gnp.tuning"]),
        ("tuning", ["gnp.tables", "gnp.studies"]),
    ],
)
def test_rooms_import_one_way(room, may_not_import):
    for file in (ROOT / "gnp" / room).glob("*.py"):
        names = {name for name in imported(file) if not is_in(name, [f"gnp.{room}"])}
        assert not {name for name in names if is_in(name, may_not_import)}, file


def test_what_reads_records_imports_no_torch():
    rooms = ("jobs", "report", "statistics", "studies", "tables", "tuning", "settings.job")
    rooms += ("dashboards.export", "dashboards.seen", "studies.why.carry")
    files = [f"gnp.report.{file.stem}" for file in (ROOT / "gnp/report").glob("[a-z]*.py")]
    modules = ", ".join([*(f"gnp.{room}" for room in rooms), *files])
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "matplotlib.pyplot"} & set(done.stdout.split())


MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("gnp", "models")
    for file in sorted((ROOT / package).rglob("*.py"))
}


def test_no_two_files_import_each_other_even_by_a_detour():
    imports = {
        module: {n for n in imported(file) if n in MODULES and n != module}
        for module, file in MODULES.items()
        if module != "gnp"  # which imports the optimizer when it is asked for it
    }
    left = dict(imports)
    while free := [m for m, names in left.items() if not names & left.keys()]:
        for module in free:
            del left[module]
    assert not left


@pytest.mark.parametrize(
    ("room", "may_import"),
    [
        ("gnp.errors", []),
        ("gnp.machine", []),
        ("gnp.screen", []),
        ("gnp.interruptions", []),
        ("gnp.files", ["gnp.errors", "gnp.machine"]),
        ("gnp.settings", ["gnp.errors"]),
        ("gnp.optim", []),
        ("models", []),
        ("gnp.data", ["gnp.settings", "gnp.errors", "gnp.files"]),
        ("gnp.tracking", ["gnp.settings", "gnp.errors", "gnp.files", "gnp.interruptions"]),
        (
            "gnp.jobs",
            [
                "gnp.settings",
                "gnp.tracking",
                "gnp.statistics",
                "gnp.errors",
                "gnp.cli",
                "gnp.files",
                "gnp.screen",
            ],
        ),
        (
            "gnp.dashboards",
            ["gnp.settings", "gnp.tracking", "gnp.tables", "gnp.data", "gnp.errors"],
        ),
        (
            "gnp.benchmarks",
            [
                "gnp.settings",
                "gnp.optim",
                "gnp.data",
                "gnp.tracking",
                "gnp.training",
                "gnp.errors",
                "gnp.jobs",
                "gnp.interruptions",
                "gnp.files",
                "gnp.tables",
                "models",
            ],
        ),
    ],
)
def test_what_a_room_may_import(room, may_import):
    for module, file in MODULES.items():
        if is_in(module, [room]):
            ours = {name for name in imported(file) if is_in(name, ["gnp", "models", "scripts"])}
            assert not {name for name in ours if not is_in(name, [room, *may_import])}, file


@pytest.mark.parametrize("room", ["gnp.benchmarks", "gnp.dashboards"])
def test_nothing_in_the_library_needs_a_benchmark_or_a_dashboard(room):
    for module, file in MODULES.items():
        if not is_in(module, [room]):
            assert not {n for n in imported(file) if is_in(n, [room])}, file


def lines_without_docstrings(node, source):
    """Lines of a module, class or function, less those of the docstrings in it."""
    lines = len(source.splitlines()) if isinstance(node, ast.Module) else _lines(node)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    inner = [n for n in ast.walk(node) if isinstance(n, documented)]
    return lines - sum(_lines(n.body[0]) for n in inner if ast.get_docstring(n) is not None)


def _lines(node):
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("file", sorted((ROOT / "gnp").rglob("*.py")), ids=lambda f: f.stem)
def test_every_file_is_read_in_one_sitting(file):
    source = file.read_text()
    limits = {ast.Module: 350, ast.ClassDef: 250, ast.FunctionDef: 50}
    for node in ast.walk(ast.parse(source)):
        if (limit := limits.get(type(node))) is not None:
            assert lines_without_docstrings(node, source) <= limit, getattr(node, "name", file)
