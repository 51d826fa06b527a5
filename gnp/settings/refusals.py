"""What is said of a command line that Hydra, OmegaConf or YAML refuse: one message, which says what
is wanted."""

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gnp.errors import UserError
from gnp.settings.dataset import no_such
from gnp.settings.help import group_choices
from gnp.settings.messages import closest, suggest
from gnp.settings.overrides import IDENTITY

COMPOSING = ("hydra", "omegaconf", "antlr4", "yaml")  # packages that read what the user wrote
MORE = {"model": " A network of timm is taken by its name: model=timm model.name={name}"}


@dataclass(frozen=True)
class Names:
    """Dotted names that a command line may have.

    Attributes:
        own: of the script's settings and config groups.
        of_runs: of the settings that ``overrides`` gives to each run of a series.
        unread: of settings that say how runs are trained, where none is.
    """

    own: Sequence[str]
    of_runs: Sequence[str] = ()
    unread: Sequence[str] = ()


class WrongOption(UserError):
    """An argument with a dash that no script has."""


class SeveralRefused(HydraException):
    """Settings that Hydra cannot apply, each for a reason of its own."""

    def __init__(self, errors: Sequence[HydraException]):
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


_apply = ConfigLoaderImpl._apply_overrides_to_config


def name_all_refused() -> None:
    """Let Hydra raise ``SeveralRefused`` where it cannot apply several settings: by itself it ends
    at the first."""
    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(_apply_each)


def _apply_each(overrides: Sequence[Override], config: DictConfig) -> None:
    refused = []
    for override in overrides:
        try:
            _apply([override], config)
        except HydraException as error:
            refused.append(error)
    if refused:
        raise refused[0] if len(refused) == 1 else SeveralRefused(refused)


def refuse_dashes(given: Sequence[str], names: Names) -> None:
    """``--epochs 3`` is no option of Hydra's; its own words for that are its usage.

    Raises:
        WrongOption: there is such an argument; says how the setting is written.
    """
    _, unknown = get_args_parser().parse_known_args(given)
    if not (options := [one for one in unknown if one.startswith("-")]):
        return
    name, has_value, value = options[0].lstrip("-").replace("-", "_").partition("=")
    after = given[given.index(options[0]) + 1 :][:1]
    if not has_value and after and "=" not in after[0] and not after[0].startswith("-"):
        value = after[0]
    if meant := _named(name, names.own):
        raise WrongOption(f"{options[0]}: settings have no dashes; write {_assigned(meant, value)}")
    if meant := _named(name, _settable(names)):
        raise WrongOption(
            f"{options[0]}: settings have no dashes, and {_to_each_run(meant, value)}"
        )
    raise WrongOption(
        f"there is no option {options[0]}, and settings have no dashes: name=value; --help lists "
        f"them.{suggest(name, names.own)}"
    )


def refusal(error: Exception, names: Names) -> str | None:
    """What Hydra, OmegaConf or YAML refuse, as one message; None for another error."""
    if isinstance(error, SeveralRefused):
        return "\n".join(refusal(one, names) or str(one) for one in error.errors)
    message = str(error).strip()
    if unknown := re.search(r"Could not override '([^']+)'", message):
        # A name that has a quote in it ends there in the message, but not in its cause; the cause
        # in turn ends where the config does.
        name = max(unknown[1], str(getattr(error.__cause__, "full_key", "")), key=len)
        return _unknown(name, error, names)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_choice(error.missing_cfg_file, error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error, names)
    if isinstance(error, HydraException | OmegaConfBaseException | YAMLError):
        return message
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [frame.f_globals.get("__name__", "").split(".")[0] for frame in frames]
    known = [package for package in packages if package in (*COMPOSING, "gnp", "__main__")]
    if not known or known[-1] not in COMPOSING:
        return None
    # Their own ValueError and the like do not say which setting it was; their frames do.
    override = _override_at_work(error)
    if override and "Config group override must be" in message:
        name = override.partition("=")[0]
        message = f"{name} is one of the choices that --help lists; leave it out for the default"
    return f"{override}: {message}" if override else message


def _unreadable(error: OverrideParseException, names: Names) -> str:
    text = error.override
    if re.fullmatch(r"[\w./-]+", text):
        return f"{text}: settings are written name=value; {_meant_by(text, error, names)}"
    reason = " ".join(str(error).strip().split("\nSee ")[0].split())
    return f"{text}: Hydra cannot read this setting ({reason}); {_in_quotes(text)}"


def _meant_by(word: str, error: Exception, names: Names) -> str:
    """Of a word by itself: the groups that have it as a choice, or the setting of that name."""
    if (loader := _loader(error)) is not None:
        of_groups = {name: _choices(loader, name) for name in names.own if "." not in name}
        for same in (str.__eq__, lambda a, b: a.lower() == b.lower()):
            found = [
                f"{group}={choice}"
                for group, choices in of_groups.items()
                for choice in choices
                if same(choice, word)
            ]
            if found:
                return f"write {' or '.join(found)}"
    if meant := _named(word, names.own):
        return f"write {meant}=…"
    return f"--help lists the names.{suggest(word, names.own)}"


def _in_quotes(text: str) -> str:
    """How a list of settings, or another value that Hydra cannot read, is written."""
    name, _, value = text.partition("=")
    if value.startswith("[") and value.endswith("]") and "=" in value and "'" not in value:
        entries = ",".join(f"'{entry.strip()}'" for entry in value[1:-1].split(","))
        return f'each entry takes quotes, and the whole those of the shell: "{name}=[{entries}]"'
    return "put quotes round its value, inside those of the shell: 'name=\"value\"'"


def _no_choice(missing: str, error: Exception) -> str:
    """A choice may lie in a folder of its group (experiment/mini/vgg16), as may a group."""
    parts, loader = missing.split("/"), _loader(error)
    for length in range(1, len(parts) if loader is not None else 1):
        group, name = "/".join(parts[:length]), "/".join(parts[length:])
        if known := _choices(loader, group):
            choices = f"there are: {', '.join(known)}."
            more = MORE.get(group, "").format(name=name)
            return f"there is no {group} {name!r}; {choices}{suggest(name, known)}{more}"
    return f"there is no config {missing!r}"


def _choices(loader: ConfigLoader, group: str) -> list[str]:
    """With "mini/vgg16" and the like: Hydra's own list has none that lie in folders."""
    return [
        f"{folder}/{name}".removeprefix(f"{group}/")
        for folder, names in group_choices(loader, group).items()
        for name in names
    ]


def _unknown(name: str, error: Exception, names: Names) -> str:
    section, _, key = name.rpartition(".")
    if name in names.own:
        # It is a setting, but not one of what is composed here.
        node = getattr(error.__cause__, "parent_node", None)
        if section == "dataset" and node is not None:
            return no_such(node.get("source"), key)
        return f"{name!r} is not in this config; add it with a plus sign: +{name}=…"
    if name in names.unread:
        return f"{name} says how runs are trained, and nothing is trained here; leave it out"
    _, _, value = (_override_at_work(error) or "").partition("=")
    settable = _settable(names)
    if meant := _named(name, settable):
        return f"there is no setting {name!r} here: {_to_each_run(meant, value)}"
    # A section of runs is none of the series': what is like it is looked for there.
    if name.split(".")[0] in settable and (meant := closest(name, settable)):
        return (
            f"there is no setting {name!r}. Did you mean {meant!r}? If so, "
            f"{_to_each_run(meant, value)}"
        )
    return f"there is no setting {name!r}.{suggest(name, names.own)}"


def _named(name: str, known: Sequence[str]) -> str | None:
    """The setting of this name, or the only one whose name ends so."""
    ending = [setting for setting in known if setting.split(".")[-1] == name]
    return name if name in known else ending[0] if len(ending) == 1 else None


def _settable(names: Names) -> list[str]:
    """What ``overrides`` may say: nothing of what makes a run another one."""
    return [name for name in names.of_runs if name not in IDENTITY]


def _assigned(name: str, value: str) -> str:
    return f"{name}={value or '…'}"


def _to_each_run(name: str, value: str) -> str:
    shown = "" if "'" in value else value
    return f"runs are given it by \"overrides=['{_assigned(name, shown)}']\""


def _loader(error: Exception) -> ConfigLoader | None:
    """Of the composition that failed: what it raises does not say where configs were looked for."""
    found = _locals(error, "self")
    return next((loader for loader in found if isinstance(loader, ConfigLoader)), None)


def _override_at_work(error: Exception) -> str | None:
    """The setting that was being applied when the error was raised, as it was written."""
    lines = [getattr(one, "input_line", None) for one in _locals(error, "override")]
    return next((line for line in reversed(lines) if line), None)


def _locals(error: Exception, name: str) -> list[object]:
    """The values of a variable, from the outermost frame that the error went through to the
    innermost."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [frame.f_locals[name] for frame in frames if name in frame.f_locals]
