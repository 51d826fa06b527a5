"""The heavy set's boxes and rotations against naive code, image by image."""

import math

import numpy as np
import pytest
import torch
from conftest import augmentation
from torch.nn.functional import interpolate

from gnp.data import Augmentation
from gnp.data.boxes import box_sizes, draw_angles, draw_boxes, turned_boxes, whole_images
from gnp.data.loader import Normalise
from gnp.settings import validate


def images(n=12, size=(32, 32)):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(256, (n, 3, *size), generator=generator, dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def naive_box(proportion, share, size, least_area):
    """TensorFlow's GenerateRandomCrop: height, width, or None where it tries another proportion.

    In float32, as there and on the device: at the edges a digit more decides otherwise.
    """
    f = np.float32
    proportion, most = f(proportion), size[0] * size[1]
    least = f(least_area) * f(most)
    height = int(np.rint(np.sqrt(least / proportion)))
    high = int(np.rint(np.sqrt(f(most) / proportion)))
    if np.rint(f(high) * proportion) > size[1]:
        high = int(np.floor(f(size[1] + 0.5 - 1e-7) / proportion))
        if np.rint(f(high) * proportion) > size[1]:
            high -= 1
    high = min(high, size[0])
    height = min(height, high)
    if height < high:
        height += int(f(share) * f(high - height + 1))
    width = int(np.rint(f(height) * proportion))
    if width * height < least:
        height += 1
        width = int(np.rint(f(height) * proportion))
    if width * height > most:
        height -= 1
        width = int(np.rint(f(height) * proportion))
    fits = least <= width * height <= most and 0 < width <= size[1] and 0 < height <= size[0]
    return (height, width) if fits else None


def naive_turned(image, box, angle):
    """Crop, turn with the nearest pixel, resize: float (C, H, W) → the same shape."""
    top, left, height, width = box.tolist()
    crop = image[:, top : top + height, left : left + width]
    turned = torch.zeros_like(crop)
    cos, sin = torch.tensor(angle).cos(), torch.tensor(angle).sin()
    for y in range(height):
        for x in range(width):
            dy, dx = y - (height - 1) / 2, x - (width - 1) / 2
            from_y = math.floor(sin * dx + cos * dy + (height - 1) / 2 + 0.5)
            from_x = math.floor(cos * dx - sin * dy + (width - 1) / 2 + 0.5)
            if 0 <= from_y < height and 0 <= from_x < width:
                turned[:, y, x] = crop[:, from_y, from_x]
    return interpolate(turned[None], image.shape[-2:], mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_box_sizes_are_tensorflows(size):
    generator = seeded(1)
    proportions = torch.empty(5000).uniform_(3 / 4, 4 / 3, generator=generator)
    shares = torch.rand(5000, generator=generator)
    heights, widths, fits = box_sizes(proportions, shares, size, 0.5)
    refused = 0
    for i in range(5000):
        expected = naive_box(proportions[i].item(), shares[i].item(), size, 0.5)
        refused += expected is None
        assert fits[i].item() == (expected is not None)
        if expected is not None:
            assert (heights[i].item(), widths[i].item()) == expected
    assert refused < 5000  # some boxes there are


@pytest.mark.parametrize("least_area", [0.08, 0.5, 0.99])
def test_boxes_lie_inside_and_are_large_enough(least_area):
    top, left, height, width = draw_boxes(20_000, (32, 32), least_area, 4 / 3, seeded())
    assert top.min() >= 0
    assert left.min() >= 0
    assert (top + height).max() <= 32
    assert (left + width).max() <= 32
    assert (height * width).min() >= least_area * 32 * 32
    if least_area < 0.9:
        assert len(torch.unique(height)) > 8
        assert (width / height).min() < 0.8
        assert (width / height).max() > 1.25
        assert top.unique().tolist() == list(range(int(top.max()) + 1))


def test_a_box_that_cannot_be_is_the_whole_image():
    boxes = draw_boxes(50, (32, 32), 0.999, 4.0, seeded())
    whole = (boxes[2] == 32) & (boxes[3] == 32)
    assert whole.sum() > 40
    assert torch.equal(boxes[:, whole], whole_images(int(whole.sum()), (32, 32), boxes.device))


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_turned_boxes_equal_naive_ones_image_by_image(size, dtype):
    batch = images(size=size).to(dtype)
    boxes = draw_boxes(len(batch), size, 0.5, 4 / 3, seeded(2))
    angles = draw_angles(len(batch), 27, seeded(3))
    boxes[:, 0] = torch.tensor([0, 0, *size])
    angles[1] = 0
    out = turned_boxes(batch, boxes, angles)
    assert out.dtype == torch.float32
    for i in range(len(batch)):
        expected = naive_turned(batch[i].float(), boxes[:, i], angles[i].item())
        torch.testing.assert_close(out[i], expected, rtol=1e-5, atol=1e-3)


def test_a_whole_box_that_is_not_turned_is_the_image():
    batch = images()
    out = turned_boxes(batch, whole_images(len(batch), (32, 32), batch.device), torch.zeros(12))
    assert torch.equal(out, batch.float())


def test_a_quarter_turn_is_counterclockwise():
    batch = images(2)
    angles = torch.full((2,), math.pi / 2)
    out = turned_boxes(batch, whole_images(2, (32, 32), batch.device), angles)
    assert torch.equal(out, torch.rot90(batch, 1, (2, 3)).float())


def test_angles_are_uniform_both_ways():
    angles = draw_angles(20_000, 27, seeded()).rad2deg()
    assert -27 <= angles.min() < -26.9
    assert 26.9 < angles.max() <= 27
    assert abs(angles.mean()) < 0.5
    assert angles.std().item() == pytest.approx(27 / math.sqrt(3), rel=0.02)


def test_the_augmentation_flips_then_takes_boxes_then_turns():
    """A box of all of the image and no turn leaves the flip, whatever is drawn."""
    batch = images()
    flipped = augmentation(flip=True).geometry(batch, seeded(5))
    assert not torch.equal(flipped, batch)
    heavy = augmentation(flip=True, box_area=0.5, rotation=27.0)
    generator = seeded(5)
    expected = augmentation(flip=True).geometry(batch, generator)
    boxes = draw_boxes(12, (32, 32), 0.5, 4 / 3, generator)
    expected = turned_boxes(expected, boxes, draw_angles(12, 27.0, generator))
    assert torch.equal(heavy.geometry(batch, seeded(5)), expected)


def test_the_heavy_preset_equals_a_naive_one_image_by_image(compose_train):
    """From uint8 to what the network gets, with the same draws in the same order. Of its
    proportions the first that is drawn always fits."""
    config = validate(compose_train(["experiment=vit_s16", "augmentation=heavy"]))
    batch, labels, generator = images(40), torch.arange(40) % 10, seeded(7)
    mean, std = config.dataset.mean, config.dataset.std
    normalise = Normalise(mean, std, torch.device("cpu"))
    out, targets = Augmentation(config.augmentation).batch(batch, labels, normalise, 10, seeded(7))
    assert torch.equal(targets, labels)
    flips = torch.rand(40, generator=generator) < 0.5
    proportions = torch.empty(8, 40).uniform_(3 / 4, 4 / 3, generator=generator)[0].tolist()
    shares = torch.rand(8, 40, generator=generator)[0].tolist()
    places = torch.rand(2, 40, generator=generator).numpy()
    most = 0.15 * math.pi
    angles = torch.empty(40).uniform_(-most, most, generator=generator).tolist()
    for i, image in enumerate(batch):
        sides = naive_box(proportions[i], shares[i], (32, 32), 0.5)
        corner = [int(places[k, i] * np.float32(32 - side)) for k, side in enumerate(sides)]
        mirrored = (image.flip(2) if flips[i] else image).float()
        turned = naive_turned(mirrored, torch.tensor([*corner, *sides]), angles[i]) / 255
        for channel in range(3):
            expected = (turned[channel] - mean[channel]) / std[channel]
            torch.testing.assert_close(out[i, channel], expected, rtol=1e-5, atol=1e-4)


def test_a_rotation_alone_takes_the_whole_image():
    batch = images()
    out = augmentation(rotation=27.0).geometry(batch, seeded(5))
    whole = whole_images(12, (32, 32), batch.device)
    assert torch.equal(out, turned_boxes(batch, whole, draw_angles(12, 27.0, seeded(5))))
    assert (out == 0).float().mean() > 0.02  # the corners
