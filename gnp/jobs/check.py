"""Whether runs are those that their settings describe, before any of them is trained."""

from collections.abc import Sequence

from hydra import compose

from gnp.errors import UserError
from gnp.jobs.job import Job
from gnp.settings import defaults, resolve, run_path, to_plain
from gnp.settings.series import Series
from gnp.tracking.record import config_difference, read_config


class ConfigMismatch(UserError):
    """The runs that a table or a study wants are not those that its settings describe."""


def check_configs(spec: Series, runs: Sequence[Job], root: str) -> None:
    """Compose the configs of the first and the last run and of all recorded ones, before any child
    starts. Two, because an override such as optimizer.alpha=0 may leave the first as it is.

    Args:
        spec: the table or the study that ``runs`` are of.

    Raises:
        ConfigError: a setting of the spec does not exist or has a wrong value.
        ConfigMismatch: an override makes a run another one, or a record was made with another
            config; shows the differences.
    """
    complaints = []
    for run in runs:
        recorded = read_config(run.folder(root))
        if recorded is None and run not in (runs[0], runs[-1]):
            continue
        config = resolve(compose("train", run.overrides(root, spec.overrides)))
        place = (str(run_path(config)), config.root)
        change = run.change_in(config.optimizer)
        if place != (str(run.path), root) or change:
            raise ConfigMismatch(
                f"{spec.kind} {spec.name}: overrides change which run it is: {run.path} in {root} "
                f"became {place[0]} in {place[1]}{change}; set root=… and {spec.kind}.…=… instead"
            )
        if recorded is not None and (
            difference := config_difference(recorded, to_plain(config), defaults())
        ):
            complaints.append(f"  {run.folder(root)}: {'; '.join(difference)}")
    if complaints:
        raise ConfigMismatch(
            f"{len(complaints)} recorded runs have another config than {spec.kind} {spec.name} "
            f"wants:\n"
            + "\n".join(complaints)
            + "\nDelete those folders to train them again, or take another root=…."
        )
