"""Data sets as uint8 tensors on the device, and augmentation of whole batches there."""

from gnp.data.augmentation import Augmentation
from gnp.data.dataset import DataError, ImageData, Split, load_dataset
from gnp.data.loader import batches, normalise

__all__ = [
    "Augmentation",
    "DataError",
    "ImageData",
    "Split",
    "batches",
    "load_dataset",
    "normalise",
]
