"""Batched augmentation against the same operations done image by image with torch's own."""

import hashlib
import subprocess
import sys

import pytest
import torch
from conftest import CONFIGS, ROOT, augmentation
from PIL import Image
from torch.nn.functional import pad

from gnp.data import ImageData, Normalise, Split, batches
from gnp.data.augmentation import erase_squares, flip_and_crop
from gnp.data.autoaugment import AutoAugment
from gnp.settings import AugmentationSettings, ConfigError, checked
from gnp.training.build import build_augmentation

FILES = sorted(path.stem for path in (CONFIGS / "augmentation").glob("*.yaml"))


def images(n=6, size=32):
    generator = torch.Generator().manual_seed(3)
    return torch.randint(256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mode", ["reflect", "zeros"])
def test_flip_pad_crop_equals_torchs_own_image_by_image(mode):
    batch = images()
    flips = torch.tensor([True, False, True, False, True, False])
    offsets = torch.tensor([[-4, 4, 0, 3, -1, 2], [4, -4, 0, -2, 1, 4]])
    got = flip_and_crop(batch, flips, offsets, mode)
    assert got.dtype == torch.uint8
    for i in range(len(batch)):
        image = batch[i].flip(-1) if flips[i] else batch[i]
        padded = pad(
            image[None].float(), (4, 4, 4, 4), mode="constant" if mode == "zeros" else mode
        )[0]
        top, left = offsets[0, i] + 4, offsets[1, i] + 4
        assert torch.equal(got[i].float(), padded[:, top : top + 32, left : left + 32])


def test_every_image_has_its_own_draw_and_all_draws_occur():
    one = images(1).expand(2000, 3, 32, 32)
    out = augmentation(flip=True, crop_padding=4).geometry(one, seeded())
    assert len(torch.unique(out.flatten(1), dim=0)) == 2 * 9 * 9


def test_none_changes_nothing_and_draws_nothing():
    generator = seeded()
    before = generator.get_state()
    batch = images()
    chosen = augmentation()
    assert chosen.geometry(batch, generator) is batch
    assert torch.equal(chosen.erase(batch.float(), generator), batch.float())
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(("row", "column"), [(16, 16), (0, 0), (31, 3)])
def test_a_square_is_erased_and_clipped_at_the_border(row, column):
    batch = torch.ones(1, 3, 32, 32)
    out = erase_squares(batch, torch.tensor([row]), torch.tensor([column]), 16)
    expected = batch.clone()
    top, left = max(0, row - 8), max(0, column - 8)
    expected[:, :, top : row + 8, left : column + 8] = 0
    assert torch.equal(out, expected)


def test_cutout_draws_a_square_for_each_image_or_one_for_the_batch():
    ones = torch.ones(500, 3, 32, 32)
    each = augmentation(cutout=16).erase(ones, seeded())
    assert len(torch.unique(each.flatten(1), dim=0)) > 200
    assert 0.5 < each.mean() < 0.85
    one = augmentation(cutout=16, cutout_scope="batch").erase(ones, seeded())
    assert len(torch.unique(one.flatten(1), dim=0)) == 1
    assert one.mean() < 1


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_squares_are_cut_out_of_the_mixture(mixing):
    """Nothing of the partner is left in them, nor anything of its own square in an image."""
    white = torch.full((16, 3, 32, 32), 255, dtype=torch.uint8)
    labels = torch.arange(16) % 10
    chosen = augmentation(mixing=mixing, cutout=8)
    mixed, _ = chosen.batch(white, labels, lambda images: images / 255, 10, seeded())
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    assert all((image == 0).sum() <= 3 * 8 * 8 for image in mixed)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crop_padding": -1}, "crop_padding is -1; expected from 0 to 31 pixels"),
        ({"cutout": -1}, "cutout is -1; expected ≥ 0"),
        ({"padding_mode": "wrap"}, "padding_mode is wrap; expected one of"),
        ({"cutout_scope": "pixel"}, "cutout_scope is pixel; expected one of"),
        ({"mixing": "cutup"}, "mixing is cutup; expected one of"),
        ({"mixing_scope": "pixel"}, "mixing_scope is pixel; expected one of"),
        ({"mixing_partner": "neighbour"}, "mixing_partner is neighbour; expected one of"),
        ({"mixing_alpha": 0.0}, r"mixing_alpha is 0\.0; expected from 0\.05 to 1000"),
        ({"autoaugment_policy": "svhn"}, "autoaugment_policy is svhn; expected one of"),
        ({"autoaugment_translate": "mnist"}, "autoaugment_translate is mnist; expected one of"),
        ({"autoaugment_fill": 256}, "autoaugment_fill is 256; expected a grey level"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        checked(AugmentationSettings, {"name": "test", **settings})


def test_normalise():
    batch = images()
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    expected = (batch.float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    torch.testing.assert_close(Normalise(mean, std, batch.device)(batch), expected)


def data(n=50):
    split = Split(images(n), torch.arange(n) % 10)
    return ImageData(split, split, "test", 10, (0.5,) * 3, (0.25,) * 3)


def test_an_epoch_shows_each_image_at_most_once_and_drops_the_remainder():
    d = data()
    seen = [labels for _, labels in batches(d, 16, augmentation(), seeded())]
    assert [len(s) for s in seen] == [16, 16, 16]
    epoch = torch.cat([x for x, _ in batches(d, 16, augmentation(), seeded())])
    assert len(torch.unique(epoch.flatten(1), dim=0)) == 48


def test_an_epoch_is_a_function_of_the_generators_state():
    chosen = augmentation(flip=True, crop_padding=4, cutout=8)
    runs = [
        torch.cat([x for x, _ in batches(data(), 10, chosen, seeded(seed))]) for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_augmentation_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    list(batches(data(), 10, augmentation(flip=True, crop_padding=4, cutout=8), seeded()))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_have_the_memory_format_asked_for():
    x, _ = next(batches(data(), 10, augmentation(), seeded(), torch.channels_last))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_the_remainder_comes_as_a_smaller_batch_if_wanted():
    chosen = augmentation(flip=True, autoaugment=True, mixing="mixup")
    epoch = list(batches(data(), 16, chosen, seeded(), drop_last=False))
    assert [len(x) for x, _ in epoch] == [16, 16, 16, 2]
    assert [y.shape for _, y in epoch] == [(16, 10), (16, 10), (16, 10), (2, 10)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "86c5cb39828d76ae"),
        ({"flip": True, "crop_padding": 4}, "697d05827b681283"),
        ({"flip": True, "crop_padding": 4, "padding_mode": "zeros"}, "88be80b87b13914f"),
        ({"flip": True, "crop_padding": 4, "cutout": 16}, "e30cc9fd8557ce54"),
        ({"cutout": 8, "cutout_scope": "batch"}, "aed0298372280aa4"),
    ],
)
def test_the_draws_behind_recorded_results_stay_as_they_were(settings, expected):
    """Made with the code of the first recorded runs. A torch with another random stream for the
    CPU would change them all; one alone is a change of ours."""
    split = Split(images(50), torch.arange(50) % 10)
    bytes_as_they_are = ImageData(split, split, "test", 10, (0.0,) * 3, (1 / 255,) * 3)
    digest = hashlib.sha256()
    for x, labels in batches(bytes_as_they_are, 16, augmentation(**settings), seeded(7)):
        digest.update(x.to(torch.uint8).numpy().tobytes())
        digest.update(labels.to(torch.uint8).numpy().tobytes())
    assert digest.hexdigest()[:16] == expected


@pytest.mark.parametrize(
    ("name", "fidelity"),
    [*((name, "paper") for name in FILES), ("autoaugment_mixcut", "official")],
)
def test_each_file_is_a_set_that_makes_batches(name, fidelity, tiny):
    config = tiny(f"augmentation={name}", f"fidelity={fidelity}")
    assert config.augmentation.name == name
    chosen = build_augmentation(config)
    epoch, again = (
        list(batches(data(), 10, chosen, seeded(), torch.channels_last)) for _ in range(2)
    )
    assert len(epoch) == 5
    for (x, targets), (same_x, same_targets) in zip(epoch, again, strict=True):
        assert (x.shape, x.dtype) == ((10, 3, 32, 32), torch.float32)
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert x.isfinite().all()
        if config.augmentation.mixing:
            assert (targets.shape, targets.dtype) == ((10, 10), torch.float32)
            torch.testing.assert_close(targets.sum(1), torch.ones(10))
        else:
            assert (targets.shape, targets.dtype) == ((10,), torch.int64)
        assert torch.equal(x, same_x)
        assert torch.equal(targets, same_targets)


@pytest.mark.slow
def test_the_picture_of_all_augmentations_says_what_it_was_made_with(tmp_path):
    picture = tmp_path / "figures" / "all.png"
    command = [sys.executable, ROOT / "scripts" / "draw_augmentations.py", "--images", "3"]
    done = subprocess.run([*command, "--output", picture], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    facts = picture.with_suffix(".txt").read_text()
    assert "--dataset synthetic --fidelity paper --images 3 --draws 2 --seed 0" in facts
    with Image.open(picture) as opened:
        assert opened.text["dataset"] == "synthetic"
        assert opened.width > 1000


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("cifar10", "cifar", 128)),
        (
            {
                "autoaugment_policy": "cifar10_95",
                "autoaugment_translate": "imagenet",
                "autoaugment_fill": 7,
            },
            ("cifar10_95", "imagenet", 7),
        ),
    ],
)
def test_autoaugments_settings_reach_it(monkeypatch, settings, expected):
    seen = []

    def apply(self, images, generator):
        seen.append((self.policy, self.translate, self.fill))
        return images

    monkeypatch.setattr(AutoAugment, "__call__", apply)
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    augmentation(autoaugment=True, **settings).whole_epoch(images, torch.Generator())
    assert seen == [expected]


def test_a_share_is_of_images_and_targets_alike():
    whole = list(batches(data(), 8, augmentation(), seeded()))
    for rows in (slice(0, 3), slice(3, 8)):
        shared = list(
            batches(data(), 8, augmentation(), seeded(), share=lambda size, rows=rows: rows)
        )
        for (images, targets), (some, of_them) in zip(whole, shared, strict=True):
            assert torch.equal(some, images[rows])
            assert torch.equal(of_them, targets[rows])
