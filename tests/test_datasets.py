"""Loading: torchvision's real code on small files of its format, folders, drawn pictures."""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import os
import pickle
import tarfile
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from gnp import files
from gnp.data import DataError, ImageData, Split, load_dataset
from gnp.data.digest import digest_of
from gnp.data.picture_cache import CACHE_NAME, fingerprint_of
from gnp.data.pictures import read_image
from gnp.data.sources.synthetic import draw_synthetic
from gnp.settings import ConfigError, DatasetSettings, checked

STATS = {"mean": [0.5] * 3, "std": [0.25] * 3}


def load(source, num_classes, **settings):
    values = {"name": "test", "source": source, "num_classes": num_classes, **STATS, **settings}
    return load_dataset(checked(DatasetSettings, values, "dataset"))


# ---------------------------------------------------------------------- folder


def picture(path, seed, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return torch.from_numpy(pixels).permute(2, 0, 1)


CACHES = [CACHE_NAME.format(split=split) for split in ("train", "test")]


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            for i in range(3):
                picture(tmp_path / split / name / f"{i}.png", 10 * label + i)
    return tmp_path


def load_folder(root, **settings):
    return load("folder", 2, root=str(root), **settings)


def test_a_folder_is_read_exactly_with_classes_in_the_order_of_their_names(folder):
    pixels = picture(folder / "train" / "dog" / "1.png", 77)
    data = load_folder(folder)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(data.train.images[4], pixels)
    assert data.evaluated == "test"


def test_where_images_are_held_out_no_test_image_is_read(folder, monkeypatch):
    read = []

    def reading(file):
        read.append(file.relative_to(folder).parts[0])
        return read_image(file)

    monkeypatch.setattr("gnp.data.sources.folder.read_image", reading)
    data = load_folder(folder, validation_per_class=1)
    assert (data.evaluated, len(data.evaluation), len(data.train)) == ("validation", 2, 4)
    assert read == ["train"] * 6
    assert not (folder / CACHES[1]).exists()
    assert load_folder(folder).evaluated == "test"
    assert read == ["train"] * 6 + ["test"] * 6


def test_the_cache_is_used_and_rebuilt_when_a_file_changes(folder, monkeypatch):
    first = load_folder(folder)
    assert all((folder / name).exists() for name in CACHES)
    with monkeypatch.context() as patched:
        patched.setattr(
            "gnp.data.sources.folder.read_image", lambda file: pytest.fail("decoded again")
        )
        assert torch.equal(load_folder(folder).train.images, first.train.images)
    pixels = picture(folder / "train" / "cat" / "0.png", 99)
    os.utime(folder / "train" / "cat" / "0.png", ns=(1, 1))
    assert torch.equal(load_folder(folder).train.images[0], pixels)
    (folder / "test" / "dog" / "2.png").unlink()
    assert len(load_folder(folder).evaluation) == 5


def test_the_cache_gives_what_was_decoded(folder, caplog):
    """The fixture's pictures are the same in train and test; one is not, here."""
    picture(folder / "test" / "dog" / "2.png", 77)
    decoded, cached = load_folder(folder), load_folder(folder)
    for split in ("train", "evaluation"):
        for part in ("images", "labels"):
            assert torch.equal(*(getattr(getattr(d, split), part) for d in (decoded, cached)))
    # A changed file is no damage of the cache.
    picture(folder / "train" / "cat" / "0.png", 99)
    load_folder(folder)
    assert caplog.messages == []


def test_a_files_name_is_in_the_caches_fingerprint(tmp_path):
    """Two names of one file have the same size and times."""
    picture(tmp_path / "a.png", 1)
    os.link(tmp_path / "a.png", tmp_path / "b.png")
    fingerprints = {fingerprint_of(tmp_path, [tmp_path / name]) for name in ("a.png", "b.png")}
    assert len(fingerprints) == 2


def half_of_it(file):
    file.write_bytes(file.read_bytes()[:1000])


def a_bit(file):
    """In the middle of the first image, where torch.load does not look."""
    content = bytearray(file.read_bytes())
    first = torch.load(file)["images"].numpy().tobytes()[:64]
    content[content.index(first) + 10] ^= 1
    file.write_bytes(content)


def its_labels(file):
    stored = torch.load(file)
    torch.save({**stored, "labels": stored["labels"].flip(0)}, file)


def its_checksum(file):
    torch.save({k: v for k, v in torch.load(file).items() if k != "checksum"}, file)


def its_kind(file):
    torch.save([1, 2, 3], file)


@pytest.mark.parametrize("damage", [half_of_it, a_bit, its_labels, its_checksum, its_kind])
def test_a_damaged_cache_is_decoded_again_with_a_warning(folder, damage, caplog):
    picture(folder / "train" / "cat" / "0.png", 55)
    digest = load_folder(folder).digest
    damage(folder / CACHES[0])
    assert load_folder(folder).digest == digest
    assert [
        f"{CACHES[0]} is damaged: the pictures are decoded again" in m for m in caplog.messages
    ] == [True]
    assert load_folder(folder).digest == digest
    assert len(caplog.messages) == 1


def test_the_other_splits_cache_is_none_of_this_one(folder):
    digest = load_folder(folder).digest
    (folder / CACHES[0]).write_bytes((folder / CACHES[1]).read_bytes())
    assert load_folder(folder).digest == digest


def test_a_picture_of_the_same_size_and_time_is_noticed(folder):
    file = folder / "train" / "cat" / "0.bmp"
    picture(file, 1)
    before, old = load_folder(folder).digest, file.stat()
    picture(file, 2)
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    assert load_folder(folder).digest != before


def test_a_folder_that_cannot_be_written_is_cached_elsewhere(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere))
    real = files._Raw

    def refuse(path, mode):
        if path.parent == folder:
            raise PermissionError(path)
        return real(path, mode)

    monkeypatch.setattr(files, "_Raw", refuse)
    load_folder(folder)
    assert not any((folder / name).exists() for name in CACHES)
    assert len(list(elsewhere.rglob("*.pt"))) == 2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "train/cat/0.png").write_bytes(b"no picture"), r"train/cat/0\.png is not"),
        (
            lambda f: (f / "train/cat/0.png").write_bytes(
                (f / "train/cat/0.png").read_bytes()[:400]
            ),
            r"train/cat/0\.png is not a readable picture",
        ),
        (lambda f: picture(f / "test/dog/1.png", 0, (28, 30)), r"dog/1\.png is 28×30 pixels"),
        (lambda f: [p.unlink() for p in (f / "test/dog").iterdir()], "dog has no pictures"),
        (lambda f: picture(f / "train/bird/0.png", 0), "only one of them has bird"),
        (lambda f: (f / "test").rename(f / "tests"), r"test does not exist; .* set dataset\.root"),
    ],
)
def test_damaged_folders_are_refused_by_name(folder, damage, words):
    damage(folder)
    with pytest.raises(DataError, match=words):
        load_folder(folder)


def save(path, pixels, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


RAMP = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64  # 16 bits, from black to white
COLOURS = np.stack([(RAMP >> 8).astype(np.uint8), np.full((32, 32), 9, np.uint8)] * 2, 2)[..., :3]


def with_a_palette():
    image = Image.fromarray(COLOURS[..., 0])
    image.putpalette(bytes(b for level in range(256) for b in (level, 9, level)))
    return image


def shown(pixels):
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_to_8(tmp_path, ending):
    file = save(tmp_path / f"x.{ending}", RAMP)
    grey = torch.from_numpy((RAMP >> 8).astype(np.uint8))
    assert torch.equal(read_image(file), grey.expand(3, 32, 32))


@pytest.mark.parametrize(
    ("file", "mode"),
    [("x.tif", "RGB"), ("x.ppm", "RGB"), ("x.gif", "P"), ("x.png", "P"), ("x.tga", "RGB"),
     ("x.png", "RGBA"), ("x.BMP", "RGB")],
)  # fmt: skip
def test_pictures_of_every_kind_are_used_as_they_look(folder, file, mode):
    save(folder / "train" / "cat" / file, with_a_palette() if mode == "P" else COLOURS, mode)
    data = load_folder(folder)
    assert len(data.train) == 7
    assert torch.equal(data.train.images[3], shown(COLOURS))


def test_one_bit_grey_and_cmyk_pictures_are_used(tmp_path):
    black_and_white = np.array([[0, 255] * 16] * 32, np.uint8)
    for mode in ("1", "L"):
        image = read_image(save(tmp_path / f"{mode}.png", black_and_white, mode))
        assert torch.equal(image, torch.from_numpy(black_and_white).expand(3, 32, 32))
    image = read_image(save(tmp_path / "x.tif", COLOURS, "CMYK"))
    assert torch.equal(image, shown(COLOURS))


def with_a_hole(mode):
    image = Image.fromarray(COLOURS).convert("RGBA")
    image.putpixel((5, 5), (0, 0, 0, 0))
    return image.convert(mode)


def two_frames():
    return {"save_all": True, "append_images": [Image.new("RGB", (32, 32), "red")]}


@pytest.mark.parametrize(
    ("name", "image", "options", "words"),
    [
        ("x.tif", RAMP.astype(np.int32), {}, r"has 32-bit pixels \(Pillow's mode I\)"),
        ("x.tif", RAMP.astype(np.float32), {}, r"has 32-bit pixels \(Pillow's mode F\)"),
        ("x.png", with_a_hole("RGBA"), {}, "has transparent pixels"),
        ("x.png", with_a_hole("LA"), {}, "has transparent pixels"),
        ("x.gif", with_a_hole("RGBA"), {}, "has transparent pixels"),
        ("x.png", COLOURS, {"transparency": (0, 9, 0)}, "has transparent pixels"),
        ("x.gif", COLOURS, two_frames(), "has 2 frames"),
        ("x.png", COLOURS, two_frames(), "has 2 frames"),
        ("x.tif", COLOURS, two_frames(), "has 2 frames"),
    ],
)
def test_pictures_that_would_have_to_be_guessed_are_refused(folder, name, image, options, words):
    save(folder / "test" / "dog" / name, image, **options)
    with pytest.raises(DataError, match=rf"test/dog/{name} {words}.*; "):
        load_folder(folder)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged TIFFs
def test_damage_of_any_kind_is_refused_by_name(folder):
    """Pillow raises struct.error, KeyError, EOFError, … of its own on damaged headers."""
    random = np.random.default_rng(0)
    for ending in ("png", "jpg", "gif", "bmp", "tif", "ppm"):
        file = save(folder / f"x.{ending}", COLOURS)
        whole = file.read_bytes()
        for _ in range(40):
            content = bytearray(whole[: random.integers(1, len(whole) + 1)])
            for _ in range(3):
                content[random.integers(min(len(content), 64))] = random.integers(256)
            file.write_bytes(content)
            with contextlib.suppress(DataError):
                assert read_image(file).shape == (3, 32, 32)


def test_no_flipped_bit_of_a_png_goes_unnoticed(folder):
    """Decoding alone lets those in the checksum of the pixels, and a few others, pass."""
    file = save(folder / "train/cat/0.png", COLOURS)
    whole, good = file.read_bytes(), read_image(file)
    for place in range(8, len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            assert torch.equal(read_image(file), good)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("train/cat/more/x.tif", r"train/cat/more/x\.tif is deeper than in its class folder"),
        ("train/cat/a/b/x.png", r"train/cat/a/b/x\.png is deeper than in its class folder"),
        ("test/x.png", r"test has pictures outside of its class folders: x\.png;"),
    ],
)
def test_pictures_in_no_class_folder_are_refused_by_name(folder, place, words):
    save(folder / place, COLOURS)
    with pytest.raises(DataError, match=words):
        load_folder(folder)


def test_what_is_left_out_is_named_once(folder, caplog):
    for name in ("notes.txt", "cat/labels.csv", "cat/.thumbs/0.png", ".old/0.png", "dog/x.heic"):
        (folder / "train" / name).parent.mkdir(exist_ok=True)
        (folder / "train" / name).write_text("no picture")
    assert len(load_folder(folder).train) == 6
    (message,) = caplog.messages
    names = "notes.txt, .old, cat/labels.csv, cat/.thumbs, dog/x.heic"
    assert message.endswith(f"left out, being no pictures in a class folder: {names}")
    (folder / "train" / "dog" / "y.txt").touch()
    load_folder(folder)
    assert caplog.messages[1].endswith(f"{names} … (6 in all)")


@pytest.mark.parametrize("place", ["train/cat/9.png", "train/cat/9", "train/bird"])
def test_a_link_that_leads_nowhere_is_refused(folder, place):
    """A class folder's would take the class away from train and test alike."""
    (folder / place).symlink_to(folder / "gone")
    with pytest.raises(DataError, match=rf"{place} is a link to .*gone, which does not exist; "):
        load_folder(folder)
    (folder / "gone").symlink_to(folder / place)
    with pytest.raises(DataError, match=rf"{place} cannot be read \(Too many levels"):
        load_folder(folder)


def test_links_to_pictures_and_class_folders_are_followed(folder):
    digest = load_folder(folder).digest
    (folder / "train/cat").rename(folder / "elsewhere")
    (folder / "train/cat").symlink_to(folder / "elsewhere")
    (folder / "train/dog/0.png").rename(folder / "there.png")
    (folder / "train/dog/0.png").symlink_to(folder / "there.png")
    assert load_folder(folder).digest == digest


def test_a_pipe_in_a_picture_s_place_is_refused(folder):
    os.mkfifo(folder / "train/cat/x.png")  # to open it would wait for ever
    with pytest.raises(DataError, match=r"cat/x\.png is neither a file nor a folder"):
        load_folder(folder)


@pytest.mark.parametrize("place", ["train", "train/cat", "train/cat/0.png"])
def test_what_may_not_be_read_is_refused_by_name(folder, place, monkeypatch):
    def forbid(real):
        def call(path, *arguments, **options):
            if str(path) == str(folder / place):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *arguments, **options)

        return call

    monkeypatch.setattr(os, "scandir", forbid(os.scandir))
    monkeypatch.setattr(Image, "open", forbid(Image.open))
    with pytest.raises(DataError, match=rf"{place} .*Permission denied"):
        load_folder(folder)


def test_names_that_are_not_utf_8_are_read_and_shown(folder, caplog):
    cat = os.fsencode(folder / "train" / "cat")
    os.rename(cat + b"/0.png", cat + b"/caf\xe9.png")
    for split in ("train", "test"):
        os.rename(os.fsencode(folder / split / "dog"), os.fsencode(folder / split) + b"/\xff")
    open(cat + b"/\xe9.txt", "w").close()
    assert load_folder(folder).train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert load_folder(folder).digest == load_folder(folder).digest
    with open(cat + b"/caf\xe9.png", "wb"):
        pass
    with pytest.raises(DataError, match=r"caf\\udce9\.png is not a readable") as refused:
        load_folder(folder)
    for message in (str(refused.value), *caplog.messages):
        message.encode()


def test_a_wrong_class_count_is_refused_with_the_right_one(folder):
    with pytest.raises(DataError, match=r"images of 2 classes.*set dataset\.num_classes=2"):
        load("folder", 10, root=str(folder))


def test_an_unknown_source_is_refused():
    with pytest.raises(ConfigError, match="expected one of folder, synthetic, torchvision"):
        load("imagenet", 10)


# ---------------------------------------------------------------------- subsets


def synthetic(**settings):
    return load(
        "synthetic", 10, synthetic_train_per_class=12, synthetic_test_per_class=2, **settings
    )


def as_set(split):
    return {i.numpy().tobytes() for i in split.images}


def test_train_per_class_takes_as_many_of_each_class():
    data = synthetic(train_per_class=5)
    assert torch.bincount(data.train.labels).tolist() == [5] * 10
    assert as_set(data.train) <= as_set(synthetic().train)


def test_validation_is_held_out_of_training_and_does_not_depend_on_its_size():
    whole, small = (
        synthetic(validation_per_class=4),
        synthetic(validation_per_class=4, train_per_class=3),
    )
    assert whole.evaluated == small.evaluated == "validation"
    assert torch.bincount(whole.evaluation.labels).tolist() == [4] * 10
    assert torch.equal(whole.evaluation.images, small.evaluation.images)
    assert not as_set(whole.train) & as_set(whole.evaluation)
    assert len(whole.train) == 80
    assert not as_set(whole.evaluation) & as_set(synthetic().evaluation)


def test_another_subset_seed_takes_other_images():
    first, second = synthetic(train_per_class=5), synthetic(train_per_class=5, subset_seed=1)
    assert as_set(first.train) != as_set(second.train)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train_per_class": 13}, "; choose from 1 to 12$"),
        ({"train_per_class": 0}, "; choose from 1 to 12$"),
        ({"train_per_class": -1}, "; choose from 1 to 12$"),
        ({"train_per_class": 10**9}, "; choose from 1 to 12$"),
        ({"validation_per_class": 12}, ", of which one .* to train on; choose from 1 to 11$"),
        ({"validation_per_class": 10**9}, "; choose from 1 to 11$"),
        ({"validation_per_class": 8, "train_per_class": 5},
         ", of which 8 are held out for validation; choose from 1 to 4$"),
    ],
)  # fmt: skip
def test_more_images_than_there_are_is_refused(settings, words):
    with pytest.raises(DataError, match=rf"the smallest class has 12 training images.*{words}"):
        synthetic(**settings)


def test_a_class_of_one_image_has_none_for_validation():
    with pytest.raises(DataError, match=r"the smallest class has 1 training images.* needs more"):
        load("synthetic", 10, synthetic_train_per_class=1, validation_per_class=1)


@pytest.mark.parametrize("option", ["subset_seed", "synthetic_seed"])
def test_a_seed_is_one_that_a_generator_takes(option):
    assert len(synthetic(**{option: 2**31 - 1}, train_per_class=1).train) == 10
    for value in (-1, 2**31, 10**20):
        with pytest.raises(ConfigError, match=rf"{option} is {value}; expected from 0 to 214"):
            synthetic(**{option: value})


@pytest.mark.parametrize("option", ["synthetic_train_per_class", "synthetic_test_per_class"])
@pytest.mark.parametrize("value", [0, -1, 100_001, 10**20])
def test_synthetic_draws_what_fits_into_memory(option, value):
    with pytest.raises(ConfigError, match=rf"{option} is {value}; expected from 1 to 100000"):
        load("synthetic", 10, **{option: value})


# ---------------------------------------------------------------------- digest


def changed(data, split, change):
    """``data`` with one of its splits' (images, labels) cloned and changed."""
    old = getattr(data, split)
    images, labels = change(old.images.clone(), old.labels.clone())
    return dataclasses.replace(data, **{split: Split(images, labels)})


def one_pixel(images, labels):
    images[3, 1, 5, 5] ^= 1
    return images, labels


def two_labels_swapped(images, labels):
    first, other = 0, int((labels != labels[0]).nonzero()[0])
    labels[[first, other]] = labels[[other, first]]
    return images, labels


def another_order(images, labels):
    return images.flip(0), labels.flip(0)


def one_image_less(images, labels):
    return images[:-1], labels[:-1]


@pytest.mark.parametrize("split", ["train", "evaluation"])
@pytest.mark.parametrize("change", [one_pixel, two_labels_swapped, another_order, one_image_less])
def test_the_digest_changes_with_what_is_trained_on_or_evaluated(split, change):
    data = synthetic()
    assert changed(data, split, lambda *tensors: tensors).digest == data.digest
    assert changed(data, split, change).digest != data.digest


def test_the_digest_says_which_split_is_evaluated():
    data = synthetic()
    assert len(data.digest) == 16
    assert dataclasses.replace(data, evaluated="validation").digest != data.digest
    assert synthetic(train_per_class=5).digest != data.digest
    assert synthetic(validation_per_class=4).digest != data.digest


def test_the_digest_is_the_same_from_pictures_from_their_cache_and_from_torchvision(cifar):
    data = load_cifar(cifar, download=False)
    splits = []
    for name, split in (("train", data.train), ("test", data.evaluation)):
        order = torch.argsort(split.labels, stable=True)
        for k, i in enumerate(order.tolist()):
            file = cifar / name / str(int(split.labels[i])) / f"{k:02d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.images[i].permute(1, 2, 0).numpy()).save(file)
        splits.append(split.take(order))
    sorted_data = ImageData(*splits, "test", 10, data.mean, data.std)
    from_pictures, from_cache = (load("folder", 10, root=str(cifar)) for _ in range(2))
    assert all((cifar / name).exists() for name in CACHES)
    assert from_pictures.digest == from_cache.digest == sorted_data.digest


# ---------------------------------------------------------------------- synthetic


@pytest.mark.parametrize("num_classes", [10, 100])
def test_synthetic_is_a_pure_function_of_its_seed(num_classes):
    before = torch.get_rng_state()
    images, labels = draw_synthetic(num_classes, 2, seed=7)
    again, _ = draw_synthetic(num_classes, 2, seed=7)
    other, _ = draw_synthetic(num_classes, 2, seed=8)
    assert images.shape == (2 * num_classes, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert torch.bincount(labels).tolist() == [2] * num_classes
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_synthetic_train_and_test_share_no_picture():
    data = load("synthetic", 10, synthetic_train_per_class=4, synthetic_test_per_class=4)
    assert not as_set(data.train) & as_set(data.evaluation)


def test_synthetic_refuses_other_class_counts():
    with pytest.raises(DataError, match="10 or 100 classes, not 7; set dataset"):
        draw_synthetic(7, 1, seed=0)


# ---------------------------------------------------------------------- torchvision


def load_cifar(root, **settings):
    return load("torchvision", 10, root=str(root), **settings)


def test_cifar_files_are_read_exactly(cifar):
    data = load_cifar(cifar, download=False)
    assert data.train.images.shape == (20, 3, 32, 32)
    stored = pickle.loads((cifar / CIFAR10.base_folder / "data_batch_2").read_bytes())
    assert torch.equal(data.train.images[13].flatten(), torch.from_numpy(stored["data"][3]))
    assert data.evaluation.labels.tolist() == list(range(10))


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_download_is_verified_and_unpacked(cifar, tmp_path_factory, monkeypatch):
    """A server on this machine has the archive: torchvision's download, checksum and unpacking
    run for real."""
    place = tmp_path_factory.mktemp("server")
    handler = functools.partial(QuietHandler, directory=str(place))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    archive = place / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(cifar / CIFAR10.base_folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    data = load_cifar(tmp_path_factory.mktemp("fresh"), download=True)
    assert len(data.train) == 20

    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    with pytest.raises(DataError, match="missing or damaged"):
        load_cifar(tmp_path_factory.mktemp("tampered"), download=True)
    server.shutdown()


def test_a_file_system_without_locks_does_not_keep_a_download_back(tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("gnp.data.sources.torchvision.fcntl.flock", no_locks)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:1/none")  # refuses the connection
    with pytest.raises(DataError, match=r"missing or damaged \(.*refused"):
        load_cifar(tmp_path, download=True)


def test_missing_files_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(
        DataError, match=r"missing or damaged.*Put cifar-10-python\.tar\.gz.*download=true"
    ):
        load_cifar(tmp_path, download=False)


def test_a_truncated_file_is_refused(cifar):
    file = cifar / CIFAR10.base_folder / "data_batch_1"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"Delete .*cifar-10-batches-py"):
        load_cifar(cifar, download=False)


def test_a_flipped_bit_is_refused_at_every_load(cifar):
    """torchvision compares the files' checksums each time, not only after a download."""
    load_cifar(cifar, download=False)
    for name in ("data_batch_2", "test_batch", "batches.meta"):
        file = cifar / CIFAR10.base_folder / name
        whole = file.read_bytes()
        file.write_bytes(whole[:-60] + bytes([whole[-60] ^ 1]) + whole[-59:])
        with pytest.raises(DataError, match="missing or damaged"):
            load_cifar(cifar, download=False)
        file.write_bytes(whole)


def test_torchvision_has_two_cifars(tmp_path):
    with pytest.raises(DataError, match="CIFAR-10 and CIFAR-100, not 20"):
        load("torchvision", 20, root=str(tmp_path))


def test_a_digest_tells_shapes_and_types_apart():
    zeros = torch.zeros(2, 3, dtype=torch.uint8)
    others = [zeros.reshape(3, 2), zeros.reshape(6), zeros.to(torch.int8)]
    digests = [digest_of("", [t]) for t in (zeros, *others)]
    digests += [digest_of("x", [zeros]), digest_of("", [zeros[:1], zeros[1:]])]
    assert len(set(digests)) == len(digests)
