"""Gradient norm penalty (GNP): the optimizer and the experiments of its paper.

Zhao, Zhang, Hu: *Penalizing Gradient Norm for Efficiently Improving Generalization in Deep
Learning*, ICML 2022, arXiv 2202.03599. ``from gnp import GNP`` is all that a training loop of your
own needs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gnp.optim import GNP

__all__ = ["GNP"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """The optimizer, when it is asked for: a table is rendered without torch."""
    if name == "GNP":
        from gnp.optim import GNP

        return GNP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
