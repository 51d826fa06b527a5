"""Data sets as uint8 tensors on the device, and augmentation of whole batches there."""

from gnp.data.augmentation import Augmentation
from gnp.data.dataset import ImageData, Split, load_dataset
from gnp.data.errors import DataError
from gnp.data.loader import Normalise, batches

__all__ = [
    "Augmentation",
    "DataError",
    "ImageData",
    "Normalise",
    "Split",
    "batches",
    "load_dataset",
]
