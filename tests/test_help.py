"""What each script's --help says is true: its commands are accepted, its lines fit a terminal."""

import argparse
import itertools
import re
import runpy
import shlex
import sys

import pytest
from conftest import CONFIGS, ROOT, printed_in_80_columns
from hydra import compose, initialize_config_dir

from gnp.settings import validate
from gnp.settings.job import StudyJobSettings, TableJobSettings, TableRenderSettings, load
from gnp.settings.overrides import parsed, quoted
from gnp.studies import StudySpec
from gnp.studies.why.spec import spec_class
from gnp.tables import TableSpec
from gnp.tables.outputs import write_outputs
from gnp.tuning import TuningSpec

SERIES = {
    "reproduce_table": (lambda composed: TableSpec, TableJobSettings),
    "render_table": (lambda composed: TableSpec, TableRenderSettings),
    "tune": (lambda composed: TuningSpec, StudyJobSettings),
    "parameter_study": (lambda composed: StudySpec, StudyJobSettings),
    "why_it_works": (lambda composed: spec_class(composed.why), StudyJobSettings),
}
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
OTHERS = [name for name in SCRIPTS if name not in (*SERIES, "train")]


def help_of(script):
    return printed_in_80_columns(f"{script}.py", "--help")


def commands_in(text):
    """(script, arguments) of each; one may go on in a further line."""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip().startswith("python scripts/"):
            words = shlex.split(re.split("[;>]", line)[0], comments=True)
            yield words[1].removeprefix("scripts/").removesuffix(".py"), words[2:]


@pytest.fixture
def tuned(tmp_path):
    """A folder of configs like those that a tuning writes."""
    file = tmp_path / "experiment/tuned/smoke.yaml"
    file.parent.mkdir(parents=True)
    file.write_text((CONFIGS / "experiment/quickstart.yaml").read_text())
    return tmp_path


def refuse_what_is_wrong(script, arguments, tuned):
    """Compose a command line of Hydra's, a sweep's each job, and check what is composed."""
    further = []
    if "--config-dir" in arguments:
        at = arguments.index("--config-dir")
        assert arguments[at + 1] == "outputs/tunings/smoke/configs"
        arguments = [*arguments[:at], *arguments[at + 2 :]]
        further = [f"hydra.searchpath=[{quoted(f'file://{tuned}')}]"]
    given = [one for one in arguments if one != "-m"]
    jobs = [
        list(one.sweep_string_iterator()) if one.is_sweep_override() else [text.partition("=")[2]]
        for one, text in zip(parsed(given), given, strict=True)
    ]
    names = [text.partition("=")[0] for text in given]
    for values in itertools.product(*jobs):
        line = [f"{name}={value}" for name, value in zip(names, values, strict=True)]
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            composed = compose(script, [*line, *further])
            if script == "train":
                validate(composed)
            else:
                series, jobs_of = SERIES[script]
                load(composed, series(composed), jobs_of)


class Accepted(BaseException):
    """The arguments are parsed; nothing more is to be done."""


@pytest.fixture
def parsers(monkeypatch):
    """Scripts end where they have parsed their arguments; the parsers that they did it with."""
    seen = []
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self, *arguments):
        seen.append(self)
        parse(self, *arguments)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
    return seen


def parse_only(monkeypatch, script, arguments):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
    with pytest.raises(Accepted):
        runpy.run_path(str(ROOT / f"scripts/{script}.py"), run_name="__main__")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_fits_80_columns_and_its_commands_are_accepted(
    script, tuned, parsers, monkeypatch
):
    text = help_of(script)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    commands = list(commands_in(text))
    assert commands
    for name, arguments in commands:
        if name in OTHERS:
            parse_only(monkeypatch, name, arguments)
        else:
            refuse_what_is_wrong(name, arguments, tuned)


@pytest.mark.slow
@pytest.mark.parametrize("script", OTHERS)
def test_every_option_says_what_it_is(script, parsers, monkeypatch):
    with pytest.raises(SystemExit):  # of --help itself
        parse_only(monkeypatch, script, ["--help"])
    todo = [*parsers]
    while todo:
        for action in todo.pop()._actions:
            if isinstance(action, argparse._SubParsersAction):
                todo += action.choices.values()
            elif action.help is not argparse.SUPPRESS:
                assert action.help, action.option_strings
                assert not action.help.startswith("("), action.option_strings


def files_in_help(script):
    text = (CONFIGS / f"{script}.yaml").read_text().split("template: |")[1]
    return set(re.findall(r"\b\w+\.(?:md|csv|tex|svg|html)\b", text.split("python")[0]))


@pytest.mark.parametrize("script", ["reproduce_table", "render_table"])
def test_the_help_names_each_file_that_a_table_has(script, a_table):
    assert files_in_help(script) == {path.name for path in write_outputs(a_table)}


@pytest.fixture
def a_table(tmp_path):
    from test_comparisons import make

    return make(tmp_path)


@pytest.mark.slow
def test_the_help_of_rendering_lists_no_setting_of_training():
    text = help_of("render_table")
    listed = {line.split(":")[0] for line in text.split("Settings:")[1].splitlines() if line[:1]}
    assert {"root", "overrides", "until", "min_seeds", "max_seeds", "table.name"} <= listed
    assert not {"jobs", "device", "retries", "plan", "cluster", "dry_run", "locks"} & listed
    assert "missing ones are trained" not in text


def test_a_root_is_taken_with_and_without_its_name(parsers, monkeypatch):
    for script in ("list_runs", "report", "wandb_export", "wandb_dashboard"):
        for text in ("results", "root=results"):
            parse_only(monkeypatch, script, [text])
            assert parsers[-1]._actions[1].dest == "root"
            assert parsers[-1]._actions[1].type(text) == "results"
