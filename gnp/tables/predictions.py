"""What a table takes from the predictions of its runs."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gnp.statistics.calibration import calibration_error
from gnp.tracking.predictions import read_predictions
from gnp.tracking.reading import FinishedRecord

KEPT = "judged"  # among what is worked out of a record


class Predictions(Protocol):
    """What a record has of each evaluated image, (N,) each in their order."""

    @property
    def correct(self) -> NDArray[np.bool_]: ...

    @property
    def nll(self) -> NDArray[np.floating]: ...

    @property
    def confidence(self) -> NDArray[np.floating]: ...

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, eq=False)
class Judged:
    """A run's predictions, judged.

    Attributes:
        correct: (N,) whether each image's class was predicted.
        nll: mean −log probability of the true class, in nats.
        calibration_error: in percentage points.
        digest: of the images and labels in their order.
    """

    correct: NDArray[np.bool_]
    nll: float
    calibration_error: float
    digest: str

    @classmethod
    def of(cls, predictions: Predictions) -> "Judged":
        return cls(
            predictions.correct,
            float(np.mean(predictions.nll, dtype=float)),
            calibration_error(predictions.confidence, predictions.correct),
            predictions.digest,
        )


def judged(record: FinishedRecord) -> Judged | None:
    """None where the run's record is from before predictions. Kept with the record.

    Raises:
        DamagedRecord: there are some, and they are damaged.
    """
    if KEPT not in record.worked_out:
        predictions = read_predictions(record.folder)
        record.worked_out[KEPT] = None if predictions is None else Judged.of(predictions)
    return record.worked_out[KEPT]
