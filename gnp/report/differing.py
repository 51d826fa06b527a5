"""The settings in which configs differ, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from gnp.report.numbers import MISSING
from gnp.tracking.compare import VOLATILE, flatten, without

IDENTITY = {"seed", "method"}  # what names a run, and sets nothing by itself


def differing(
    configs: Sequence[Mapping[str, Any]], unrecorded: Mapping[str, Any] = {}
) -> list[tuple[str, list[str]]]:
    """(setting, its value in each config) of those that are not the same in all; "—" where it is
    not set.

    Args:
        unrecorded: what a record that does not name a setting was made with.
    """
    known = flatten(without(unrecorded, VOLATILE))
    flat = [known | flatten(without(config, VOLATILE)) for config in configs]
    keys = sorted({key for one in flat for key in one} - IDENTITY)
    rows = [(key, [_shown(one[key]) if key in one else MISSING for one in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _shown(value: Any) -> str:
    """As in the config's file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
