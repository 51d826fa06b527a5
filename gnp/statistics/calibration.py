"""Whether a network's probabilities say how often it is right."""

import numpy as np
from numpy.typing import NDArray

BINS = 15


def calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """Expected calibration error in percentage points: how far accuracy and mean confidence are
    apart, averaged over images, in 15 bins of confidence of equal width, each with its upper end
    (Guo et al. 2017, On calibration of modern neural networks, eq. 3).

    Args:
        confidence: (N,), probability of the predicted class.
        correct: (N,).
    """
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    bins = np.digitize(confidence, edges, right=True)
    gaps = np.bincount(bins, confidence.astype(float) - correct, minlength=BINS)
    return float(100 * np.abs(gaps).sum() / len(confidence))
