"""A record's files prove that they are what was written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEY = "sha256"


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, as ``sha256sum`` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def checksum_of(content: bytes) -> str:
    """``file_checksum`` of a file with this content."""
    return hashlib.sha256(content).hexdigest()


def with_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` with the checksum of its other entries under "sha256"."""
    return {**value, KEY: _checksum(value)}


def fits_its_checksum(value: Mapping[str, Any]) -> bool:
    return value.get(KEY) == _checksum(value)


def _checksum(value: Mapping[str, Any]) -> str:
    rest = {key: entry for key, entry in value.items() if key != KEY}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
