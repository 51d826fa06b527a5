"""The settings of the mirror in wandb."""

from typing import Literal

from gnp.settings.section import Section, setting


class WandbSettings(Section):
    mode: Literal["offline", "online", "disabled"] = setting(
        "offline", "files in the run's folder, to be sent with wandb sync; a server; or nothing"
    )
    project: str = setting("gnp", "wandb's project")
    tags: list[str] = setting([], "wandb's tags")
