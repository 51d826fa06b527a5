"""What the messages of errors and warnings share."""

import sys


def describe(value: object) -> str:
    """What something is: "'str'", "SGD (a class)"."""
    return value.__name__ + " (a class)" if isinstance(value, type) else repr(type(value).__name__)


def levels_to_the_caller() -> int:
    """Of the first frame that is neither ours nor torch's nor the standard library's contexts."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "").split(".")[0]
        if module not in ("gnp", "torch", "contextlib"):
            break
        level, frame = level + 1, frame.f_back
    return level
