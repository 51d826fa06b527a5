"""What a command line that Hydra cannot compose is told: each wrong name, and how it is written."""

import pytest
from conftest import CONFIGS
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from gnp.jobs import WantedConfigs
from gnp.settings import ConfigError, setting_names
from gnp.settings.job import TableJobSettings, TableRenderSettings, load, setting_names_of
from gnp.settings.messages import suggest
from gnp.settings.refusals import Names, WrongOption, name_all_refused, refusal, refuse_dashes
from gnp.tables import TableSpec

RUN = Names(setting_names())
TABLE = Names(setting_names_of(TableSpec, TableJobSettings), setting_names())
RENDERED = Names(
    setting_names_of(TableSpec, TableRenderSettings),
    setting_names(),
    setting_names_of(TableSpec, TableJobSettings),
)


@pytest.fixture(autouse=True)
def all_refused(monkeypatch):
    name = "_apply_overrides_to_config"
    monkeypatch.setattr(ConfigLoaderImpl, name, getattr(ConfigLoaderImpl, name))  # put back
    name_all_refused()


def said(script, names, *overrides):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            compose(script, list(overrides))
        except Exception as error:
            return refusal(error, names)
    raise AssertionError(f"{overrides} is accepted")


def test_all_unknown_settings_of_a_run_are_named_each_with_its_suggestion():
    assert said("train", RUN, "training.epoch=3", "seed=1", "optimizer.rr=0.1", "zzz=1") == (
        "there is no setting 'training.epoch'. Did you mean 'training.epochs'?\n"
        "there is no setting 'optimizer.rr'. Did you mean 'optimizer.r'?\n"
        "there is no setting 'zzz'."
    )


def test_all_unknown_settings_in_overrides_of_a_series_are_named():
    given = "overrides=['training.epoch=3','optimizer.rr=0.1']"
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        spec, how = load(compose("reproduce_table", [given]), TableSpec, TableJobSettings)
        with pytest.raises(ConfigError) as refused:
            WantedConfigs(spec, how.root)(next(spec.runs()))
    assert str(refused.value).splitlines() == [
        "there is no setting 'training.epoch'. Did you mean 'training.epochs'?",
        "there is no setting 'optimizer.rr'. Did you mean 'optimizer.r'?",
    ]


@pytest.mark.parametrize(
    ("script", "names", "word", "meant"),
    [
        ("train", RUN, "gnp", "write optimizer=gnp"),
        ("train", RUN, "GNP", "write optimizer=gnp"),
        ("train", RUN, "sgd", "write optimizer=sgd or base=sgd"),
        ("train", RUN, "mini/vgg16_bn", "write experiment=mini/vgg16_bn"),
        ("train", RUN, "none", "write augmentation=none"),
        ("train", RUN, "epochs", "write training.epochs=…"),
        ("train", RUN, "nothing_of_ours", "--help lists the names."),
        ("reproduce_table", TABLE, "quickstart", "write table=quickstart"),
        ("reproduce_table", TABLE, "slurm", "write cluster=slurm"),
    ],
)
def test_a_word_by_itself_is_told_what_it_may_be_the_value_of(script, names, word, meant):
    assert said(script, names, word) == f"{word}: settings are written name=value; {meant}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("training.epochs=3", "no setting 'training.epochs' here: runs are given it by "
         "\"overrides=['training.epochs=3']\""),
        ("epochs=3", "runs are given it by \"overrides=['training.epochs=3']\""),
        ("training.epoch=3", "Did you mean 'training.epochs'? If so, runs are given it by "
         "\"overrides=['training.epochs=3']\""),
        ("data_root='/a b'", "runs are given it by \"overrides=['data_root=…']\""),
        ("seed=3", "Did you mean 'table.seeds'?"),
        ("tabel=all", "Did you mean 'table'?"),
    ],
)  # fmt: skip
def test_a_setting_of_runs_is_told_how_a_table_gives_it(given, words):
    message = said("reproduce_table", TABLE, given)
    assert message.endswith(words)
    assert ("overrides" in message) == ("overrides" in words)


def test_a_setting_with_dashes_is_told_how_a_table_gives_it():
    with pytest.raises(WrongOption) as refused:
        refuse_dashes(["--epochs", "3"], TABLE)
    assert "\"overrides=['training.epochs=3']\"" in str(refused.value)
    with pytest.raises(WrongOption, match=r"write jobs=3$"):
        refuse_dashes(["--jobs=3"], TABLE)


def test_a_script_that_trains_nothing_refuses_what_says_how():
    lines = said("render_table", RENDERED, "jobs=2", "plan=true", "cluster.time=1").splitlines()
    why = "says how runs are trained, and nothing is trained here; leave it out"
    assert lines == [f"{name} {why}" for name in ("jobs", "plan", "cluster.time")]
    assert said("render_table", RENDERED, "cluster=slurm") == f"cluster {why}"
    assert "Did you mean 'root'?" in said("render_table", RENDERED, "rot=x")


def test_an_unknown_network_is_told_how_timms_are_taken():
    message = said("train", RUN, "model=resnet50")
    assert message.endswith("taken by its name: model=timm model.name=resnet50")
    assert "timm model" not in said("train", RUN, "dataset=cifar")


def test_suggestions_do_not_mind_capitals():
    assert suggest("GNP", ["adamw", "gnp"]) == " Did you mean 'gnp'?"
    assert suggest("Training.Epoch", ["training.epochs"]) == " Did you mean 'training.epochs'?"
    assert "Did you mean 'vgg16_bn'?" in said("train", RUN, "model=VGG16_BN")
