"""The loss over fixed batches as a function of the weights: value, gradient, Hessian products.

The network is in training mode: batch norm takes each batch's own statistics, as where it was
trained, so nothing depends on running ones, which no weights but the trained ones have. What a
batch draws (dropout, shake) is the same at each look: it is one function. Weight decay is not in
it.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gnp.training.loop import Autocast, Average
from gnp.training.seeds import stream_seed
from gnp.training.vectors import Vector, dot, gradient, trained

Batch = tuple[Tensor, Tensor]  # images, and labels (B,) or mixtures (B, classes)


class BatchLoss:
    """Mean over the batches of their mean cross-entropy, at the network's weights as they are.

    Args:
        model: in training mode (``unnoticed``); its buffers change.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        autocast: Autocast = nullcontext,
        label_smoothing: float = 0.0,
    ):
        self._model, self._batches = model, list(batches)
        self._autocast, self._label_smoothing = autocast, label_smoothing
        self.params = trained(model)

    def __len__(self) -> int:
        return len(self._batches)

    def only(self, index: int) -> "BatchLoss":
        """Of one of the batches."""
        return BatchLoss(self._model, [self._batches[index]], self._autocast, self._label_smoothing)

    @torch.no_grad()
    def average(self) -> Average:
        """Loss, and error (%) where the heaviest label counts."""
        loss, wrong, images = 0.0, 0, 0
        for index, (_, targets) in enumerate(self._batches):
            of_batch, logits = self._forward(index)
            labels = targets if targets.ndim == 1 else targets.argmax(1)
            loss += of_batch.item() / len(self._batches)
            wrong += (logits.argmax(1) != labels).sum().item()
            images += len(labels)
        return Average(loss, 100 * wrong / images)

    def value(self) -> float:
        return self.average().loss

    def gradient(self) -> Vector:
        return self._mean(lambda index: gradient(self._forward(index)[0], self.params))

    def hessian_product(self, vector: Sequence[Tensor]) -> Vector:
        """H v by two backward passes: no difference is taken."""

        def of_batch(index: int) -> Vector:
            first = gradient(self._forward(index)[0], self.params, create_graph=True)
            along = sum((g * v).sum() for g, v in zip(first, vector, strict=True))
            assert isinstance(along, Tensor)
            return gradient(along, self.params)

        return self._mean(of_batch)

    def _mean(self, of_batch: Callable[[int], Vector]) -> Vector:
        total = [torch.zeros_like(p) for p in self.params]
        for index in range(len(self._batches)):
            torch._foreach_add_(total, of_batch(index))
        torch._foreach_div_(total, len(self._batches))
        return total

    def _forward(self, index: int) -> tuple[Tensor, Tensor]:
        images, targets = self._batches[index]
        torch.manual_seed(stream_seed(0, "look", index))
        with self._autocast():
            logits = self._model(images)
            if images.dtype != torch.float64:
                logits = logits.float()
            loss = cross_entropy(logits, targets, label_smoothing=self._label_smoothing)
        return loss, logits


def cosine(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    return (dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()).item()
