"""How a setting is defined: name, type, range or choices, default and a line of help, in one place.

    class Training(Section):
        epochs: int = setting(200, "passes over the training images", ge=1)
        precision: Literal["fp32", "bf16"] = setting("fp32", "of the forward and backward pass")

What a value is checked against, what an error says was expected, and what ``--help`` shows are all
read from that line.
"""

import math
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

TYPE_NAMES = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}
TYPE_NAMES |= {list: "a list", dict: "a mapping"}
# Beyond these no setting makes sense, and torch overflows: of 32 bits, as its integers and floats.
LARGEST_INTEGER, LARGEST_FLOAT = 2**31 - 1, 1e30


class Section(BaseModel):
    """Settings that belong together. Unknown names are refused; objects cannot be changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1: ``training.epochs=true`` would be one epoch. In a list, too.
        Nor is 2.0 an integer."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = _kinds(annotation)
        if isinstance(value, float) and int in kinds and float not in kinds:
            raise PydanticCustomError("int_type", "a float is no integer")
        if isinstance(value, list) and any(isinstance(element, bool) for element in value):
            elements = [a for part in _parts(annotation) for a in get_args(part)]
            kinds = set().union(*map(_kinds, elements))
        elif not isinstance(value, bool):
            return value
        if kinds & {int, float} and bool not in kinds:
            raise PydanticCustomError("no_number", "true is no number")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _numbers_are_of_this_world(cls, value: Any, info: ValidationInfo) -> Any:
        """Finite and within bounds, in lists and mappings too; ``le`` of a setting widens them."""
        if cls.model_config.get("allow_inf_nan"):  # it says itself what it expects
            return value
        field = cls.model_fields[info.field_name or ""]
        largest = max((m.le for m in field.metadata if getattr(m, "le", None)), default=0)
        if (what := _beyond(value, largest)) is not None:
            place, number = what
            where = f"{place} in it is {shown(number)}; " if place else ""
            raise PydanticCustomError("custom", "{what}", {"what": where + _bound(number)})
        return value


def setting(
    default: Any = ...,
    help: str = "",
    *,
    expected: str | None = None,
    before: Any = ...,
    **limits: Any,
) -> Any:
    """One setting of a ``Section``.

    Args:
        default: without one the setting has to be given. A list or dict is copied.
        help: one line, for ``--help``.
        expected: what an error says was expected, where it is not to be derived from the limits.
        before: what records that do not name the setting were made with, where that is not the
            default: a default that is changed goes here, so that old records keep their meaning.
        limits: ``ge``, ``gt``, ``le``, ``lt``, ``min_length``, ``max_length``, as pydantic's.
    """
    more = ({"expected": expected} if expected else {}) | (
        {"before": before} if before is not ... else {}
    )
    if isinstance(default, (list, dict)):
        return Field(
            default_factory=default.copy, description=help, json_schema_extra=more or None, **limits
        )
    return Field(default, description=help, json_schema_extra=more or None, **limits)


def expected(field: FieldInfo) -> str:
    """ "at least 1", "from 0 to 1", "one of a, b or null": what values the setting can have."""
    if isinstance(field.json_schema_extra, dict) and "expected" in field.json_schema_extra:
        return str(field.json_schema_extra["expected"])
    kinds, choices = _kinds(field.annotation), choices_of(field)
    if choices:
        return f"one of {', '.join(map(shown, choices))}"
    limits = {
        name: getattr(m, name)
        for m in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(m, name, None) is not None
    }
    if section_itself(field.annotation) is not None:
        return "its settings"
    text = _range_in_words(limits, int in kinds)
    if not text:
        text = next((name for kind, name in TYPE_NAMES.items() if kind in kinds), "another value")
    return f"{text} or null" if type(None) in kinds else text


def choices_of(field: FieldInfo) -> tuple[Any, ...]:
    """The values of a setting that has a few, None among them where it may be null; else ()."""
    parts = _parts(field.annotation)
    literals = [value for p in parts if get_origin(p) is Literal for value in get_args(p)]
    nothing = [None] if literals and type(None) in parts else []
    return (*nothing, *literals)


def unrecorded_of(section: type[Section]) -> dict[str, Any]:
    """What a record that does not name a setting was made with, as plain containers: what its
    definition says it was ``before``, else its default. One that has to be given is left out."""
    values = {}
    for name, field in section.model_fields.items():
        more = field.json_schema_extra
        if (own := section_itself(field.annotation)) is not None:
            values[name] = unrecorded_of(own)
        elif isinstance(more, dict) and "before" in more:
            values[name] = more["before"]
        elif not field.is_required():
            values[name] = field.get_default(call_default_factory=True)
    return values


def section_itself(annotation: Any) -> type[Section] | None:
    """The section that a setting is; None for a list or dict of sections, and for a value."""
    # A list[int] counts as a type in Python 3.10.
    if get_origin(annotation) is None and isinstance(annotation, type):
        return annotation if issubclass(annotation, Section) else None
    return None


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a setting is, or is a list or dict of; else None."""
    for part in _parts(annotation):
        if (itself := section_itself(part)) is not None:
            return itself
        if get_origin(part) in (list, tuple, dict):
            for inner in get_args(part):
                if (found := section_of(inner)) is not None:
                    return found
    return None


def shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _beyond(value: Any, largest: float, place: str = "") -> tuple[str, float] | None:
    """The first number in a value that is not finite or too large, with its place in it."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        found = (
            _beyond(inner, largest, f"{place}[{key}]" if isinstance(value, list) else
                    f"{place}.{key}".lstrip(".")) for key, inner in pairs
        )  # fmt: skip
        return next((one for one in found if one is not None), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    bound = LARGEST_INTEGER if isinstance(value, int) else LARGEST_FLOAT
    fine = abs(value) <= max(bound, largest) and math.isfinite(value)
    return None if fine else (place, value)


def _bound(number: float) -> str:
    if isinstance(number, int):
        return f"expected an integer from -{LARGEST_INTEGER} to {LARGEST_INTEGER}"
    if not math.isfinite(number):
        return "expected a finite number"
    return f"expected a number from {-LARGEST_FLOAT:g} to {LARGEST_FLOAT:g}"


def _parts(annotation: Any) -> list[Any]:
    """The members of a union, or the annotation itself, without what Annotated adds."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for member in get_args(annotation) for part in _parts(member)]
    return [annotation]


def _kinds(annotation: Any) -> set[Any]:
    """The plain types of a setting's values: list, of a list of numbers."""
    return {get_origin(part) or part for part in _parts(annotation)}


def _range_in_words(limits: dict[str, float], whole: bool) -> str:
    low = limits.get("ge", limits.get("gt"))
    high = limits.get("le", limits.get("lt"))
    if low is None:
        return "" if high is None else f"{'at most' if 'le' in limits else 'below'} {high:g}"
    if high is None:
        if "gt" in limits:
            return "positive" if low == 0 else f"above {low:g}"
        return f"at least {low:g}" if whole and low > 0 else f"≥ {low:g}"
    start = f"from {low:g}" if "ge" in limits else f"above {low:g}"
    return f"{start} to {high:g}" if "le" in limits else f"{start} to below {high:g}"
