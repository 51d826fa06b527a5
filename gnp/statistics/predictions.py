"""What a network's probabilities are worth, beside how often it is right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_nll(nll: "NDArray") -> float:
    """Mean −log probability (nats) of the true class; of (N,) values."""
    return float(nll.mean(dtype=float))


def expected_calibration_error(confidence: "NDArray", correct: "NDArray", bins: int = 15) -> float:
    """How far, in percentage points, mean confidence and accuracy are apart, averaged over images,
    in bins of confidence of equal width, each with its upper end (Guo et al., *On Calibration of
    Modern Neural Networks*, ICML 2017, equation 3).

    Args:
        confidence: (N,), probability of the predicted class.
        correct: (N,), bool.
    """
    import numpy as np

    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, confidence.astype(float) - correct, minlength=bins)
    return float(100 * np.abs(gaps).sum() / len(confidence))
