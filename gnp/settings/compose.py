"""From what Hydra composed to a run's settings, checked."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gnp.settings.messages import ConfigError, checked, suggest
from gnp.settings.recipe import unread_names
from gnp.settings.run import Config

OFFICIAL = "official"  # what the names of presets of the authors' code begin with


def _by_fidelity(fidelity: str, usual: str, official: str) -> str:
    """``${by_fidelity:${fidelity},a,b}`` in a defaults list: choose b where the fidelity is the
    official code's of any year, else a. What the command line names comes before both."""
    return official if fidelity.startswith(OFFICIAL) else usual


OmegaConf.register_new_resolver("by_fidelity", _by_fidelity, replace=True)


def validate(composed: DictConfig) -> Config:
    """``resolve``, and the arguments of the network and the base optimizer checked too.

    Raises:
        ConfigError: settings that do not exist (with a suggestion), of the wrong type, or outside
            their range; a line each.
    """
    config = resolve(composed)
    complaints = [
        *_wrong_arguments("model", config.model),
        *_wrong_arguments("optimizer.base", config.optimizer.base),
    ]
    if complaints:
        raise ConfigError("\n".join(complaints))
    return config


def resolve(composed: DictConfig) -> Config:
    """The composed config as a ``Config``, every interpolation resolved; imports no network.

    ``recipe``, which only the other sections refer to, is gone from it.

    Raises:
        ConfigError: as ``validate``, but for ``model`` and ``optimizer.base``.
    """
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from error
    recipe = plain.pop("recipe", {})
    return checked(Config, plain, also=unread_names(recipe))


def explain(error: OmegaConfBaseException) -> str:
    """OmegaConf's complaint in one line, with the setting's full name."""
    first_line = str(error).split("\n", 1)[0]
    name = getattr(error, "full_key", None) or getattr(error, "key", None)
    return first_line if name is None else f"{name}: {first_line}"


def _wrong_arguments(section: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Compare a section's keys with the parameters of the callable its ``_target_`` names."""
    target = node.get("_target_")
    if target is None:
        yield f"{section} has no _target_ (the dotted name of a class or function)"
        return
    try:
        parameters = inspect.signature(get_object(target)).parameters
    except Exception as error:  # ImportError, AttributeError, Hydra's own refusals
        if isinstance(error.__cause__, MemoryError | OSError):  # no fault of the name's
            raise error.__cause__ from error
        yield f"{section}._target_={target} cannot be imported: {error}"
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for key in node:
        if key not in parameters and not key.startswith("_"):
            yield f"{target} has no argument {key!r} ({section}.{key}).{suggest(key, parameters)}"
