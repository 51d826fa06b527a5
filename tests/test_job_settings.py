"""What the scripts of tables and studies are told beside a table's or a study's own settings."""

import pytest
from conftest import CONFIGS
from hydra import compose, initialize_config_dir

from gnp.jobs import choose_slots
from gnp.settings import ConfigError
from gnp.settings.job import (
    StudyJobSettings,
    TableJobSettings,
    TableRenderSettings,
    load,
    setting_names_of,
)
from gnp.studies import StudySpec
from gnp.tables import TableSpec
from gnp.tuning import TuningSpec

RENDERING = ("render_table", TableSpec, TableRenderSettings)
KINDS = [
    ("reproduce_table", TableSpec, TableJobSettings),
    ("parameter_study", StudySpec, StudyJobSettings),
    ("tune", TuningSpec, StudyJobSettings),
]


def loaded(script, series, jobs, *settings):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return load(compose(script, list(settings)), series, jobs)


@pytest.mark.parametrize(("script", "series", "jobs"), [*KINDS, RENDERING])
def test_a_scripts_config_has_each_setting_with_its_default(script, series, jobs):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose(script)
    assert set(composed) == {*jobs.model_fields, series.kind}
    for name, default in jobs().model_dump().items():
        assert composed[name] == default


@pytest.mark.parametrize(("script", "series", "jobs"), [*KINDS, RENDERING])
def test_the_command_lines_overrides_come_after_the_series_own(script, series, jobs):
    own = f"{series.kind}.overrides=['training.epochs=1']"
    spec, how = loaded(script, series, jobs, own, "overrides=['training.epochs=2']")
    assert spec.overrides == ["training.epochs=1", "training.epochs=2"]
    assert isinstance(spec, series)
    assert how.root == "outputs"


@pytest.mark.parametrize(("script", "series", "jobs"), KINDS)
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("device=gpu", "device is gpu; expected one of auto, cpu, cuda"),
        ("jobs=0", "jobs is 0; expected from 1 to 1024 or null"),
        ("jobs=x", "jobs: Value 'x' of type 'str' could not be converted to Integer"),
        ("+jbos=2", "no setting 'jbos'. Did you mean 'jobs'?"),
        ("max_hours=2", "max_hours is for plan=true, which only shows; set both"),
        ("plan_gpu=H100", "plan_gpu is for plan=true"),
        ("plan_utilisation=0.3", "plan_utilisation is of a GPU that plan_gpu=… names; set both"),
        ("plan_gpu=H10", "plan_gpu is H10; expected one of V100, T4, "),
        ("plan_gpu=H10", "Did you mean 'H100'?"),
        ("plan_gpu='²xH100'", "plan_gpu is ²xH100; expected one of V100, T4, "),
        ("max_hours=0", "max_hours is 0.0; expected positive"),
    ],
)
def test_a_wrong_one_is_refused(script, series, jobs, setting, words):
    with pytest.raises(ConfigError) as refused:
        loaded(script, series, jobs, setting)
    assert words in str(refused.value)


def test_a_study_is_planned_or_rendered():
    for setting in ("plan", "dry_run"):
        with pytest.raises(ConfigError, match=f"{setting}=true writes nothing and render_only=tru"):
            loaded(*KINDS[1], f"{setting}=true", "render_only=true")


@pytest.mark.parametrize("setting", ["min_seeds=8", "max_seeds=10"])
def test_limits_of_seeds_are_for_a_table_that_adds_them(setting):
    with pytest.raises(ConfigError, match=f"{setting[:9]} is for until=decided; set both"):
        loaded(*KINDS[0], setting)
    loaded(*KINDS[0], setting, "until=decided")


def test_every_name_of_a_script_is_known():
    names = setting_names_of(StudySpec, StudyJobSettings)
    assert {"root", "render_only", "study", "study.name", "study.alpha"} <= set(names)
    assert "render_only" not in setting_names_of(TableSpec, TableJobSettings)


def test_gpus_that_are_wanted_must_be_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match="device=cuda, but torch sees no GPU"):
        choose_slots("cuda", None)
    assert {slot.settings[-1] for slot in choose_slots("auto", 2)} == {"runtime.device=cpu"}
