"""The networks of the paper, one architecture a file, built from plain arguments.

They know nothing of configs, data or the optimizer: ``VGG(width=0.125, num_classes=100)``.
"""

from models.vgg import VGG

__all__ = ["VGG"]
