"""A run as a job: where it lies and what trains it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from gnp.settings import Config
from gnp.settings.overrides import override


class Job:
    """One training of a table or a study. They add ``path`` and ``settings``, and ``change_in``
    where they are named for values of settings."""

    @property
    def path(self) -> Path:
        """Its identity, and its folder below ``<root>/runs``."""
        raise NotImplementedError

    def settings(self) -> list[str]:
        """What ``scripts/train.py`` is told to train it."""
        raise NotImplementedError

    def change_in(self, config: Config) -> str:
        """What the resolved config has otherwise than this run is named for, to be put behind
        "became …"; "" for nothing."""
        return ""

    def folder(self, root: str | Path) -> Path:
        return Path(root, "runs", self.path)

    def command(self, root: str | Path, overrides: list[str]) -> str:
        """The command that trains it, to be copied."""
        return shlex.join(["python", "scripts/train.py", *self.overrides(root, overrides)])

    def overrides(self, root: str | Path, further: Sequence[str]) -> list[str]:
        """All that ``scripts/train.py`` is told; what comes later wins."""
        return [*self.settings(), override("root", str(root)), *further]
