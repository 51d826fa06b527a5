"""What a number depends on besides its config: code, versions, processor."""

import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from gnp.tracking.compare import PLACES

PACKAGES = ("torch", "torchvision", "timm", "hydra-core", "omegaconf", "numpy")
CODE = Path(__file__).resolve().parents[2]


def describe_environment(
    device: str, overrides: Sequence[str] = (), processes: int = 1
) -> dict[str, Any]:
    """Facts about this start: plain values, no host or user name, no absolute path.

    Args:
        device: the accelerator's name, or "cpu".
        overrides: the command line's settings; those that name places are left out.
        processes: how many train together.
    """
    places = tuple(".".join(path) + "=" for path in PLACES)
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "overrides": [o for o in overrides if not o.lstrip("+").startswith(places)],
        "code": _code(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": device,
        "processes": processes,
    }


def code_hash() -> str:
    """Hash of the library's and the networks' sources: the same code gives the same hash, in a
    git checkout or not."""
    digest = hashlib.sha256()
    for package in ("gnp", "models"):
        for file in sorted((CODE / package).rglob("*.py")):
            digest.update(f"{file.relative_to(CODE)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _code() -> dict[str, Any]:
    """The commit, and whether the sources differ from it: None but in a checkout of our own. An
    installation inside another project's repository would otherwise name that one's commit."""
    commit = modified = None
    top = _git("rev-parse", "--show-toplevel")
    if top and Path(top).resolve() == CODE and _git("ls-files", "--", "gnp/__init__.py"):
        commit = _git("rev-parse", "HEAD")
        status = _git("status", "--porcelain", "--", "gnp", "models", "configs", "scripts")
        modified = None if status is None else bool(status)
    return {"commit": commit, "modified": modified, "hash": code_hash()}


def _git(*arguments: str) -> str | None:
    # Without these, which a hook of another repository sets, git goes by the folder alone.
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
    environment = {name: v for name, v in os.environ.items() if name not in elsewhere}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=CODE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
