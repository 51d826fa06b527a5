"""The C library's allocator, told to keep what is freed for the next step."""

import ctypes
import os
import sys
from contextlib import suppress

# <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
GIB = 1 << 30


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors in this process.

    By default it gives blocks of some hundred KB and more back to the system when they are freed.
    Training on the CPU asks for the same blocks in the next step, and the system then has to fill
    each of their pages with zeros: up to a fifth of a small network's step
    (results/benchmark/allocator.md).

    Where somebody has set the allocator by its environment variables, and with other C libraries,
    nothing is changed.
    """
    tuned = os.environ.get("GLIBC_TUNABLES", "")
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in tuned:
        return
    if not sys.platform.startswith("linux"):
        return
    with suppress(OSError, AttributeError):  # no such function: musl
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, GIB)
        library.mallopt(M_TRIM_THRESHOLD, 2 * GIB - 1)
