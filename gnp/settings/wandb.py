"""The settings of the mirror in wandb."""

from typing import Literal

from gnp.settings.section import Section, setting


class WandbSettings(Section):
    """What is left at its default is decided by wandb's own environment variables, if set."""

    mode: Literal["offline", "online", "disabled"] | None = setting(
        None,
        "files in the run's folder, a server, or nothing (null: WANDB_MODE, else offline)",
    )
    project: str | None = setting(None, "wandb's project (null: WANDB_PROJECT, else gnp)")
    tags: list[str] = setting([], "wandb's tags ([]: WANDB_TAGS)")
