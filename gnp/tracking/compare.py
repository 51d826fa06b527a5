"""When two configs describe the same experiment."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

# Where files lie: said on the command line, recorded nowhere, so that a record can be published.
PLACES = (("root",), ("data_root",), ("dataset", "root"))
# What may differ between two starts of one run: that, how it runs, and who watches.
VOLATILE = (*PLACES, ("runtime",), ("wandb",))

NOT_SET = "(not set)"


def config_difference(
    recorded: Mapping[str, Any], wanted: Mapping[str, Any], unrecorded: Mapping[str, Any] = {}
) -> list[str]:
    """Lines "key: recorded → wanted" for what makes them two different experiments.

    A setting that one of them does not name has its value in ``unrecorded``, if there is one.
    """
    left, right = without(recorded, VOLATILE), without(wanted, VOLATILE)
    if repr(left) == repr(right):  # the usual case, and the quickest to see; True is not 1 here
        return []
    left, right = flatten(left), flatten(right)
    if left.keys() != right.keys():
        known = flatten(without(unrecorded, VOLATILE))
        left, right = known | left, known | right
    return [
        f"{key}: {left.get(key, NOT_SET)} recorded, {right.get(key, NOT_SET)} wanted"
        for key in sorted(left.keys() | right.keys())
        if not _same(left.get(key, NOT_SET), right.get(key, NOT_SET))
    ]


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that name the experiment that a config describes."""
    text = json.dumps(flatten(without(config, VOLATILE)), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without(config: Mapping[str, Any], paths: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """The config less the entries at ``paths``, which are one or two keys deep."""
    kept = dict(config)
    for key, *inner in paths:
        if not inner:
            kept.pop(key, None)
        elif isinstance(section := kept.get(key), Mapping):
            kept[key] = {k: v for k, v in section.items() if k != inner[0]}
    return kept


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if type(value) is dict or isinstance(value, Mapping):  # the latter takes longer
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + str(key)] = value
    return flat


def _same(left: Any, right: Any) -> bool:
    """Equal, and not only because True is 1: YAML may have brought one for the other."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)
