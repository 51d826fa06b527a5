"""Command lines that nobody would write: each is a valid config, or refused in one message.

``GNP_EXAMPLES=5000`` tries so many of each script, in place of 530 in all.
"""

import os

import pytest
from conftest import CONFIGS
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnp.errors import UserError
from gnp.settings import Config, setting_names, validate
from gnp.settings.job import (
    StudyJobSettings,
    TableJobSettings,
    TableRenderSettings,
    load,
    setting_names_of,
)
from gnp.settings.refusals import Names, refusal
from gnp.studies import StudySpec
from gnp.studies.why.spec import StepLengthSpec
from gnp.tables import TableSpec
from gnp.tuning import TuningSpec

EXAMPLES = int(os.environ.get("GNP_EXAMPLES", 0))
LEAN = [f"~hydra/{g}" for g in ("output", "launcher", "sweeper", "help", "hydra_help", "env")]

NUMBERS = ["0", "-1", "1", "2.0", "0.5", "inf", "-inf", "nan", "1e308", "1e-320", "-0.0"]
NUMBERS += ["12345678901234567890", "-9223372036854775809", "1_000", "0x10", "1e400", "true"]
TEXTS = ["null", "", "''", "abc", "é", "λ", "中文", "'a b'", "a/b", "../../x", "/x", ".", "..", "~"]
TEXTS += ["'a\\tb'", "'\ud800'", "a" * 300, "torch.nn.Identity", "os.system", "models.vgg.VGG"]
TEXTS += ["${seed}", "${nothing}", "${oc.env:NOBODY}", "${oc.env:", "???", "a,b", "cpu", "sgd"]
NESTED = ["[]", "[1]", "[a,null]", "[nan,1,1]", "{}", "{a:1}", "{a:{b:[1]}}", "[[1],{a:nan}]"]
VALUES = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from(NESTED), st.text(max_size=6)
)
SIGNS = st.sampled_from(["", "", "", "", "+", "++", "~"])


def command_lines(names):
    """One to three overrides of known names and of names that are nearly known."""
    odd = st.builds(lambda name, tail: name + tail, st.sampled_from(names), st.text("x.[]@/:1"))
    name = st.one_of(st.sampled_from(names), st.sampled_from(names), odd)
    override = st.builds(lambda sign, name, value: f"{sign}{name}={value}", SIGNS, name, VALUES)
    deletion = st.builds(lambda name: f"~{name}", name)
    anything = st.text(max_size=12)
    line = st.one_of(override, override, override, override, deletion, anything)
    return st.lists(line, min_size=1, max_size=3)


def outcome(script, overrides, accept, names):
    """What is accepted, or the message with which it is refused."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            return accept(compose(script, [*overrides]))
        except Exception as error:
            said = str(error) if isinstance(error, UserError) else refusal(error, Names(names))
            if not said:
                raise
    return None


ARGUMENTS = ["_target_", "width", "num_classes", "blocks", "dropout", "batch_norm", "_partial_"]
NAMES = [*setting_names(), *(f"model.{name}" for name in ARGUMENTS), "hydra.run.dir"]


def relaxed(share):
    return settings(
        max_examples=EXAMPLES or share,
        deadline=None,
        database=None,
        derandomize=not EXAMPLES,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.slow
@relaxed(180)
@given(command_lines(NAMES))
def test_a_command_line_of_a_run_is_valid_or_refused_in_one_message(overrides):
    config = outcome("train", [*LEAN, "experiment=quickstart", *overrides], validate, NAMES)
    assert config is None or isinstance(config, Config)


KINDS = {
    "render_table": (TableSpec, TableRenderSettings, ["parts", "parts.cnn", "parts.cnn.rows"]),
    "reproduce_table": (TableSpec, TableJobSettings, ["parts", "parts.cnn", "parts.cnn.rows"]),
    "parameter_study": (StudySpec, StudyJobSettings, []),
    "why_it_works": (StepLengthSpec, StudyJobSettings, []),
    "tune": (TuningSpec, StudyJobSettings, ["methods"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", KINDS)
def test_a_command_line_of_a_series_is_valid_or_refused_in_one_message(script):
    series, jobs, more = KINDS[script]
    names = [n for n in setting_names_of(series, jobs) if "<" not in n]
    names += [f"{series.kind}.{name}" for name in more]

    @relaxed(70)
    @given(command_lines(names))
    def each(overrides):
        accepted = outcome(
            script, [*LEAN, *overrides], lambda composed: load(composed, series, jobs), names
        )
        if accepted is not None:
            assert accepted[0].title
            assert [run.command(accepted[1].root, []) for run in accepted[0].runs()]

    each()
