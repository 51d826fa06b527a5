"""The streams of random numbers of a run, each with a seed of its own."""

import hashlib
import random

import numpy as np
import torch


def stream_seed(seed: int, stream: str, epoch: int = 0) -> int:
    """Seed of one stream of random numbers in one epoch.

    Deriving it from (seed, stream, epoch) keeps generators out of the checkpoint, and gives all
    methods of one seed the same initial weights, batches and augmentation.
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes int64


def seed_network(seed: int) -> None:
    """All generators that a network may draw from: torch's, Python's and NumPy's."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
