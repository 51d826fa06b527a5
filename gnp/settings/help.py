"""What ``--help`` says of the settings: name and value, help line, range or choices."""

import math
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import Container, OmegaConf
from pydantic.fields import FieldInfo

from gnp.settings.section import TYPE_NAMES, Section, expected, section_itself, section_of

WIDEST = 100  # characters of a line; fewer where the terminal has fewer


AT_SPACES = {"break_on_hyphens": False, "break_long_words": False}


def width() -> int:
    """Of a line: as the terminal or COLUMNS says."""
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)


def offer_help(
    section: type[Section], **nested: type[Section] | Callable[[Mapping[str, Any]], type[Section]]
) -> None:
    """Make ``${settings_help:}`` in a Hydra help template the settings that are composed, as
    ``section`` defines them, and below the entries ``nested`` names those of other sections (of one
    that depends on what is composed: what makes it of that); and ``${choices:…}`` those of some
    groups."""

    def resolver(*, _root_: Container) -> str:
        # The template is in Hydra's own entry: resolving that here would have no end.
        own = OmegaConf.masked_copy(_root_, [key for key in _root_ if key != "hydra"])
        values = OmegaConf.to_container(own, resolve=True)
        texts = [settings_help(section, values)]
        for name, its in nested.items():
            own_section = its if isinstance(its, type) else its(values[name])
            texts.append(settings_help(own_section, values[name], f"{name}."))
        return "\n\n".join(texts).replace("$", "$$")  # Hydra fills in a string.Template afterwards

    OmegaConf.register_new_resolver("settings_help", resolver, replace=True)
    OmegaConf.register_new_resolver("choices", choices, replace=True)


def choices(*groups: str) -> str:
    """``${choices:table,cluster}`` in a Hydra help template: a line or a few for each group of
    configs, and for each folder in it; those of --config-dir are among them. Folders ``part`` hold
    pieces of choices."""
    loader = GlobalHydra.instance().config_loader()
    return "\n".join(
        _wrapped(f"{folder}: {', '.join(names)}")
        for group in groups
        for folder, names in group_choices(loader, group).items()
    )


def group_choices(loader: ConfigLoader, group: str) -> dict[str, list[str]]:
    """{folder: the choices in it} of a group and of the folders in it, those with choices."""
    folders = [f"{group}/{name}" for name in loader.list_groups(group) if name != "part"]
    listed = {folder: loader.get_group_options(folder) for folder in (group, *folders)}
    return {folder: names for folder, names in listed.items() if names}


def settings_help(section: type[Section], values: Mapping[str, Any], prefix: str = "") -> str:
    """A line or a few for each setting, "name: value" first, in the order of the definitions.

    Args:
        values: plain containers. A setting that is not among them has its default. The keys of a
            mapping (a network's arguments, a table's parts) can be set, too, and have a line each.
        prefix: what the names begin with, such as "table.".
    """
    return "\n".join(_lines(section, values, prefix))


def _lines(section: type[Section], values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, field in section.model_fields.items():
        name, value = prefix + key, values.get(key, _default(field))
        if (own := section_itself(field.annotation)) is not None:
            yield f"\n{_wrapped(f'{name}: {field.description}')}"
            yield from _lines(own, values.get(key, {}), f"{name}.")
        elif isinstance(value, Mapping):
            yield _wrapped(f"{name}: {field.description}")
            yield from _lines_of_keys(section_of(field.annotation), value, name)
        else:
            yield _line(name, value, _about(field))


def _lines_of_keys(
    section: type[Section] | None, values: Mapping[str, Any], name: str
) -> Iterator[str]:
    """Of a mapping, to sections or to values without a definition."""
    for key, value in values.items():
        if section is not None and isinstance(value, Mapping):
            yield from _lines(section, value, f"{name}.{key}.")
        else:
            yield _line(f"{name}.{key}", value)


def _line(name: str, value: Any, about: str = "") -> str:
    """The help begins in a column of its own, or where a value is long in a line of its own."""
    head, column = f"{name}: {_shown(value)}", width() * 4 // 9
    fits, indent = len(head) < column, " " * column
    text = textwrap.fill(
        about,
        width(),
        initial_indent=head.ljust(column) if fits else indent,
        subsequent_indent=indent,
        **AT_SPACES,
    )
    if fits and about:
        return text
    return f"{_wrapped(head)}\n{text}".rstrip()


def _wrapped(text: str) -> str:
    return textwrap.fill(text, width(), subsequent_indent="  ", **AT_SPACES)


def _about(field: FieldInfo) -> str:
    """The help line, with the range or the choices where there are some."""
    wanted = expected(field)
    if wanted in TYPE_NAMES.values():
        return field.description
    return f"{field.description} [{wanted}]"


def _default(field: FieldInfo) -> Any:
    return "(not set)" if field.is_required() else field.get_default(call_default_factory=True)


def _shown(value: Any) -> str:
    """As a command line takes it: YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("...\n").strip()
