"""What is said of a setting that does not exist or has a value that it cannot have."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gnp.errors import UserError
from gnp.settings.section import Section, expected, section_itself, section_of, shown

S = TypeVar("S", bound=Section)

# pydantic's error types for a value of another type, and what could not be made of it.
WRONG_TYPE = {"int": "Integer", "float": "Float", "bool": "Boolean", "string": "String"}
WRONG_TYPE |= {"list": "List", "dict": "Mapping", "model": "Mapping", "tuple": "List"}


class ConfigError(UserError, ValueError):
    """A setting that does not exist, or has a value it cannot have."""


def checked(
    section: type[S],
    values: Mapping[str, Any],
    prefix: str = "",
    error: type[UserError] = ConfigError,
    also: Iterable[str] = (),
) -> S:
    """The section with these values.

    Args:
        values: plain containers.
        prefix: dotted name of the section itself, for the messages: "table".
        error: what is raised.
        also: complaints that were found elsewhere, to be raised with these.

    Raises:
        error: a name that does not exist (with a suggestion), a value that is missing, of the wrong
            type or outside its range: all of them, a line each.
    """
    complaints = [*also]
    try:
        result = section.model_validate(dict(values))
    except ValidationError as found:
        complaints += [complaint(section, values, details, prefix) for details in found.errors()]
    if complaints:
        raise error("\n".join(dict.fromkeys(complaints)))
    return result


def complaint(
    section: type[Section], values: Mapping[str, Any], details: ErrorDetails, prefix: str = ""
) -> str:
    """One of pydantic's errors in one line, with the setting's full name."""
    path, field = _deepest_field(section, details["loc"])
    value = details["input"] if path == details["loc"] else _value_at(values, path)
    name = dotted(path, prefix)
    kind = details["type"]
    if kind == "extra_forbidden":
        before = name.removesuffix(str(path[-1]))
        beside = [before + n for n in _section_at(section, path[:-1]).model_fields]
        known = [f"{prefix}.{n}" if prefix else n for n in names_of(section)]
        return f"there is no setting {name!r}.{suggest(name, beside) or suggest(name, known)}"
    if kind == "missing":
        return f"{name} is missing; expected {expected(field) if field else 'a value'}"
    stem = kind.split("_")[0]
    if stem in WRONG_TYPE and not kind.startswith(("string_too", "string_pattern")):
        wanted = WRONG_TYPE[stem]
        if (element := details["loc"][len(path) :][:1]) and isinstance(element[0], int):
            name, value = dotted((*path, *element), prefix), value[element[0]]
    elif kind == "no_number":
        wanted = WRONG_TYPE["float" if field and _has(field, float) else "int"]
    else:
        if field and _has(field, float) and type(value) is int:
            value = float(value)
        said = (
            details["msg"] if kind == "custom" or field is None else f"expected {expected(field)}"
        )
        of_a_section = not path or (
            field is not None
            and isinstance(value, Mapping)
            and (section_of(field.annotation) is not None)
        )
        return said if of_a_section else f"{name} is {shown(value)}; {said}"
    kind = type(value).__name__
    return f"{name}: Value '{value}' of type {kind!r} could not be converted to {wanted}"


def dotted(path: Sequence[int | str], prefix: str = "") -> str:
    """ "parts.cnn.rows[0].label"."""
    name = prefix
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def names_of(section: type[Section], prefix: str = "") -> list[str]:
    """Every dotted name of a section and those below it, themselves included; what a mapping or a
    list has many of is called <name> or <number>."""
    names = []
    for key, field in section.model_fields.items():
        names.append(prefix + key)
        if (own := section_itself(field.annotation)) is not None:
            names += names_of(own, f"{prefix}{key}.")
        elif (inner := section_of(field.annotation)) is not None:
            of_each = "<name>." if get_origin(field.annotation) is dict else "<number>."
            names += names_of(inner, f"{prefix}{key}.{of_each}")
    return names


def suggest(name: str, candidates: Iterable[str]) -> str:
    """ " Did you mean …?", or nothing."""
    found = closest(name, candidates)
    return "" if found is None else f" Did you mean {found!r}?"


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is most like a name, if one is: by whole names, then by their last parts,
    and not by capitals."""
    candidates = list(candidates)
    wholes = {c.lower(): c for c in reversed(candidates)}
    for known, wanted, cutoff in (
        (wholes, name.lower(), 0.75),
        ({_last(c): c for c in reversed(candidates)}, _last(name), 0.6),
    ):
        if close := difflib.get_close_matches(wanted, known, n=1, cutoff=cutoff):
            return known[close[0]]
    return None


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower()


def _deepest_field(
    section: type[Section], location: Sequence[int | str]
) -> tuple[tuple[int | str, ...], FieldInfo | None]:
    """The part of a location that leads to a setting, and the setting. An error in an element of a
    list of numbers is an error of the list."""
    at: type[Section] | None = section
    field = None
    for depth, part in enumerate(location):
        if at is not None and isinstance(part, str) and part in at.model_fields:
            field = at.model_fields[part]
            inner = section_of(field.annotation)
            if inner is None:
                return tuple(location[: depth + 1]), field
            at = inner
        elif at is not None and isinstance(part, str) and depth == len(location) - 1:
            return tuple(location), None  # a name that does not exist
    return tuple(location), field


def _section_at(section: type[Section], location: Sequence[int | str]) -> type[Section]:
    for part in location:
        if isinstance(part, str) and part in section.model_fields:
            section = section_of(section.model_fields[part].annotation) or section
    return section


def _value_at(values: Any, path: Sequence[int | str]) -> Any:
    for part in path:
        values = values[part]
    return values


def _has(field: FieldInfo, kind: type) -> bool:
    annotation = field.annotation
    return annotation is kind or kind in getattr(annotation, "__args__", ())
