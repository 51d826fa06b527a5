"""What a run's network says of each evaluated image: a file of its record, and its reader.

    predicted   (N,)   the likeliest class
    labels      (N,)   the true one
    nll         (N,)   float16, −log of the true class's probability, in nats
    surprise    (W,)   float16, −log of the predicted class's, of the W images that are wrong; where
                       the prediction is right it is ``nll``
    digest      text   of the images and labels, in their order

Images are in the order in which they were evaluated. float16 of −log p keeps p to 0.05 % of its
logarithm: a probability near 1 to 6e-8, one of 0.5 to 0.0002, and one of 1e-30 is not lost, as it
would be in float16 of p itself. −log p beyond 65504 is 65504. 10,000 images of 100 classes take at
most 55 KB. Needs NumPy, no torch.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gnp.tracking.checksums import checksum_of
from gnp.tracking.damage import DamagedRecord, bytes_of
from gnp.tracking.reading import PREDICTIONS, SUMMARY, read_summary

if TYPE_CHECKING:
    import numpy as np

ARRAYS = ("predicted", "labels", "nll", "surprise", "digest")
LARGEST = 65504.0  # of float16
HEAD = 10  # bytes of a .npy file before its description, whose length the last two are
# What a zip archive and its arrays say when they are none.
UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, SyntaxError)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Arrays in the order of the evaluated images.

    Attributes:
        predicted, labels: classes (N,), unsigned integers.
        nll: (N,) float32, −log probability (nats) of the true class.
        confidence: (N,) float32, probability of the predicted class.
        digest: names the images and labels in their order: runs that have the same can be compared
            image by image.
    """

    predicted: "np.ndarray"
    labels: "np.ndarray"
    nll: "np.ndarray"
    confidence: "np.ndarray"
    digest: str

    @property
    def correct(self) -> "np.ndarray":
        """(N,) bool."""
        return self.predicted == self.labels

    @property
    def error(self) -> float:
        """In %, to the last bit that of the evaluation."""
        wrong = len(self.labels) - int(self.correct.sum())
        return 100 * wrong / len(self.labels)


def read_predictions(folder: Path) -> Predictions | None:
    """Those of a finished run's record; None where it has none: it is not finished, or from before
    there were any.

    Raises:
        DamagedRecord: the file is missing or not what its checksum says, or its error is not the
            summary's.
    """
    summary = read_summary(folder)
    checksum = (summary or {}).get("files", {}).get(PREDICTIONS)
    if summary is None or checksum is None:
        return None
    path = folder / PREDICTIONS
    content = bytes_of(path)
    if content is None:
        raise DamagedRecord(path, "it is missing")
    if checksum_of(content) != checksum:
        raise DamagedRecord(path, f"it is not the one that {SUMMARY} was written for")
    predictions = decode(path, content)
    error = summary["final"][f"{summary['evaluated']}_error"]
    if predictions.error != error:
        raise DamagedRecord(path, f"its error is {predictions.error}, that of {SUMMARY} {error}")
    return predictions


def encode(predictions: Predictions) -> bytes:
    """The file's content: the same bytes for the same predictions."""
    import numpy as np

    most = int(max(predictions.predicted.max(), predictions.labels.max()))
    classes = np.min_scalar_type(most)
    surprise = -np.log(predictions.confidence[~predictions.correct].astype(np.float64))
    arrays = {
        "predicted": predictions.predicted.astype(classes),
        "labels": predictions.labels.astype(classes),
        # The logarithm of 1 may come as −0.
        "nll": np.minimum(abs(predictions.nll), LARGEST).astype(np.float16),
        "surprise": abs(surprise).astype(np.float16),
        "digest": np.array(predictions.digest),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980-01-01, whenever it is written
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            archive.writestr(entry, content.getvalue(), compresslevel=9)
    return file.getvalue()


def decode(path: Path, content: bytes) -> Predictions:
    """What ``encode`` was given, to the precision of the file.

    Raises:
        DamagedRecord: ``content``, that of ``path``, is nothing that ``encode`` writes.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name: _array(archive.read(f"{name}.npy")) for name in ARRAYS}
    except UNREADABLE as error:
        raise DamagedRecord(path, f"it holds no predictions ({error})") from error
    predicted, labels, nll, surprise, digest = arrays.values()
    shapes = (predicted.shape, labels.shape, nll.shape)
    if predicted.ndim != 1 or not predicted.size or len(set(shapes)) > 1:
        raise DamagedRecord(path, f"it has predictions, labels and likelihoods of {shapes} images")
    wrong = predicted != labels
    if surprise.shape != (wrong.sum(),):
        raise DamagedRecord(path, f"it has {wrong.sum()} errors and {surprise.shape} likelihoods")
    for values in (nll, surprise):
        if values.dtype != np.float16 or not (np.isfinite(values) & (values >= 0)).all():
            raise DamagedRecord(path, "it has likelihoods that are none")
    nll = nll.astype(np.float32)
    of_predicted = nll.copy()
    of_predicted[wrong] = surprise
    confidence = np.exp(-of_predicted)
    return Predictions(predicted, labels, nll, confidence, str(digest))


def _array(content: bytes) -> "np.ndarray":
    """That of a .npy file, as ``np.load`` has it, in a third of the time."""
    import numpy as np

    start = HEAD + int.from_bytes(content[HEAD - 2 : HEAD], "little")
    shape, dtype = _header(content[:start])
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


@lru_cache(maxsize=256)  # NumPy lets Python's parser read it, and all runs have a few of them
def _header(content: bytes) -> "tuple[tuple[int, ...], np.dtype]":
    import numpy as np

    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of another format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if by_columns or dtype.hasobject:
        raise ValueError("an array that is not written here")
    return shape, dtype
