"""Which settings a tuning tries, which it chooses, and that what it writes can be trained with."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import records
import yaml
from conftest import CONFIGS, PATIENCE, ROOT
from hydra import compose, initialize_config_dir
from pages import check, rows, table_of, texts
from scipy.stats import qmc

from gnp.jobs import SeriesMismatch, WantedConfigs
from gnp.settings import resolve, run_path
from gnp.tables import TableSpec
from gnp.tuning import (
    TuningError,
    TuningSpec,
    collect,
    second_round_in_words,
    wanted_after,
    wanted_now,
    write_outputs,
)
from gnp.tuning.recipe import to_experiment, to_table
from gnp.tuning.text import notes, to_csv, to_markdown

LR = {"low": 0.01, "high": 0.1}
TUNING = {
    "name": "small",
    "title": "A small tuning",
    "note": "Made up for a test.",
    "experiment": "quickstart",
    "dataset": "synthetic",
    "augmentation": "basic",
    "validation_per_class": 20,
    "train_per_class": 30,
    "trials": 3,
    "seeds": [7],
    "methods": [
        {"label": "SGD", "optimizer": "sgd", "ranges": {"lr": LR}},
        {
            "label": "GNP",
            "optimizer": "gnp",
            "ranges": {
                "alpha": {"low": 0.2, "high": 1, "log": False},
                "r": {"low": 0.01, "high": 1},
                "lr": LR,
            },
        },
    ],
}


def spec(**changes):
    return TuningSpec.from_config({**TUNING, **changes})


def with_variant(**changes):
    variant = {
        "label": "SGD, longer",
        "optimizer": "sgd",
        "name": "longer",
        "settings": "training.epochs=9 'optimizer.base.momentum=0.8'",
        "ranges": {"lr": LR},
    }
    return {"methods": [*TUNING["methods"], {**variant, **changes}]}


def with_range(name, **its):
    method = {"label": "GNP", "optimizer": "gnp", "ranges": {name: its}}
    return {"methods": [method]}


def tuning_of(root, results, **changes):
    """``results``: {method: [(error, loss) or None where it is missing, a trial]}."""
    tuning = spec(**changes)
    for run in tuning.runs():
        if (result := results[run.trial.name][run.trial.index]) is not None:
            error, loss = result
            records.write_record(root, run, [error], evaluated="validation", loss=loss)
    return collect(tuning, root)


# ---------------------------------------------------------------------- what is tried


def test_the_trials_are_haltons_sequence_within_the_ranges():
    trials = spec(trials=50, sequence_seed=3).trials_of
    points = qmc.Halton(4, scramble=True, rng=3).random(50)
    for trial, (lr, _, r, alpha) in zip(trials["gnp"], points, strict=True):
        values = dict(trial.values)
        assert list(values) == ["lr", "r", "alpha"]
        assert values["lr"] == pytest.approx(0.01 * 10**lr, rel=6e-3)  # three digits are kept
        assert values["r"] == pytest.approx(0.01 * 100**r, rel=6e-3)
        assert values["alpha"] == pytest.approx(0.2 + 0.8 * alpha, rel=6e-3)
    assert [dict(t.values)["lr"] for t in trials["sgd"]] == [
        dict(t.values)["lr"] for t in trials["gnp"]
    ]
    assert trials != spec(trials=50, sequence_seed=4).trials_of
    assert spec(trials=20, sequence_seed=3).trials_of["gnp"] == trials["gnp"][:20]


def test_rounding_leaves_no_range():
    tuning = spec(trials=2, **with_range("lr", low=0.012345, high=0.012356))
    assert all(0.012345 <= dict(t.values)["lr"] <= 0.012356 for t in tuning.trials_of["gnp"])


def test_trials_that_rounding_makes_the_same_are_refused():
    with pytest.raises(TuningError, match=r"methods, gnp: 16 trials have 1\d different settings"):
        _ = spec(trials=16, **with_range("lr", low=0.1, high=0.11)).trials_of


def test_every_method_has_had_as_many_trials_wherever_a_tuning_is_stopped():
    runs = list(spec(seeds=[7, 8]).runs())
    assert len(runs) == len({run.path for run in runs}) == 12
    assert [(r.trial.index, r.trial.optimizer, r.seed) for r in runs[:5]] == [
        (0, "sgd", 7), (0, "sgd", 8), (0, "gnp", 7), (0, "gnp", 8), (1, "sgd", 7),
    ]  # fmt: skip


def test_a_run_has_a_place_and_a_command_that_say_its_values():
    run = next(run for run in spec().runs() if run.trial.optimizer == "gnp")
    values = dict(run.trial.values)
    method = f"tune_gnp_lr{values['lr']:g}_r{values['r']:g}_alpha{values['alpha']:g}"
    assert str(run.path) == f"quickstart/synthetic-basic/{method}/seed7"
    assert run.command("out", []) == (
        "python scripts/train.py experiment=quickstart dataset=synthetic augmentation=basic "
        f"optimizer=gnp optimizer.lr={values['lr']:g} optimizer.r={values['r']:g} "
        f"optimizer.alpha={values['alpha']:g} method={method} dataset.validation_per_class=20 "
        "dataset.train_per_class=30 seed=7 root=out"
    )


def test_a_method_with_settings_is_tuned_beside_the_one_without():
    tuning = spec(**with_variant())
    assert list(tuning.trials_of) == ["sgd", "gnp", "longer"]
    for plain, variant in zip(tuning.trials_of["sgd"], tuning.trials_of["longer"], strict=True):
        assert variant.values == plain.values
        (lr,) = (f"{value:g}" for _, value in plain.values)
        assert variant.method == f"tune_longer_lr{lr}"
        assert variant.settings() == [
            "optimizer=sgd", "training.epochs=9", "optimizer.base.momentum=0.8",
            f"optimizer.lr={lr}", f"method=tune_longer_lr{lr}",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": []}, "tuning small: seeds is empty; list at least one value"),
        ({"methods": []}, "methods is empty"),
        ({"methods": [TUNING["methods"][0]] * 2}, "methods lists sgd twice"),
        ({"methods": [{"label": "SGD", "optimizer": "sgd"}]}, "methods, sgd: ranges is empty"),
        (with_range("lr", low=0.1, high=0.1), r"gnp: lr from 0\.1 to 0\.1: low has to be below"),
        (with_range("r", low=0, high=0.1), "r from 0 to 0.1: a logarithm has no 0"),
        (with_range("alpha", low=0.5, high=1.5), "α is at most 1"),
        (with_range("lr", low=0, high=1, log=False), "a learning rate is above 0"),
        (with_range("rho", low=0.1, high=1), "rho"),
        ({"validation_per_class": 0}, "validation_per_class"),
        ({"finalists": 2}, "finalists and final_seeds belong together: set both, or neither"),
        ({"final_seeds": [8]}, "finalists and final_seeds belong together"),
        ({"finalists": 1, "final_seeds": [8]}, "finalists=1: 2 to trials=3 can be chosen from"),
        ({"finalists": 4, "final_seeds": [8]}, "finalists=4: 2 to trials=3 can be chosen from"),
        ({"finalists": 2, "final_seeds": [7]}, "seeds and final_seeds lists 7 twice"),
        ({"trials": 0}, "trials"),
        ({"choose": "eror"}, "choose"),
        (
            {"methods": with_variant(name=None)["methods"][-1:]},
            "methods, sgd: settings need a name",
        ),
        (with_variant(name="sgd"), "methods lists sgd twice; list it once"),
        (with_variant(settings="optimizer.lr=1"), r"settings have optimizer\.lr, which is tuned"),
        (with_variant(settings="seed=1"), "overrides change which run it is: seed=1"),
        ({"overrides": ["seed=1"]}, "overrides change which run it is: seed=1"),
        ({"trails": 3}, r"no setting 'tuning\.trails'\. Did you mean 'tuning\.trials'\?"),
    ],
)
def test_a_wrong_tuning_is_refused_with_what_is_wrong(change, words):
    with pytest.raises(TuningError, match=words):
        spec(**change)


@pytest.mark.parametrize(
    "setting", ["dataset.validation_per_class=0", "dataset.train_per_class=7", "optimizer.lr=1"]
)
def test_no_override_changes_what_is_chosen_by(setting):
    """Without held-out images the test images would be evaluated."""
    tuning = spec(overrides=[setting])
    name = setting.partition(".")[2].partition("=")[0]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        wanted = WantedConfigs(tuning, "out")
        with pytest.raises(SeriesMismatch, match=rf"became .* with .*{name}="):
            wanted(next(iter(tuning.runs())))


@pytest.mark.parametrize("name", sorted(f.stem for f in (CONFIGS / "tuning").rglob("*.yaml")))
def test_every_tuning_of_the_configs_composes_and_holds_images_out(name):
    (file,) = (CONFIGS / "tuning").rglob(f"{name}.yaml")
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        choice = file.relative_to(CONFIGS / "tuning").with_suffix("")
        tuning = TuningSpec.from_config(compose("tune", [f"tuning={choice}"]).tuning)
        assert tuning.name == name
        wanted = WantedConfigs(tuning, "out")
        for method in tuning.trials_of:
            run = next(run for run in tuning.runs() if run.trial.name == method)
            config = resolve(compose("train", run.overrides("out", tuning.overrides)))
            assert str(run_path(config)) == str(run.path)
            assert config.dataset.validation_per_class == tuning.validation_per_class > 0
            for setting, value in run.trial.values:
                assert getattr(config.optimizer, setting) == value
            assert wanted(run)["seed"] == run.seed


# ---------------------------------------------------------------------- what is chosen


def test_the_lowest_error_is_chosen_and_the_loss_decides_ties(tmp_path):
    results = {"sgd": [(5, 0.3), (4, 0.2), (4, 0.1)], "gnp": [(3, 0.5), (6, 0.1), (7, 0.2)]}
    tuning = tuning_of(tmp_path / "a", results)
    assert {o: r.trial.index for o, r in tuning.chosen.items()} == {"sgd": 2, "gnp": 0}
    assert [r.trial.index for r in tuning.ranked("sgd")] == [2, 1, 0]
    tuning = tuning_of(tmp_path / "b", results, choose="loss")
    assert {o: r.trial.index for o, r in tuning.chosen.items()} == {"sgd": 2, "gnp": 1}


def test_a_trial_without_all_its_seeds_is_not_chosen_and_said(tmp_path):
    results = {"sgd": [None, (4, 0.2), (5, 0.1)], "gnp": [None, None, None]}
    tuning = tuning_of(tmp_path, results)
    assert {o: r.trial.index for o, r in tuning.chosen.items()} == {"sgd": 1}
    text = " ".join(notes(tuning))
    assert "Not finished, and not chosen from: 1 of 3 of SGD, 3 of 3 of GNP." in text
    assert len(tuning.missing) == 4
    assert "GNP: no trial is finished" in to_experiment(tuning)
    assert list(yaml.safe_load(to_experiment(tuning))["recipe"]) == ["sgd"]


def test_a_recipe_names_each_commit_of_its_records_once(tmp_path):
    results = {"sgd": [(3, 0.2), (4, 0.2), (5, 0.1)], "gnp": [(3, 0.5), None, None]}
    tuning = tuning_of(tmp_path, results).spec
    first, second, *_ = tuning.runs()
    for run, commits in ((first, ["a" * 40, "b" * 40]), (second, ["b" * 40])):
        starts = [{"code": {"commit": commit}} for commit in commits]
        (run.folder(tmp_path) / "environment.json").write_text(json.dumps(starts))
    recipe = to_experiment(collect(tuning, tmp_path))
    assert f"made with commit {'a' * 8}, {'b' * 8}, 01234567, the last" in recipe


def test_a_trial_that_diverged_is_no_missing_one_and_is_never_chosen(tmp_path):
    results = {"sgd": [None, (4, 0.2), (5, 0.1)], "gnp": [(3, 0.5), None, None]}
    tuning = tuning_of(tmp_path, results, finalists=2, final_seeds=[2])
    for run in tuning.first_round_missing:
        records.write_diverged(tmp_path, run)
    tuning = collect(tuning.spec, tmp_path)
    assert not tuning.first_round_missing
    assert [(r.trial.name, r.trial.index) for r in tuning.results if r.final] == [
        ("sgd", 1), ("sgd", 2), ("gnp", 0),
    ]  # fmt: skip
    assert {m: r.trial.index for m, r in tuning.chosen.items()} == {"sgd": 1, "gnp": 0}
    text = " ".join(notes(tuning))
    assert "and not chosen from: 1 of 3 of SGD, 2 of 3 of GNP." in text
    assert "Not finished" not in text
    assert to_markdown(tuning).count("| diverged |") == 3
    # Of a finalist whose final seed diverges the first one alone is known.
    final = tuning.spec.run(tuning.trials["sgd"][1].trial, 2)
    records.write_diverged(tmp_path, final)
    records.write_record(
        tmp_path, tuning.spec.run(tuning.trials["sgd"][2].trial, 2), [6.0],
        evaluated="validation", loss=0.1,
    )  # fmt: skip
    tuning = collect(tuning.spec, tmp_path)
    assert tuning.chosen["sgd"].trial.index == 2
    assert "4.00 (1 of 2)" in to_markdown(tuning)


def test_there_are_no_finalists_before_the_first_round_is_over(tmp_path):
    """What is missing is not known to have failed."""
    early = tuning_of(tmp_path, {**FIRST, "gnp": [(3, 0.5), None, None]}, **FINALS)
    assert not any(result.final for result in early.results)
    assert [run.seed for run in early.missing] == [7, 7]
    said = " ".join(notes(early))
    assert "best by these will get, once all trials have theirs, 2, 9 too" in said
    assert "so far by the first seeds" in said
    settled = collect(early.spec, tmp_path, first_round_over=True)
    assert [r.trial.index for r in settled.results if r.final] == [0, 1, 0]
    in_the_finals(tmp_path, early.spec, "sgd", 0, [9])  # the second round has begun
    begun = collect(early.spec, tmp_path)
    assert [r.trial.index for r in begun.results if r.final] == [0, 1, 0]


FINALS = {"finalists": 2, "final_seeds": [2, 9]}
FIRST = {"sgd": [(4, 0.2), (5, 0.3), (6, 0.1)], "gnp": [(3, 0.5), (6, 0.1), (7, 0.2)]}


def in_the_finals(root, tuning, method, index, errors):
    """Records of a trial's final seeds."""
    trial = tuning.trials_of[method][index]
    for seed, error in zip(tuning.final_seeds, errors, strict=False):
        run = tuning.run(trial, seed)
        records.write_record(root, run, [error], evaluated="validation", loss=0.1)


def test_the_best_get_the_final_seeds_and_the_best_of_them_by_all_seeds_is_chosen(tmp_path):
    tuning = tuning_of(tmp_path, FIRST, **FINALS)
    final = [(r.trial.name, r.trial.index) for r in tuning.results if r.final]
    assert final == [("sgd", 0), ("sgd", 1), ("gnp", 0), ("gnp", 1)]
    assert [r.seed for r in tuning.missing] == [2, 9] * 4
    in_the_finals(tmp_path, tuning.spec, "sgd", 0, [9, 9])  # mean 22/3
    in_the_finals(tmp_path, tuning.spec, "sgd", 1, [5, 8])  # mean 6, the better one
    in_the_finals(tmp_path, tuning.spec, "gnp", 0, [8, 8])
    in_the_finals(tmp_path, tuning.spec, "gnp", 1, [6, 8])  # 20/3 against 19/3
    in_the_finals(tmp_path, tuning.spec, "gnp", 2, [0, 0])  # not a finalist: not looked at
    tuning = collect(tuning.spec, tmp_path)
    assert not tuning.missing
    assert {m: r.trial.index for m, r in tuning.chosen.items()} == {"sgd": 1, "gnp": 0}
    assert [r.trial.index for r in tuning.ranked("sgd")] == [1, 0, 2]
    assert [r.error.n for r in tuning.ranked("gnp")] == [3, 3, 1]
    assert tuning.chosen["sgd"].error.mean == pytest.approx(6)
    markdown = to_markdown(tuning)
    assert "6.00 ± 1.73 (3) ★" in markdown
    assert "seeds 7; the 2 of each method that are best by these had 2, 9 too" in markdown
    assert "by all seeds of the 2 finalists" in markdown
    experiment = to_experiment(tuning)
    assert "# SGD: trial 1, the best of 2 finalists, of 3 finished of 3 by validation" in experiment
    line = list(csv.DictReader(io.StringIO(to_csv(tuning))))[1]
    assert (line["n"], line["first_mean_error"], line["finalist"], line["chosen"]) == (
        "3", "5", "1", "1",
    )  # fmt: skip
    assert yaml.safe_load(to_table(tuning))["seeds"] == [0, 1, 3, 4, 5]


def test_without_its_final_seeds_a_finalist_is_not_chosen_before_one_that_has_them(tmp_path):
    tuning = tuning_of(tmp_path, FIRST, **FINALS)
    in_the_finals(tmp_path, tuning.spec, "sgd", 0, [1])  # one of two
    in_the_finals(tmp_path, tuning.spec, "sgd", 1, [8, 8])
    tuning = collect(tuning.spec, tmp_path)
    assert {m: r.trial.index for m, r in tuning.chosen.items()} == {"sgd": 1, "gnp": 0}
    text = " ".join(notes(tuning))
    assert "Without all of its final seeds: 1 of 2 of SGD, 2 of 2 of GNP." in text
    assert "Not finished, and not chosen from" not in text
    assert "2.50 ± 2.12 (2 of 3)" in to_markdown(tuning)


def test_the_second_round_begins_when_the_first_is_over(tmp_path):
    tuning = tuning_of(tmp_path, {**FIRST, "gnp": [(3, 0.5), (6, 0.1), None]}, **FINALS).spec
    assert wanted_now(tuning, tmp_path) == list(tuning.runs())
    after = wanted_after(tuning, tmp_path, None)  # the third has failed
    assert len(after) == 6 + 8
    assert [run.seed for run in after[6:]] == [2] * 4 + [9] * 4
    run = tuning.run(tuning.trials_of["gnp"][2], 7)
    records.write_record(tmp_path, run, [1], evaluated="validation", loss=0.1)
    assert wanted_now(tuning, tmp_path)[:6] == list(tuning.runs())
    assert len(wanted_now(tuning, tmp_path)) == 14
    assert run.trial in {run.trial for run in wanted_now(tuning, tmp_path)[6:]}
    assert wanted_after(spec(), tmp_path, None) == []
    assert len(wanted_now(spec(), tmp_path)) == 6


def test_a_plan_says_of_the_second_round_while_it_does_not_have_it(tmp_path):
    tuning = tuning_of(tmp_path, {**FIRST, "gnp": [(3, 0.5), (6, 0.1), (7, 0.1)]}, **FINALS).spec
    first = list(tuning.runs())
    said = second_round_in_words(tuning, first)
    assert "the best 2 of each method get 2 seeds more: 8 runs" in said
    assert second_round_in_words(tuning, wanted_now(tuning, tmp_path)) == ""
    assert second_round_in_words(spec(), list(spec().runs())) == ""


def test_a_choice_at_the_end_of_a_range_is_said(tmp_path):
    tuning = spec(trials=40)
    lowest = min(tuning.trials_of["sgd"], key=lambda trial: trial.values)
    results = {
        "sgd": [(1 if t == lowest else 2, 0.1) for t in tuning.trials_of["sgd"]],
        "gnp": [None] * 40,
    }
    text = " ".join(notes(tuning_of(tmp_path, results, trials=40)))
    assert "lies at the low end of its range (0.01 to 0.1): a wider range may" in text


def test_outputs_say_every_trial(tmp_path):
    results = {"sgd": [(5, 0.3), (4, 0.2), None], "gnp": [(3, 0.5), (6, 0.1), (7, 0.2)]}
    tuning = tuning_of(tmp_path, results)
    lines = list(csv.DictReader(io.StringIO(to_csv(tuning))))
    assert [line["chosen"] for line in lines] == ["0", "1", "0", "1", "0", "0"]
    assert [line["mean_error"] for line in lines] == ["5", "4", "", "3", "6", "7"]
    assert lines[0]["r"] == ""
    markdown = to_markdown(tuning)
    assert "3.00 (1) ★" in markdown
    assert "No test image was used." in markdown
    folder = tmp_path / "tunings/small"
    written = {str(path.relative_to(folder)): path for path in write_outputs(tuning)}
    files = [f"configs/{group}/tuned/small.yaml" for group in ("experiment", "table")]
    assert set(written) == {"tuning.md", "tuning.csv", "trials.svg", "report.html", *files}
    drawn = ElementTree.fromstring(written["trials.svg"].read_text()).itertext()
    assert not [text for text in drawn if "$" in text]  # matplotlib's own ticks are formulas
    page = check(written["report.html"])
    assert "SGD: trial 1, the best of 2 finished of 3: lr = " in texts(page)
    assert len(rows(table_of(page, "Trials"))) == 3
    again = {str(p.relative_to(folder)): p.read_bytes() for p in write_outputs(tuning)}
    assert again == {name: path.read_bytes() for name, path in written.items()}


def test_the_experiment_file_is_the_experiment_with_the_chosen_values(tmp_path):
    results = {"sgd": [(5, 0.3), (4, 0.2), (6, 1)], "gnp": [(3, 0.5), (6, 0.1), (7, 0.2)]}
    tuning = tuning_of(tmp_path, results)
    write_outputs(tuning)
    path = f"hydra.searchpath=[file://{tmp_path}/tunings/small/configs]"
    configs = {}
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for optimizer, experiment in (("sgd", "quickstart"), ("sgd", "tuned/small"),
                                      ("gnp", "tuned/small"), ("sam", "tuned/small")):  # fmt: skip
            settings = [path, f"experiment={experiment}", f"optimizer={optimizer}"]
            configs[experiment, optimizer] = resolve(compose("train", settings))
    for optimizer in ("sgd", "gnp"):
        for setting, value in tuning.chosen[optimizer].trial.values:
            assert getattr(configs["tuned/small", optimizer].optimizer, setting) == value
    base = configs["quickstart", "sgd"]
    for config in configs.values():
        assert (config.model, config.training) == (base.model, base.training)
    assert configs["tuned/small", "sam"].optimizer.lr == base.optimizer.lr  # not tuned: as it was
    assert configs["tuned/small", "sam"].experiment == "tuned/small"


def test_the_table_file_has_the_chosen_methods_and_seeds_that_were_not_tuned_on(tmp_path):
    results = {
        "sgd": [(5, 0.3), (4, 0.2), (6, 1)], "gnp": [None] * 3,
        "longer": [(3, 0.5), (6, 0.1), (7, 0.2)],
    }  # fmt: skip
    changes = with_variant() | {"seeds": [1]}
    tuning = tuning_of(tmp_path, results, **changes)
    write_outputs(tuning)
    assert "GNP: no trial is finished" in to_table(tuning)
    path = f"hydra.searchpath=[file://{tmp_path}/tunings/small/configs]"
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("reproduce_table", [path, "table=tuned/small"])
        table = TableSpec.from_config(composed.table)
        (row,) = table.parts["tuned"].rows
        assert [m.label for m in table.parts["tuned"].methods] == ["SGD", "SGD, longer"]
        assert table.seeds == [0, 2, 3, 4, 5]
        for run in list(table.runs())[:2]:
            config = resolve(compose("train", [path, *run.settings()]))
            chosen = tuning.chosen[run.cell.method.folder].trial
            assert config.optimizer.lr == dict(chosen.values)["lr"]
            if run.cell.method.folder == "longer":
                assert config.training.epochs == 9
                assert config.optimizer.base["momentum"] == 0.8
    assert row.experiment == "tuned/small"


# ---------------------------------------------------------------------- end to end


def script(name, *settings, expect=0):
    done = subprocess.run(
        [sys.executable, f"scripts/{name}.py", *settings],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_from_a_tuning_to_a_run_with_what_it_chose(tmp_path):
    few = [
        "tuning=smoke", f"root={tmp_path}", "tuning.trials=2", "tuning.train_per_class=8",
        "tuning.validation_per_class=5", "device=cpu",
        "overrides=['training.epochs=1','dataset.synthetic_train_per_class=20']",
    ]  # fmt: skip
    done = script("tune", *few)
    assert "[6/6]" in done.stdout
    assert "[12/12]" in done.stdout  # both trials of each method are finalists
    again = script("tune", *few)
    assert "12 runs, 12 finished" in again.stdout
    assert "(2) ★" in Path(tmp_path, "tunings/smoke/tuning.md").read_text()
    folder = Path(tmp_path, "tunings/smoke/configs")
    trained = script(
        "train", "--config-dir", str(folder), "experiment=tuned/smoke", "optimizer=gnp",
        "training.epochs=1", "dataset.synthetic_train_per_class=8", "runtime.device=cpu",
        f"root={tmp_path}",
    )  # fmt: skip
    assert "test error" in trained.stdout
    config = yaml.safe_load(
        Path(tmp_path, "runs/tuned/smoke/synthetic-basic/gnp/seed0/config.yaml").read_text()
    )
    chosen = yaml.safe_load((folder / "experiment/tuned/smoke.yaml").read_text())["recipe"]["gnp"]
    assert {name: config["optimizer"][name] for name in chosen} == chosen


@pytest.mark.slow
def test_a_trial_that_diverges_is_an_outcome_and_the_others_are_chosen_from(tmp_path):
    settings = [
        "tuning=smoke", f"root={tmp_path}", "tuning.trials=2", "tuning.train_per_class=8",
        "tuning.validation_per_class=5", "device=cpu",
        "tuning.methods=[{label: SGD, optimizer: sgd, ranges: {lr: {low: 1e9, high: 1e10}}},"
        "{label: SAM, optimizer: sam, ranges: {lr: {low: 0.01, high: 0.02}}}]",
        "overrides=['training.epochs=2','dataset.synthetic_train_per_class=20']",
    ]  # fmt: skip
    done = script("tune", *settings)
    said = "Diverged (the loss became NaN or infinite), and not chosen from: 2 of 2 of SGD."
    assert said in done.stdout
    assert "missing" not in done.stdout
    chosen = yaml.safe_load(
        Path(tmp_path, "tunings/smoke/configs/experiment/tuned/smoke.yaml").read_text()
    )
    assert list(chosen["recipe"]) == ["sam"]
    again = script("tune", *settings)  # SAM's two trials have had their final seed
    assert "6 runs, 4 finished, 2 diverged in" in again.stdout
    assert said in again.stdout
    logs = list(tmp_path.glob("runs/**/tune_sgd_*/seed1000/log.txt"))
    assert [log.read_text().count("Try a lower optimizer.lr") for log in logs] == [1, 1]
