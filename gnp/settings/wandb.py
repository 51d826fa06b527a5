"""The settings of the mirror in wandb."""

from typing import Literal

from gnp.settings.section import Section, setting


class WandbSettings(Section):
    """What is left at its default is decided by wandb's own environment variables, if set."""

    mode: Literal["offline", "online", "disabled"] | None = setting(
        None,
        "files in <root>/wandb, a server, or nothing (null: WANDB_MODE, else offline)",
    )
    project: str | None = setting(None, "wandb's project (null: WANDB_PROJECT, else gnp)")
    tags: list[str] = setting([], "wandb's tags ([]: WANDB_TAGS)")
    entity: str | None = setting(None, "wandb's user or team (null: WANDB_ENTITY)")
    group: str | None = setting(
        None, "wandb's group (null: WANDB_RUN_GROUP, else the run's place without its seed)"
    )
    notes: str | None = setting(None, "wandb's notes (null: WANDB_NOTES)")
