"""Every config composes, and a wrong setting is refused with a suggestion."""

import itertools
import subprocess
import sys
from collections import defaultdict

import pytest
import torch
import yaml
from conftest import CONFIGS, PATIENCE, ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate

from gnp.optim.momentum import ALONG
from gnp.optim.passes import BATCH_STATISTICS
from gnp.optim.schedules import WARMUPS
from gnp.settings import (
    Config,
    ConfigError,
    OptimizerSettings,
    checked,
    epochs_before_penalty,
    resolve,
    run_path,
    setting_names,
    to_plain,
    validate,
)
from gnp.settings.refusals import Names, WrongOption, refuse_dashes
from gnp.settings.section import choices_of
from gnp.studies import StudySpec
from gnp.studies.why.spec import spec_class
from gnp.tables import TableSpec
from gnp.tracking.compare import config_difference
from gnp.tuning import TuningSpec


def choices(group):
    files = sorted((CONFIGS / group).rglob("*.yaml"))
    files = [f for f in files if f.parent.name != "part"]  # of a table: composed by the tables
    return [str(f.relative_to(CONFIGS / group).with_suffix("")) for f in files]


EXPERIMENTS, DATASETS = choices("experiment"), choices("dataset")
AUGMENTATIONS, OPTIMIZERS, FIDELITIES = map(choices, ("augmentation", "optimizer", "fidelity"))
METHODS = list(itertools.product(OPTIMIZERS, FIDELITIES))


def combinations(number):
    """Of the experiment with this number: (data set, augmentation, (optimizer, fidelity)). Each
    experiment goes through the choices from a place of its own on: all of them with all would be a
    hundred times as many, at a tenth of a second each."""
    for i in range(max(map(len, (METHODS, AUGMENTATIONS, DATASETS)))):
        augmentation = AUGMENTATIONS[(i + number) % len(AUGMENTATIONS)]
        round_ = number // len(AUGMENTATIONS)
        dataset = DATASETS[(i + 2 * number + round_) % len(DATASETS)]
        yield dataset, augmentation, METHODS[i % len(METHODS)]


SUFFIX = {"paper": "", "official": "-official", "official_2022": "-official_2022"}
# Hydra's own groups are in no run's config; without them a composition takes a quarter less.
LEAN = [f"~hydra/{g}" for g in ("output", "launcher", "sweeper", "help", "hydra_help", "env")]


@pytest.fixture
def parsed_once(monkeypatch):
    """Each file's YAML is parsed once, which saves a composition a quarter of its time.

    OmegaConf builds nodes of its own from what the parser returns, so it may be shared.
    """
    load, known = yaml.load, {}

    def load_once(stream, Loader):  # OmegaConf makes a new class, the same, for each call
        key = stream if isinstance(stream, str) else stream.read(), Loader.__name__
        if key not in known:
            known[key] = load(key[0], Loader)
        return known[key]

    monkeypatch.setattr(yaml, "load", load_once)


@pytest.mark.slow
@pytest.mark.usefixtures("parsed_once")
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_with_each_choice_to_a_valid_run_with_a_place_of_its_own(
    compose_train, experiment
):
    """What ``--cfg job --resolve`` shows."""
    for dataset, augmentation, method in combinations(EXPERIMENTS.index(experiment)):
        optimizer, fidelity = method
        config = resolve(
            compose_train([
                f"experiment={experiment}",
                f"dataset={dataset}",
                f"augmentation={augmentation}",
                f"optimizer={optimizer}",
                f"fidelity={fidelity}",
                *LEAN,
            ])
        )  # fmt: skip
        # Tables find a run by these names: what a file calls itself is its file's name.
        place = f"{experiment}/{dataset}-{augmentation}/{optimizer}{SUFFIX[fidelity]}/seed0"
        assert str(run_path(config)) == place
        assert config.fidelity == fidelity
        assert config.model["num_classes"] == config.dataset.num_classes


def test_which_choices_meet_in_the_compositions():
    """An optimizer and a fidelity meet in each experiment and with each augmentation and data set;
    any two others at least once. Where this fails for a new choice, ``combinations`` has to step
    through them in another way."""
    met = [
        (experiment, *others)
        for number, experiment in enumerate(EXPERIMENTS)
        for others in combinations(number)
    ]
    of = (EXPERIMENTS, DATASETS, AUGMENTATIONS, METHODS)
    for one, other in itertools.combinations(range(len(of)), 2):
        assert {(row[one], row[other]) for row in met} == set(itertools.product(of[one], of[other]))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_every_experiment_is_valid_and_builds_its_network(compose_train, experiment, fidelity):
    config = validate(compose_train([f"experiment={experiment}", f"fidelity={fidelity}"]))
    with torch.device("meta"):
        assert sum(p.numel() for p in instantiate(config.model).parameters()) > 0


@pytest.mark.parametrize(
    ("experiment", "clip", "climbing"),
    [("wrn_28_10", 5.0, 64), ("pyramidnet_272_200_sd", 5.0, 64), ("vit_s16", 2.0, None)],
)
def test_the_code_of_2022_clips_adam_again_and_climbs_on_four_gpus(
    compose_train, experiment, clip, climbing
):
    of_2022, of_2024 = (
        resolve(compose_train([f"experiment={experiment}", f"fidelity={name}"]))
        for name in ("official_2022", "official")
    )
    assert of_2022.training.max_grad_norm == clip
    assert of_2022.training.sharpness_batch == climbing
    assert of_2024.training.sharpness_batch is None
    assert of_2022.optimizer == of_2024.optimizer
    same = {"max_grad_norm": 5.0, "sharpness_batch": None}
    assert of_2022.training.model_copy(update=same) == of_2024.training
    assert of_2022.method == "gnp-official_2022"


@pytest.mark.parametrize("experiment", ["pyramidnet_272_200_sd", "mini/pyramidnet_272_200_sd"])
@pytest.mark.parametrize("fidelity", ["official", "official_2022"])
def test_a_run_with_official_fidelity_has_the_augmentation_of_the_tables(
    compose_train, experiment, fidelity
):
    """The official code has no CutMix. What the command line names is taken."""
    table = compose("reproduce_table", ["table=all", f"table.fidelity={fidelity}"]).table
    spec = TableSpec.from_config(table)
    part = spec.parts["pyramidnet"]
    (column, *_), wanted = part.columns, [f"experiment={experiment}", f"fidelity={fidelity}"]
    (run, *_) = (r for r in spec.runs() if r.cell.row.experiment == "pyramidnet_272_200_sd")
    assert f"augmentation={column.official_augmentation}" in run.settings()
    assert resolve(compose_train(wanted)).augmentation.name == column.official_augmentation
    assert resolve(compose_train(wanted)).augmentation.mixing == "mixup"
    assert resolve(compose_train(wanted[:1])).augmentation.name == column.augmentation
    named = resolve(compose_train([*wanted, "augmentation=cutout"]))
    assert (named.augmentation.name, named.augmentation.mixing) == ("cutout", None)


def test_the_learning_rate_warms_up_where_the_penalty_does_in_the_2024_recipe(compose_train):
    for method in ("adamw", "sam", "gnp"):
        config = validate(compose_train(["experiment=vit_s16_warmup", f"optimizer={method}"]))
        assert config.training.lr_warmup_epochs == config.optimizer.penalty_warmup_epochs == 40


@pytest.mark.parametrize("model", choices("model"))
def test_every_model_config_builds_its_network(compose_train, model):
    config = validate(compose_train([f"model={model}"]))
    with torch.device("meta"):
        network = instantiate(config.model)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)


def test_a_setting_with_choices_has_those_of_the_code_that_it_goes_to():
    fields = OptimizerSettings.model_fields
    assert choices_of(fields["penalty_warmup"]) == WARMUPS
    assert choices_of(fields["batch_statistics"]) == BATCH_STATISTICS
    assert choices_of(fields["climb_along"]) == ALONG


def first_runs(name):
    """Of the first seed: the command's settings → the run's place."""
    spec = TableSpec.from_config(compose("reproduce_table", [f"table={name}"]).table)
    assert spec.name == name
    runs = [run for run in spec.runs() if run.seed == spec.seeds[0]]
    return {(*run.settings(), *spec.overrides): str(run.path) for run in runs}


@pytest.mark.parametrize("name", choices("table"))
def test_every_table_names_runs_that_exist(name):
    """Composing is slow: what a table with a later name has too is left to that one."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        later = [first_runs(other) for other in choices("table") if other > name]
        for settings, path in first_runs(name).items():
            if all(settings not in runs for runs in later):
                assert str(run_path(resolve(compose("train", list(settings))))) == path


SERIES = {  # script: its group, the class of what it composes there
    "reproduce_table": ("table", lambda composed: TableSpec),
    "parameter_study": ("study", lambda composed: StudySpec),
    "tune": ("tuning", lambda composed: TuningSpec),
    "why_it_works": ("why", spec_class),
}


def test_no_two_series_want_different_runs_in_one_place():
    """Else one of two commands that are given one after another is refused."""
    wanted = defaultdict(dict)  # place: {settings: names of the series}
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for script, (group, class_of) in SERIES.items():
            for name in choices(group):
                composed = compose(script, [f"{group}={name}"])[group]
                spec = class_of(composed).from_config(composed)
                for run in spec.runs():
                    settings = (*run.settings(), *spec.overrides)
                    wanted[run.path].setdefault(settings, []).append(f"{group}={name}")
        assert any(len(series) > 1 for by in wanted.values() for series in by.values())
        # One seed stands for all of a cell, and the same settings need no composition.
        cells = {path.parent: by for path, by in wanted.items() if len(by) > 1}
        for path, by in cells.items():
            first, *others = (to_plain(resolve(compose("train", [*LEAN, *s]))) for s in by)
            for settings, other in zip(list(by)[1:], others, strict=True):
                assert not config_difference(other, first), (path, by[settings])


def test_every_table_with_published_values_finds_one_for_each_cell(tmp_path):
    from gnp.tables import collect

    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        specs = [
            TableSpec.from_config(compose("reproduce_table", [f"table={n}"]).table)
            for n in choices("table")
        ]
    sizes = {}
    for spec in specs:
        printed = {cell for p in spec.parts.values() if p.published for cell in spec.cells_of(p)}
        of_third_parties = spec.name == "third_parties"  # who have no GNP, and two no SGD
        for cell, result in collect(spec, tmp_path).cells.items():
            known = cell in printed and not (of_third_parties and cell.method.label != "SAM")
            assert result.published is not None or not known
            assert result.published is None or cell in printed
        sizes[spec.name] = len(printed)
    assert (sizes["cnn"], sizes["vit"], sizes["all"]) == (54, 24, 78)


@pytest.mark.parametrize(
    ("optimizer", "base", "alpha"),
    [
        ("sgd", "torch.optim.SGD", 0.0),
        ("adamw", "torch.optim.AdamW", 0.0),
        ("sam", "torch.optim.SGD", 1.0),
        ("gnp", "torch.optim.SGD", 0.8),
    ],
)
def test_methods_are_what_they_are_called(compose_train, optimizer, base, alpha):
    config = validate(compose_train([f"optimizer={optimizer}"])).optimizer
    assert config.base["_target_"] == base
    assert config.alpha == alpha
    assert get_class(base)


def test_sam_and_gnp_wrap_the_base_that_the_recipe_names(compose_train):
    config = validate(compose_train(["optimizer=gnp", "base=adamw"]))
    assert config.optimizer.base["_target_"] == "torch.optim.AdamW"
    assert "momentum" not in config.optimizer.base


def test_a_recipe_may_give_a_method_its_own_values_and_the_command_line_wins(compose_train):
    own = ["+recipe.gnp.lr=0.3", "+recipe.gnp.r=0.7"]
    assert validate(compose_train(["optimizer=gnp", *own])).optimizer.lr == 0.3
    assert validate(compose_train(["optimizer=gnp", *own])).optimizer.r == 0.7
    assert validate(compose_train(["optimizer=sam", *own])).optimizer.lr == 0.1
    assert validate(compose_train(["optimizer=gnp", *own, "optimizer.lr=2"])).optimizer.lr == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+training.epohcs=3", r"no setting 'training\.epohcs'.*Did you mean 'training\.epochs'"),
        ("+epochs=3", r"no setting 'epochs'.*Did you mean 'training\.epochs'"),
        ("seed=abc", r"seed: Value 'abc'"),
        ("training.epochs=2.0", r"training\.epochs: Value '2\.0'"),
        ("training.epochs=1.5", r"training\.epochs: Value '1\.5'"),
        ("training.epochs=0", r"training\.epochs is 0; expected at least 1"),
        (
            "training.lr_warmup_epochs=200",
            r"lr_warmup_epochs is 200; expected from 0 to below training\.epochs=200",
        ),
        ("training.lr_warmup_epochs=-1", r"lr_warmup_epochs is -1; expected from 0 to below"),
        ("training.precision=fp8", r"expected one of fp32, bf16, fp16"),
        ("optimizer.alpha=2", r"optimizer\.alpha is 2\.0; expected from 0 to 1"),
        ("optimizer.r=-1", r"optimizer\.r is -1\.0; expected ≥ 0"),
        ("optimizer.lr=0", r"optimizer\.lr is 0\.0; expected positive"),
        ("training.label_smoothing=1", r"label_smoothing is 1\.0; expected from 0 to below 1"),
        ("+recipe.gnp.alhpa=0.1", r"no setting 'recipe\.gnp\.alhpa'.*Did you mean 'alpha'"),
        ("+recipe.weight_decy=1", r"no setting 'recipe\.weight_decy'.*'weight_decay'"),
        ("optimizer.r=inf", r"optimizer\.r is inf; expected ≥ 0"),
        ("wandb.mode=of", r"wandb\.mode is of; expected one of null, offline, online, disabled"),
        ("training.max_grad_norm=-1", r"max_grad_norm is -1\.0; expected positive or null"),
        ("augmentation.crop_padding=40", r"crop_padding is 40; expected from 0 to 31"),
        ("augmentation.padding_mode=wrap", r"padding_mode is wrap; expected one of reflect, zeros"),
        ("augmentation.cutout_scope=all", r"cutout_scope is all; expected one of image, batch"),
        ("augmentation.cutout=-1", r"cutout is -1; expected ≥ 0"),
        ("runtime.threads=0", r"threads is 0; expected from 1 to 1024"),
        ("runtime.eval_batch_size=0", r"eval_batch_size is 0; expected ≥ 1"),
        *(
            (
                f"dataset.std={value}",
                r"dataset\.std is .* three positive numbers, from 0\.001 to 1$",
            )
            for value in (
                "[0,1,1]",
                "[inf,1,1]",
                "[nan,1,1]",
                "[-1,1,1]",
                "[1,1]",
                "[1,1,1,1]",
                "[]",
                "[1e-320,1,1]",
                "[63,63,63]",
            )
        ),
        *(
            (f"dataset.mean={value}", r"dataset\.mean is .* three numbers from 0 to 1$")
            for value in (
                "[0.5]",
                "[0,inf,0]",
                "[0,0,nan]",
                "[0,0,0,0]",
                "[127,127,127]",
                "[-1,0,0]",
            )
        ),
        *(
            (f"dataset.{name}={value}", rf"dataset\.{name}.*: Value .* could not be converted to ")
            for name in ("std", "mean")
            for value in ("1", "null", "[1,a,1]", "[1,1,true]", "[1,[1],1]")
        ),
        ("dataset.std=[0,1,1]", r"dataset\.std is .* three positive numbers"),
        ("dataset.mean=[0.5]", r"dataset\.mean is .* three numbers"),
        (
            "optimizer.lr=1e308",
            r"optimizer\.lr is 1e\+308; expected a number from -1e\+30 to 1e\+30",
        ),
        ("training.max_grad_norm=inf", r"max_grad_norm is inf; expected positive or null"),
        ("training.epochs=12345678901234567890", r"epochs is 1\d{19}; expected an integer from"),
        ("training.batch_size=12345678901234567890", r"expected an integer from"),
        ("seed=12345678901234567890", r"seed is 1\d{19}; expected an integer of 64 bits"),
        ("dataset.std=[inf,1,1]", r"dataset\.std is .* three positive numbers"),
        ("dataset.mean=[125,123,114]", r"dataset\.mean is .* three numbers from 0 to 1"),
        ("model.dropout=nan", r"dropout in it is nan; expected a finite number"),
        (
            "model.blocks=[1,12345678901234567890]",
            r"blocks\[1\] in it is 1\d+; expected an integer",
        ),
        ("runtime.device=meta", r"runtime\.device is meta; expected auto, cpu, cuda or cuda:N"),
        ("root=", r"root is ; expected a path"),
        ("root=null", r"root: Value 'None'"),
        ("+recipe.gnp=5", r"recipe\.gnp is 5; expected settings of its own"),
        ("+dataset.synthetic_seed=3", r"source 'torchvision' has no synthetic_seed"),
        ("optimizer.r=0.1", r"optimizer\.r is 0\.1, which optimizer=sgd.* use optimizer=gnp"),
        ("optimizer.alpha=0.8", r"optimizer\.alpha is 0\.8, which optimizer=sgd"),
        ("optimizer.adaptive=true", r"optimizer\.adaptive is 1, which optimizer=sgd"),
        ("optimizer.penalty_warmup_epochs=5", r"set both or neither"),
        ("optimizer.penalty_start=0.9", r"optimizer\.penalty_start is 0\.9, which optimizer=sgd"),
        ("optimizer.probability=0.5", r"optimizer\.probability is 0\.5, which optimizer=sgd"),
        ("optimizer.climb_only_norms=true", r"climb_only_norms is 1, which optimizer=sgd"),
        ("optimizer.climb_along=momentum", r"climb_along is momentum, which optimizer=sgd"),
        ("optimizer.climb_along=up", r"climb_along is up; expected one of gradient, momentum"),
        ("optimizer.penalty_start=1", r"penalty_start is 1.0; expected from 0 to below 1"),
        ("training.ema=1", r"training\.ema is 1.0; expected above 0 to below 1 or null"),
        ("+model.widht=2", r"has no argument 'widht'.*Did you mean 'width'"),
        ("+optimizer.base.momentm=2", r"SGD has no argument 'momentm'.*Did you mean 'momentum'"),
        ("model._target_=models.vgg.VG", r"model\._target_=models\.vgg\.VG cannot be imported"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_suggestion(compose_train, override, words):
    with pytest.raises(ConfigError, match=words):
        validate(compose_train(["optimizer=sgd", override]))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["penalty_start=0.5", "penalty_warmup=r", "penalty_warmup_epochs=1"],
            r"penalty_start=0\.5 and optimizer\.penalty_warmup=r both .* set one of them",
        ),
        (
            ["probability=0.5", "direction_every=2"],
            r"does not go with .*direction_every=2; set one",
        ),
        (["climb_along=momentum", "direction_every=2"], r"set optimizer\.direction_every=1"),
        (["climb_along=momentum", "reference_fraction=0.5"], r"set optimizer.reference_fraction=1"),
        (["climb_along=momentum", "normalize_reference=true"], r"normalize_reference=false"),
    ],
)
def test_variants_that_do_not_go_together_are_refused(compose_train, overrides, words):
    with pytest.raises(ConfigError, match=words):
        validate(compose_train(["optimizer=gnp", *(f"optimizer.{o}" for o in overrides)]))


@pytest.mark.parametrize(
    ("share", "epochs", "before"),
    [(0, 160, 0), (0.9375, 160, 150), (0.29, 100, 29), (0.7, 10, 7), (0.999, 10, 9), (0.5, 1, 0)],
)
def test_a_late_penalty_begins_with_an_epoch_and_has_one_at_least(share, epochs, before):
    assert epochs_before_penalty(share, epochs) == before


@pytest.mark.parametrize("kind", ["zero", "r", "lambda"])
def test_a_warm_up_of_the_penalty_leaves_an_epoch_for_it(compose_train, kind):
    given = ["experiment=quickstart", "optimizer=gnp", f"optimizer.penalty_warmup={kind}"]
    validate(compose_train([*given, "optimizer.penalty_warmup_epochs=16"]))
    with pytest.raises(ConfigError, match=r"penalty_warmup_epochs=17: expected from 0 to below "
                                          r"training\.epochs=17"):  # fmt: skip
        validate(compose_train([*given, "optimizer.penalty_warmup_epochs=17"]))


def test_sam_is_alpha_1_and_gnp_may_be_the_base(compose_train):
    with pytest.raises(ConfigError, match=r"alpha is 0\.8, and SAM is alpha=1; use optimizer=gnp"):
        validate(compose_train(["optimizer=sam", "optimizer.alpha=0.8"]))
    assert validate(compose_train(["optimizer=gnp", "optimizer.alpha=0"])).optimizer.r > 0


@pytest.mark.parametrize(
    "name",
    ["a/b", "../../x", "/elsewhere/x", "''", ".", "..", "'a '", "'a\tb'", r"a\\b", "a" * 300],
)
@pytest.mark.parametrize(
    "setting", ["method", "dataset.name", "augmentation.name", "optimizer.name"]
)
def test_a_name_of_a_run_is_one_folder(compose_train, setting, name):
    with pytest.raises(ConfigError, match=f"{setting} is .*expected the name of one folder"):
        validate(compose_train([f"{setting}={name}"]))


def test_an_experiments_name_may_have_folders_but_none_outside(compose_train):
    config = validate(compose_train(["experiment=mini/vgg16"]))
    for name in ("../x", "/x", "a//b", "a/..", ""):
        with pytest.raises(ConfigError, match=r"experiment is .*expected the name of one folder"):
            checked(Config, {**to_plain(config), "experiment": name})


# Of one data set, and of recipes with values for one method.
NOT_IN_EACH_CONFIG = (
    "base",
    "recipe.official_2022_sharpness_batch",
    "dataset.synthetic",
    *(f"recipe.{m}" for m in ("sgd", "adamw", "sam", "gnp")),
)


def test_every_setting_of_the_schema_is_in_the_composed_config(compose_train):
    """…so that --help shows it; what a data set does not use may be absent."""
    plain = yaml.safe_load(yaml.safe_dump(_plain(compose_train())))
    for name in setting_names():
        if not name.startswith(NOT_IN_EACH_CONFIG):
            node = plain
            for part in name.split("."):
                assert part in node, name
                node = node[part]


def _plain(config):
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)


def command(*arguments, script="train.py"):
    return subprocess.run(
        [sys.executable, f"scripts/{script}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epochs", "3"], "--epochs: settings have no dashes; write training.epochs=3"),
        (["--batch-size=7"], "settings have no dashes; write training.batch_size=7"),
        (["--seed", "seed=3"], "write seed=…"),
        (["--leraning-rate", "1"], "there is no option --leraning-rate"),
        (["-x"], "there is no option -x"),
        (["--root=a", "--hydra-help"], "write root=a"),
    ],
)
def test_a_setting_with_dashes_is_told_how_it_is_written(arguments, words):
    with pytest.raises(WrongOption) as refused:
        refuse_dashes(arguments, Names(setting_names()))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "arguments", [["-m", "seed=0,1"], ["--cfg", "job", "--resolve"], ["--config-dir", "x", "a=--b"]]
)
def test_hydras_own_options_are_left_to_it(arguments):
    refuse_dashes(arguments, Names(setting_names()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["+list=[a=b,c=d]"], """the whole those of the shell: "+list=['a=b','c=d']"\n"""),
        (["+text=a[b"], "put quotes round its value"),
        (["epohcs=3"], "Did you mean 'training.epochs'?"),
        (["optimzer=gnp"], "Did you mean 'optimizer'?"),
        (["optimizer=gpn"], "there are: adamw, gnp, sam, sgd. Did you mean 'gnp'?"),
        (["experiment=mini/vgg16bn"], "Did you mean 'mini/vgg16_bn'?"),
        (["experiment=vgg_16bn"], "Did you mean 'vgg16_bn'?"),
        (["seed=abc"], "seed: Value 'abc'"),
        (
            ["experiment=null"],
            "experiment=null: experiment is one of the choices that --help lists",
        ),
        (["dataset=synthetic", "dataset.root=/x"], "the source 'synthetic' has no root"),
        (["recipe.gnp.r=1"], "add it with a plus sign: +recipe.gnp.r=…"),
    ],
)
def test_the_command_line_refuses_in_a_few_lines(arguments, words):
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "what", "groups", "others"),
    [
        ("train.py", "Train one run", ["experiment", "experiment/tiny", "model"], ["table"]),
        ("reproduce_table.py", "Train the missing runs", ["table", "cluster"], ["study", "model"]),
        ("render_table.py", "Trains nothing", ["table"], ["table/part", "cluster", "study"]),
        ("tune.py", "No test image is used", ["tuning", "cluster"], ["table", "study"]),
        ("parameter_study.py", "a grid of r and α", ["study", "cluster"], ["table", "tuning"]),
        ("why_it_works.py", "measure the weights", ["why", "cluster"], ["study", "table"]),
    ],
)
def test_help_shows_choices_of_its_own_and_settings(script, what, groups, others):
    done = command("--help", script=script)
    assert done.returncode == 0
    assert what in done.stdout.split("Choices")[0]
    listed = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert "root" in listed
    assert set(groups) <= set(listed)
    assert not set(others) & set(listed[: listed.index("root")])


def test_help_lists_the_choices_of_a_further_folder_of_configs(tmp_path):
    (tmp_path / "experiment/own").mkdir(parents=True)
    (tmp_path / "experiment/own/mine.yaml").write_text("# @package _global_\n")
    done = command("--help", "--config-dir", str(tmp_path))
    assert "\nexperiment/own: mine\n" in done.stdout
