"""How settings are defined, taken, refused and shown, apart from which there are."""

import re
import subprocess
import sys
from typing import Literal

import pytest
from conftest import ROOT

from gnp.settings import Composed, ConfigError, Section, checked, resolve, setting, validate
from gnp.settings.help import settings_help
from gnp.settings.section import expected, section_itself, unrecorded_of


class Oven(Section):
    degrees: float = setting(180.0, "how hot", gt=0, le=300)
    fan: bool = setting(False, "whether air is moved")
    heat: Literal["top", "bottom"] | None = setting(None, "where from")


class Kitchen(Section):
    cooks: int = setting(2, "how many", ge=1)
    name: str = setting(help="over the door")
    oven: Oven = setting(help="for bread")
    places: list[float] = setting([], "widths of tables")
    tools: dict[str, int] = setting({}, "how many of each")


def test_all_wrong_settings_are_said_at_once_a_line_each():
    oven = {"degrees": 500, "heat": "side", "fn": True}
    with pytest.raises(ConfigError) as error:
        checked(Kitchen, {"cooks": 0, "oven": oven}, also=["the bell is broken"])
    assert sorted(str(error.value).splitlines()) == [
        "cooks is 0; expected at least 1",
        "name is missing; expected a text",
        "oven.degrees is 500.0; expected above 0 to 300",
        "oven.heat is side; expected one of null, top, bottom",
        "the bell is broken",
        "there is no setting 'oven.fn'. Did you mean 'oven.fan'?",
    ]


def test_all_wrong_settings_of_a_run_are_said_at_once(compose_train):
    wrong = ["training.epochs=0", "optimizer.lr=-1", "+runtime.thraeds=2", "+recipe.gnp.alhpa=1"]
    with pytest.raises(ConfigError) as error:
        validate(compose_train(wrong))
    words = ["optimizer.lr is -1.0", "recipe.gnp.alhpa", "runtime.thraeds", "training.epochs is 0"]
    lines = str(error.value).splitlines()
    assert len(lines) == len(words)
    assert all(any(word in line for line in lines) for word in words)
    with pytest.raises(ConfigError, match=r"(?s)model\.widht.*optimizer\.base\.momentm"):
        validate(compose_train(["+model.widht=1", "+optimizer.base.momentm=1", "optimizer=sgd"]))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cooks": True}, r"cooks: Value 'True' of type 'bool' could not be converted to Integer"),
        ({"oven": {"degrees": True}}, r"oven\.degrees: Value 'True' .* to Float"),
        ({"places": [1.0, True]}, r"places: .* could not be converted to Float"),
        ({"oven": {"degrees": float("inf")}}, r"degrees is inf; expected above 0 to 300"),
        ({"oven": {"degrees": float("nan")}}, r"degrees is nan; expected above 0 to 300"),
        ({"places": [float("inf")]}, r"places is \[inf\]"),
        ({"cooks": 1.5}, r"cooks: Value '1\.5' of type 'float' could not be converted to Integer"),
        ({"places": ["wide"]}, r"places\[0\]: Value 'wide' of type 'str' .* Float"),
        ({"oven": 5}, r"oven: Value '5' of type 'int' could not be converted to Mapping"),
    ],
)
def test_what_is_no_number_or_none_of_this_world_is_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        checked(Kitchen, {"name": "mine", "oven": {}, **values})


def test_a_text_that_is_a_number_is_taken_for_one(compose_train, monkeypatch):
    """What an environment variable holds is always a text."""
    monkeypatch.setenv("EPOCHS", "7")
    monkeypatch.setenv("RATE", "2e-3")
    settings = ["training.epochs=${oc.env:EPOCHS}", "optimizer.lr=${oc.env:RATE}"]
    config = resolve(compose_train(settings))
    assert (config.training.epochs, config.optimizer.lr) == (7, 2e-3)
    monkeypatch.setenv("EPOCHS", "seven")
    with pytest.raises(ConfigError, match=r"training\.epochs: Value 'seven' of type 'str'"):
        resolve(compose_train(settings))


def test_a_variable_that_is_not_set_is_named_with_the_setting(compose_train):
    with pytest.raises(ConfigError, match=r"training\.epochs: .*EPOCHS_OF_NOBODY"):
        resolve(compose_train(["training.epochs=${oc.env:EPOCHS_OF_NOBODY}"]))


def test_help_has_a_line_for_each_setting_with_its_value_and_range():
    values = {"cooks": 3, "oven": {"heat": "top"}, "tools": {"knives": 4}}
    assert [re.sub(" +", " ", line) for line in settings_help(Kitchen, values).splitlines()] == [
        "cooks: 3 how many [at least 1]",
        "name: (not set) over the door",
        "",
        "oven: for bread",
        "oven.degrees: 180.0 how hot [above 0 to 300]",
        "oven.fan: false whether air is moved",
        "oven.heat: top where from [one of null, top, bottom]",
        "places: [] widths of tables",
        "tools: how many of each",
        "tools.knives: 4",
    ]


def definitions(section, prefix=""):
    """(dotted name, field) of each setting that is no section."""
    for key, field in section.model_fields.items():
        if (own := section_itself(field.annotation)) is not None:
            yield from definitions(own, f"{prefix}{key}.")
        else:
            yield prefix + key, field


def test_each_setting_of_a_run_says_what_it_does_and_what_it_can_be():
    for name, field in definitions(Composed):
        assert field.description, name
        assert len(field.description) <= 100, name
        assert expected(field) != "another value", name


@pytest.mark.slow
def test_train_shows_each_setting_with_its_composed_value_and_range():
    done = subprocess.run(
        [sys.executable, "scripts/train.py", "--help", "optimizer=sam", "training.epochs=17"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = re.sub(r"\s+", " ", done.stdout)
    for name, field in definitions(Composed):
        assert f" {name}: " in shown
        assert field.description in shown
    for words in (
        "optimizer.alpha: 1.0 share of the second gradient",
        "[from 0 to 1]",
        "training.epochs: 17 passes over the training images [at least 1]",
        "[one of fp32, bf16, fp16]",
        "model.num_classes: 10",
    ):
        assert words in shown


@pytest.mark.parametrize("module", ["gnp.settings", "gnp.settings.help", "gnp.tables"])
def test_settings_and_tables_import_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_settings_import_nothing_of_ours_but_the_base_of_errors():
    code = (
        "import sys, gnp.settings.help, gnp.settings; "
        "print(*(m for m in sys.modules if m.startswith('gnp.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True
    )
    others = {m for m in done.stdout.split() if not m.startswith("gnp.settings")}
    assert others == {"gnp.errors"}


def test_a_record_that_does_not_name_a_setting_keeps_its_meaning_when_the_default_changes():
    class Changed(Section):
        rate: float = setting(0.5, "changed from 0.1", before=0.1)
        steps: int = setting(3, "as it always was")

    assert unrecorded_of(Changed) == {"rate": 0.1, "steps": 3}
    assert Changed().rate == 0.5
