"""The chosen settings as an experiment file, with where each value comes from."""

import yaml

from gnp.report.numbers import format_statistic
from gnp.settings.study import number
from gnp.tuning.collect import TuningResult

GROUP = "tuned"  # below configs/experiment


def experiment_name(tuning: TuningResult) -> str:
    return f"{GROUP}/{tuning.spec.name}"


def to_experiment(tuning: TuningResult) -> str:
    """A file of ``configs/experiment``: the tuned experiment with each method's own values."""
    spec, name = tuning.spec, experiment_name(tuning)
    recipe = {
        optimizer: {setting: float(number(value)) for setting, value in result.trial.values}
        for optimizer, result in tuning.chosen.items()
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
        f"augmentation={spec.augmentation} optimizer={next(iter(recipe))} seed=0",
        f"# Made by: {tuning.command}",
        *_trials(tuning),
        f"# Of records made with commit {_commits(tuning)}, the last one on {_last_day(tuning)}.",
    ]
    return "\n".join(head) + "\n" + yaml.safe_dump(content, sort_keys=False)


def _trials(tuning: TuningResult) -> list[str]:
    lines = []
    for method in tuning.spec.methods:
        result = tuning.chosen.get(method.optimizer)
        if result is None:
            lines.append(f"# {method.label}: no trial is finished; the experiment's own values.")
            continue
        ranges = ", ".join(
            f"{name} {number(its.low)} to {number(its.high)}" for name, its in method.ranges.items()
        )
        finished = len(tuning.ranked(method.optimizer))
        assert result.error  # what is chosen has finished seeds
        assert result.loss
        lines += [
            f"# {method.label}: trial {result.trial.index}, the best of {finished} finished of "
            f"{tuning.spec.trials} by validation {tuning.spec.choose};",
            f"#   error {format_statistic(result.error)} %, loss {result.loss.mean:.3f}; {ranges}.",
        ]
    return lines


def _commits(tuning: TuningResult) -> str:
    codes = [f.code for result in tuning.results for f in result.finished]
    return ", ".join(dict.fromkeys(codes))


def _last_day(tuning: TuningResult) -> str:
    return max(f.summary["finished"] for result in tuning.results for f in result.finished)[:10]
