"""One picture as a tensor, or a refusal that names it: nothing about it is guessed."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gnp.data.errors import DataError

SIZE = (32, 32)
# What torchvision's ImageFolder takes, also where Pillow was built without a format. (Not imported:
# torchvision takes a second, which reading the cached pictures does not need.)
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def is_picture(file: Path) -> bool:
    """By the ending of its name: all that Pillow opens, and all that torchvision's ImageFolder
    takes."""
    ending = file.suffix.lower()
    return ending in ENDINGS or Image.registered_extensions().get(ending) in Image.OPEN


def read_image(file: Path) -> Tensor:
    """Red, green and blue as uint8 (3, 32, 32).

    Grey (8 and 1 bits) and palette pictures as they look; of 16 bits the upper 8, as Pillow reads
    16-bit colour too; CMYK by Pillow's formula, without a colour profile.

    Raises:
        DataError: damaged, not 32×32, of several frames, with transparent pixels, or of numbers
            whose range is not known (32-bit grey).
    """
    try:
        with Image.open(file) as picture:
            picture.verify()  # PNG's checksums, which decoding ignores; closes the picture
        with Image.open(file) as picture:
            if (complaint := _complaint(picture)) is None:
                return _to_tensor(_to_rgb(picture))
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise DataError(
            f"{file} is not a readable picture ({error}); replace or delete it"
        ) from error
    raise DataError(f"{file} {complaint}")


def _complaint(picture: Image.Image) -> str | None:
    """What makes a picture unfit for training, and what to do."""
    if picture.size != SIZE:
        return f"is {picture.width}×{picture.height} pixels; expected 32×32: resize or delete it"
    if (frames := getattr(picture, "n_frames", 1)) > 1:
        return f"has {frames} frames; keep the one that is meant, or delete it"
    if picture.mode == "F" or (picture.mode == "I" and not _is_of_16_bits(picture)):
        return (
            f"has 32-bit pixels (Pillow's mode {picture.mode}), whose black and white are not "
            f"known; convert it to 8 or 16 bits a channel"
        )
    if _is_transparent(picture):
        return "has transparent pixels; put it on the background that is meant"
    return None


def _is_transparent(picture: Image.Image) -> bool:
    bands = picture.getbands()
    if "A" not in bands and "a" not in bands and "transparency" not in picture.info:
        return False
    return picture.convert("RGBA").getchannel("A").getextrema()[0] < 255


def _is_of_16_bits(picture: Image.Image) -> bool:
    # Pillow's mode I is of 32 bits, but some versions read 16-bit files of these formats to it.
    return picture.mode.startswith("I;16") or (
        picture.mode == "I" and picture.format in ("PNG", "PPM")
    )


def _to_rgb(picture: Image.Image) -> Image.Image:
    if _is_of_16_bits(picture):
        # Pillow's own conversion makes all above 255 white.
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("RGB")


def _to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
