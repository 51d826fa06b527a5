"""The settings of a cluster: who runs a table or a study in place of this machine."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, field_validator
from pydantic_core import PydanticCustomError

from gnp.settings.section import Section, setting

# What the other settings say, or submitit says itself.
OWN = {
    "account": "cluster.account",
    "array": "cluster.array_size",
    "cpus-per-task": "cluster.cpus",
    "gpus-per-node": "cluster.gpus",
    "mem": "cluster.memory",
    "partition": "cluster.partition",
    "time": "cluster.time",
    "dependency": "",
    "error": "",
    "job-name": "",
    "no-requeue": "",
    "nodes": "",
    "ntasks": "",
    "ntasks-per-node": "",
    "output": "",
    "requeue": "",
    "signal": "",
}


def _word(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise PydanticCustomError("custom", "expected a name of the cluster's, in one line")
    return value


Word = Annotated[str, AfterValidator(_word)]


class ClusterSettings(Section):
    scheduler: Literal["none", "slurm"] = setting(
        "none", "slurm: hand the work to jobs there, in place of training it here"
    )
    array_size: int = setting(
        4, "jobs in the array, each a runner that takes runs from the one root", ge=1, le=1000
    )
    partition: Word | None = setting(None, "SLURM's partition; null: its default")
    account: Word | None = setting(None, "who pays; null: your default")
    time: int = setting(
        240, "minutes of a job; one that needs more is requeued and goes on", ge=1, le=525600
    )
    gpus: int = setting(1, "of a job; its runner trains a run on each at a time", ge=0, le=64)
    cpus: int = setting(4, "cores of a job", ge=1, le=1024)
    memory: float | None = setting(16.0, "GB of a job; null: the partition's default", gt=0, le=1e5)
    restarts: int = setting(
        100, "how often a job that ran out of time is requeued", ge=0, le=1_000_000
    )
    sbatch: list[Word] = setting(
        [], "further parameters of sbatch, by their long names: ['qos=low', 'exclusive']"
    )

    @field_validator("sbatch")
    @classmethod
    def _are_not_said_elsewhere(cls, values: list[str]) -> list[str]:
        for name in parameters_of(values):
            if len(name) == 1:
                what = f"-{name} is a short name; write the long one"
                raise PydanticCustomError("custom", "{what}", {"what": what})
            name = name.replace("_", "-")
            if name in OWN:
                where = OWN[name] or "this program"
                raise PydanticCustomError("custom", "{what}", {"what": f"{name} is set by {where}"})
        return values


def parameters_of(sbatch: Iterable[str]) -> dict[str, str | bool]:
    """["qos=low", "--exclusive"] → {"qos": "low", "exclusive": True}."""
    pairs = [text.lstrip("-").partition("=") for text in sbatch]
    return {name: value if equals else True for name, equals, value in pairs}
