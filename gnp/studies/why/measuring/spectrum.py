"""The Hessian's largest eigenvalues and its trace, from products with vectors alone."""

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from gnp.training.vectors import Vector, dot

Product = Callable[[Sequence[Tensor]], Vector]
TOLERANCE = 1e-2  # relative, of an eigenvalue
SEED = 0


def top_eigenvalues(
    product: Product, like: Sequence[Tensor], count: int, tolerance: float = TOLERANCE
) -> list[float]:
    """The ``count`` algebraically largest ones, the largest first: scipy's ``eigsh`` (ARPACK).

    Args:
        product: v → H v.
        like: tensors of the shapes of a vector's.
    """
    size = sum(p.numel() for p in like)

    def times(flat: np.ndarray) -> np.ndarray:
        return to_flat(product(from_flat(flat, like)))

    operator = LinearOperator((size, size), matvec=times, dtype=np.float64)
    start = np.random.default_rng(SEED).standard_normal(size)
    # Few Lanczos vectors: each costs a product, and those of networks converge soon.
    basis = min(size, max(2 * count + 1, 10))
    found = eigsh(
        operator, k=count, which="LA", v0=start, ncv=basis, tol=tolerance,
        return_eigenvectors=False,
    )  # fmt: skip
    return sorted(found.tolist(), reverse=True)


def trace(product: Product, like: Sequence[Tensor], probes: int) -> tuple[float, float]:
    """Hutchinson's estimate, the mean of vᵀ H v over random signs v, and its standard error."""
    generator = torch.Generator().manual_seed(SEED)
    values = []
    for _ in range(probes):
        signs = [
            torch.randint(0, 2, p.shape, generator=generator).to(p.device, p.dtype) * 2 - 1
            for p in like
        ]
        values.append(dot(signs, product(signs)).item())
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(probes)


def to_flat(vector: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([v.detach().reshape(-1).double().cpu() for v in vector]).numpy()


def from_flat(flat: np.ndarray, like: Sequence[Tensor]) -> Vector:
    parts = torch.from_numpy(np.ascontiguousarray(flat).reshape(-1)).split(
        [p.numel() for p in like]
    )
    return [part.view(p.shape).to(p) for part, p in zip(parts, like, strict=True)]
