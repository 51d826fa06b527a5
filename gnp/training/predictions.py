"""What the network says of each evaluated image, taken from an evaluation as it goes on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnp.data import Split
from gnp.tracking.predictions import Predictions, encode
from gnp.training.distributed import Processes


class Predicted:
    """For ``evaluate``: keeps on the device what is read once, at its end.

    ``add`` is its ``each``.
    """

    def __init__(self, device: torch.device):
        # (3, B): class, −log p of the true class, −log p of the predicted one
        self._batches = [torch.zeros(3, 0, device=device)]

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Logits float32 (B, classes), labels int64 (B,)."""
        predicted = logits.argmax(1)
        log_p = logits.log_softmax(1)
        # Classes are exact in float32: there are at most 100,000.
        rows = [predicted, *(-log_p.gather(1, k[:, None])[:, 0] for k in (labels, predicted))]
        self._batches.append(torch.stack([row.float() for row in rows]))

    def all(self, split: Split, processes: Processes) -> Predictions:
        """Those of all processes, each of which has seen its share of ``split``."""
        here = torch.cat(self._batches, dim=1)
        rows = torch.zeros(3, len(split), device=here.device)
        rows[:, processes.share(len(split))] = here
        predicted, nll, surprise = processes.sum(rows).cpu().numpy()
        return Predictions(
            predicted=predicted.astype("uint32"),
            labels=split.labels.cpu().numpy().astype("uint32"),
            nll=nll,
            confidence=np.exp(-surprise),
            digest=split.digest,
        )

    def read(self, split: Split, processes: Processes) -> bytes:
        """``all``, as a record keeps them."""
        return encode(self.all(split, processes))


def to_state(predictions: bytes | None) -> dict[str, Tensor]:
    """What a checkpoint has of them, so that a run that was stopped before its record was finished
    ends with the very ones."""
    if predictions is None:
        return {}
    return {"predictions": torch.frombuffer(bytearray(predictions), dtype=torch.uint8)}


def from_state(state: Mapping[str, Any]) -> bytes | None:
    content = state.get("predictions")
    return None if content is None else content.numpy().tobytes()
