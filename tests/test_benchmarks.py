"""What the benchmarks share."""

import csv
import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from gnp.benchmarks import timing
from gnp.benchmarks.results import markdown_table, write_results
from gnp.benchmarks.timing import take_turns, to_baseline

CPU = torch.device("cpu")


def test_methods_take_turns_after_a_warm_up():
    called = []
    steps = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = take_turns(steps, rounds=2, count=3, device=CPU)
    assert "".join(called) == "aabb" + "aaabbb" * 2
    assert {name: len(own) for name, own in seconds.items()} == {"a": 2, "b": 2}


def test_seconds_are_of_a_step(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert timing.time_steps(lambda: None, 3, CPU) == 2.0


def test_ratios_are_within_a_round():
    """A machine that is ten times slower in the second round changes no ratio."""
    assert to_baseline([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == {
        "ms": 3000.0,
        "ratio": 2.0,
        "lowest": 2.0,
        "highest": 3.0,
    }


def test_results_are_written_with_what_they_are_of(tmp_path):
    results = {"step": {"SGD": {"ms": 1.5}, "GNP": {"ms": 3.0, "MB": 2.0}}}
    write_results(
        tmp_path / "new",
        "benchmark",
        settings={"width": 1},
        environment={"device": "cpu"},
        results=results,
        markdown=markdown_table(["method", "ms"], [["SGD", "1.5"]]),
        columns=["ms", "MB"],
    )
    whole = json.loads((tmp_path / "new/benchmark.json").read_text())
    assert whole == {
        "settings": {"width": 1},
        "environment": {"device": "cpu"},
        "results": results,
    }
    rows = list(csv.reader((tmp_path / "new/benchmark.csv").read_text().splitlines()))
    assert rows[1:] == [["step", "SGD", "1.5", ""], ["step", "GNP", "3.0", "2.0"]]
    assert (tmp_path / "new/benchmark.md").read_text().splitlines()[1] == "|---|---:|"


@pytest.mark.slow
def test_starts_and_growth_are_measured_on_real_runs_and_records(tmp_path):
    command = ["scripts/benchmark.py", "starts", "growth", "--rounds", "1", "--records", "6"]
    done = subprocess.run(
        [sys.executable, *command, "--output", tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    starts = json.loads((tmp_path / "starts.json").read_text())["results"]["starts"]
    assert starts["a tiny run, a process"]["in imports of torch"] > 0
    assert starts["a run in a pool, to the first epoch"]["seconds"] > 0
    growth = json.loads((tmp_path / "growth.json").read_text())["results"]
    processes = {"reproduce_table.py", "render_table.py", "list_runs.py", "report.py"}
    processes.add("import torch")
    assert {part: set(measured) for part, measured in growth.items()} == {
        "6 records": processes,
        "60 records": processes,
        "6 records, 60 images": processes,
    }
    for measured in growth.values():
        assert all(n["MB"] > 0 for n in measured.values())
        assert all(n["lowest"] <= n["seconds"] <= n["highest"] for n in measured.values())
