"""A digest of tensors: the same whatever device they are on and whatever files they are from."""

import hashlib
from collections.abc import Iterable

from torch import Tensor


def digest_of(text: str, tensors: Iterable[Tensor]) -> str:
    """SHA-256 of a text and of the types, shapes and values of tensors, in hexadecimal digits."""
    digest = hashlib.sha256(text.encode())
    for tensor in tensors:
        array = tensor.cpu().contiguous().numpy()
        digest.update(f"\n{array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
