"""A digest of values: the same whatever device tensors are on and whatever files they are from."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch


def digest_of(*values: Any) -> str:
    """SHA-256 over tensors, numbers, texts and containers of them, in their order, in hexadecimal
    digits."""
    digest = hashlib.sha256()
    for value in values:
        for piece in _pieces(value):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    """What a value is made of, so that no two values are made of the same."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        yield f"tensor {value.dtype} {tuple(value.shape)};".encode()
        # NumPy has no bfloat16, and a tensor without dimensions no view of bytes.
        yield value.reshape(-1).view(torch.uint8).numpy().data
    elif isinstance(value, Mapping):
        yield f"dict {len(value)};".encode()
        for key, entry in value.items():
            yield from _pieces(key)
            yield from _pieces(entry)
    elif isinstance(value, list | tuple):
        yield f"{type(value).__name__} {len(value)};".encode()
        for entry in value:
            yield from _pieces(entry)
    else:
        text = repr(value).encode()
        yield f"{type(value).__name__} {len(text)};".encode()
        yield text
