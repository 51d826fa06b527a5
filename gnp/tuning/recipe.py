"""The chosen settings as an experiment file and as a table, with where each value comes from."""

import shlex
from itertools import count, islice

import yaml

from gnp.report.numbers import format_statistic
from gnp.settings.overrides import parsed
from gnp.settings.study import number
from gnp.settings.tuning import TunedMethod
from gnp.tuning.collect import TuningResult
from gnp.tuning.text import chosen_of

GROUP = "tuned"  # below configs/experiment and configs/table
SEEDS = 5  # of the table


def experiment_name(tuning: TuningResult) -> str:
    return f"{GROUP}/{tuning.spec.name}"


def to_experiment(tuning: TuningResult) -> str:
    """A file of ``configs/experiment``: the tuned experiment with each method's own values. A
    method with settings of its own is none of an experiment's: it is in the table's file."""
    spec, name = tuning.spec, experiment_name(tuning)
    recipe = {
        method.optimizer: {
            s: float(number(v)) for s, v in tuning.chosen[method.folder].trial.values
        }
        for method in spec.methods
        if method.folder in tuning.chosen and method.name is None
    }
    content = {
        "defaults": [f"/experiment/{spec.experiment}", "_self_"],
        "experiment": name,
        "recipe": recipe,
    }
    head = [
        "# @package _global_",
        f"# {spec.experiment} with the settings that were chosen for each method, at equal effort,",
        f"# on {spec.validation_per_class} held-out training images of each class of "
        f"{spec.dataset}, augmentation {spec.augmentation}.",
        f"#   python scripts/train.py experiment={name} dataset={spec.dataset} "
        f"augmentation={spec.augmentation} optimizer={next(iter(recipe), 'sgd')} seed=0",
        *_provenance(tuning),
    ]
    return "\n".join(head) + "\n" + yaml.safe_dump(content, sort_keys=False)


def to_table(tuning: TuningResult) -> str:
    """A file of ``configs/table``: the chosen methods on all training images of the dataset, with
    seeds that were not tuned on, on the test images."""
    spec, name = tuning.spec, experiment_name(tuning)
    tuned_on = [*spec.seeds, *spec.final_seeds]
    column = {"dataset": spec.dataset, "augmentation": spec.augmentation}
    part = {
        "rows": [{"label": spec.experiment, "experiment": name}],
        "columns": [{"label": f"{spec.dataset} {spec.augmentation}", **column}],
        "methods": [_method(m, tuning) for m in spec.methods if m.folder in tuning.chosen],
    }
    content = {
        "name": f"{GROUP}_{spec.name}",
        "title": f"After: {spec.title}",
        "note": f"{spec.note} Here: the chosen settings, on test images.",
        "parts": {GROUP: part},
        "seeds": list(islice((seed for seed in count() if seed not in tuned_on), SEEDS)),
        "overrides": [o for o in spec.overrides if not _of_the_command(o)],
    }
    head = [
        "# @package table",
        f"# What was chosen by the tuning {spec.name}, on test images.",
        f"#   python scripts/reproduce_table.py table={name}",
        *_provenance(tuning),
    ]
    return "\n".join(head) + "\n" + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _of_the_command(text: str) -> bool:
    """Whether it says how and where the tuning ran, not what was trained."""
    return parsed([text])[0].key_or_group.partition(".")[0] in ("hydra", "runtime")


def _method(method: TunedMethod, tuning: TuningResult) -> dict[str, str]:
    entry = {"label": method.label, "optimizer": method.optimizer}
    if method.name is None:
        return entry
    settings = shlex.join(tuning.chosen[method.folder].trial.chosen_settings)
    return {**entry, "name": method.name, "settings": settings}


def _provenance(tuning: TuningResult) -> list[str]:
    return [
        f"# Made by: {tuning.command}",
        *_trials(tuning),
        f"# Of records made with commit {_commits(tuning)}, the last one on {_last_day(tuning)}.",
    ]


def _trials(tuning: TuningResult) -> list[str]:
    lines = []
    for method in tuning.spec.methods:
        result = tuning.chosen.get(method.folder)
        if result is None:
            instead = "not in the table" if method.name else "the experiment's own values"
            lines.append(f"# {method.label}: no trial is finished; {instead}.")
            continue
        ranges = ", ".join(
            f"{name} {number(its.low)} to {number(its.high)}" for name, its in method.ranges.items()
        )
        assert result.error  # what is chosen has finished seeds
        assert result.loss
        lines += [
            f"# {method.label}: {chosen_of(tuning, method.folder)} by validation "
            f"{tuning.spec.choose};",
            f"#   error {format_statistic(result.error)} %, loss {result.loss.mean:.3f}; {ranges}.",
        ]
    return lines


def _commits(tuning: TuningResult) -> str:
    runs = [f for result in tuning.results for f in result.finished]
    # Of a run that went on with other code there are several.
    return ", ".join(dict.fromkeys(code for f in runs for code in f.code.split()))


def _last_day(tuning: TuningResult) -> str:
    return max(f.summary["finished"] for result in tuning.results for f in result.finished)[:10]
