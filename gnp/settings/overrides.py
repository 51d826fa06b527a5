"""Overrides in Hydra's grammar: made from a name and a value, and read before they are used."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

# What makes a run another one: its place, or what its place says of it.
IDENTITY = ("experiment", "dataset", "augmentation", "optimizer", "fidelity", "method", "seed")
IDENTITY = (*IDENTITY, "root", "dataset.name", "augmentation.name", "optimizer.name")


@lru_cache(maxsize=4096)  # the same few for all seeds; Hydra's parser takes a millisecond
def override(name: str, value: str) -> str:
    """ "root=outputs", or "root='lr=0.1, é'": what Hydra reads back as that very text."""
    plain = f"{name}={value}"
    if "${" not in value and _reads_as(plain, value):
        return plain
    return f"{name}={quoted(value)}"


def quoted(value: str) -> str:
    """A text in quotes, with what stands for something else in Hydra's and OmegaConf's grammar
    escaped: quotes, ``${`` and the backslashes before them."""
    parts = value.split("${")
    # OmegaConf: \${ is no interpolation, and the backslashes before it are halved.
    text = r"\${".join([*(_doubled_at_the_end(part) for part in parts[:-1]), parts[-1]])
    return f"'{_escape_quotes(text)}'"


def parsed(overrides: Iterable[str]) -> list[Override]:
    """Raises: ValueError, in one line."""
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ValueError(" ".join(str(error).split("\nSee ")[0].split())) from error


def wrong_in(overrides: Iterable[str], fixed: Sequence[str]) -> str | None:
    """What is wrong with the overrides of a series or a method, in one line.

    Args:
        fixed: names that these overrides must not set.
    """
    for text in overrides:
        try:
            (one,) = parsed([text])
        except ValueError as error:
            return f"{text!r} is no setting: {error}"
        if one.is_sweep_override():
            return f"{text} has several values; a run has one of each"
        if one.key_or_group in fixed:
            return f"overrides change which run it is: {text}; that is said elsewhere, not here"
    return None


def _reads_as(text: str, value: str) -> bool:
    try:
        (read,) = parsed([text])
    except ValueError:
        return False
    return isinstance(read._value, str) and read._value == value


def _doubled_at_the_end(text: str) -> str:
    kept = text.rstrip("\\")
    return kept + "\\" * 2 * (len(text) - len(kept))


def _escape_quotes(text: str) -> str:
    """Each quote gets a backslash, and the backslashes before a quote or the end are doubled."""
    return "\\'".join(_doubled_at_the_end(part) for part in text.split("'"))


def inherited_search_path() -> list[str]:
    """The override that gives a further composition the folders of configs that the Hydra job at
    work has beside its own, from --config-dir or hydra.searchpath; nothing where there are none."""
    if not HydraConfig.initialized():
        return []
    sources = HydraConfig.get().runtime.config_sources
    own = ("hydra", "main", "schema")
    paths = [s.path if "://" in s.path else f"{s.schema}://{s.path}" for s in sources
             if s.provider not in own]  # fmt: skip
    return [f"hydra.searchpath=[{','.join(map(quoted, paths))}]"] if paths else []
