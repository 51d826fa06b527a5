"""What Hydra composed, kept in the user's cache folder: a composition takes a tenth of a second,
and a table of many cells asks for the same ones at each start.

Kept by all that it is made of: the text of every config file on the search path, the overrides, the
resolvers that a defaults list may use, and the versions of Hydra and OmegaConf. Interpolations are
kept as they were written, so what the environment says is asked anew. Nothing depends on the
cache: what cannot be read or written there is composed.
"""

import atexit
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from gnp.files import StorageError, user_cache, write_json
from gnp.settings import compose as resolvers
from gnp.tracking.checksums import KEY, fits_its_checksum, with_checksum

MOST_KEPT = 16  # files, one for each state of the configs; the oldest goes
MOST_ENTRIES = 300  # of a file; a root of its own is an entry of its own


class Compositions:
    """Of one config, by overrides. Needs Hydra to be initialised.

    Args:
        name: of the config: "train".
        folder: where they are kept; the user's cache folder by default.
    """

    def __init__(self, name: str, folder: Path | None = None):
        self._name, self._folder = name, folder or user_cache() / "compositions"
        self._new: dict[str, Any] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """As ``hydra.compose``.

        Raises: what that raises.
        """
        key = json.dumps(list(overrides))
        if (plain := self._known.get(key)) is not None:
            return OmegaConf.create(plain)
        composed = compose(self._name, list(overrides))
        plain = OmegaConf.to_container(composed)
        # Configs elsewhere are no part of what it is kept by.
        if _is_json(plain) and not any("searchpath" in override for override in overrides):
            if not self._new:
                atexit.register(self.keep)
            self._known[key] = self._new[key] = plain
        return composed

    def keep(self) -> None:
        """Write those that were composed. Whoever else does so meanwhile loses nothing but time."""
        if not self._new:
            return
        with suppress(StorageError, OSError):
            if self._file != self._place():  # a config was changed while they were composed
                return
            kept = {**_read(self._file), **self._new}
            kept = dict(list(kept.items())[-MOST_ENTRIES:])
            write_json(self._file, with_checksum(kept))
            others = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
            for file in others[:-MOST_KEPT]:
                file.unlink(missing_ok=True)
        self._new = {}

    @cached_property
    def _known(self) -> dict[str, Any]:
        return _read(self._file)

    @cached_property
    def _file(self) -> Path:
        return self._place()

    @cached_property
    def _search_path(self) -> list[tuple[str, str]]:
        """(provider, path): Hydra has it no more when the process ends."""
        entries = GlobalHydra.instance().config_loader().get_search_path().get_path()
        return [(str(entry.provider), entry.path or "") for entry in entries]

    def _place(self) -> Path:
        digest = hashlib.sha256()
        for part in _all_that_it_is_made_of(self._search_path):
            digest.update(len(part).to_bytes(8, "big") + part)
        return self._folder / f"{self._name}-{digest.hexdigest()[:24]}.json"


def _all_that_it_is_made_of(search_path: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    yield from (version(package).encode() for package in ("hydra-core", "omegaconf"))
    yield Path(resolvers.__file__).read_bytes()
    for provider, path in search_path:
        yield f"{provider} {path}".encode()
        scheme, _, place = path.rpartition("://")
        if scheme in ("", "file"):
            # Links to folders too, as Hydra finds what is in them.
            for folder, _, names in sorted(os.walk(place, followlinks=True)):
                for name in sorted(name for name in names if name.endswith(".yaml")):
                    file = Path(folder, name)
                    yield str(file.relative_to(place)).encode()
                    yield file.read_bytes()


def _is_json(plain: Any) -> bool:
    """Whether it is read back as it is: no other keys than texts, no NaN, no text that is bytes."""
    try:
        return json.loads(json.dumps(plain, allow_nan=False)) == plain
    except (TypeError, ValueError):
        return False


def _read(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict) or not fits_its_checksum(kept):
        return {}
    kept.pop(KEY)
    return kept
