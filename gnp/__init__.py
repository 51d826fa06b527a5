"""Gradient norm penalty (GNP): the optimizer and the experiments of its paper.

Zhao, Zhang, Hu: *Penalizing Gradient Norm for Efficiently Improving Generalization in Deep
Learning*, ICML 2022, arXiv 2202.03599. ``from gnp.optim import GNP`` is all that a training
loop of your own needs.
"""

__version__ = "0.1.0"
