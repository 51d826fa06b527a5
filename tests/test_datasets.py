"""Loading: torchvision's real code on small files of its format, folders, drawn pictures."""

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

from gnp.data import DataError, load_dataset
from gnp.data.sources.folder import CACHE_NAME
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


def test_the_cache_is_used_and_rebuilt_when_a_file_changes(folder, monkeypatch):
    first = load_folder(folder)
    assert (folder / CACHE_NAME).exists()
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


def test_a_damaged_cache_is_rebuilt(folder):
    load_folder(folder)
    (folder / CACHE_NAME).write_bytes(b"half a cache")
    assert len(load_folder(folder).train) == 6


def test_a_folder_that_cannot_be_written_is_cached_elsewhere(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere))
    real = __import__("tempfile").mkstemp

    def refuse(dir, suffix):
        if dir == folder:
            raise PermissionError(dir)
        return real(dir=dir, suffix=suffix)

    monkeypatch.setattr("gnp.data.sources.folder.tempfile.mkstemp", refuse)
    load_folder(folder)
    assert not (folder / CACHE_NAME).exists()
    assert len(list(elsewhere.rglob("*.pt"))) == 1


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
    "settings",
    [{"train_per_class": 13}, {"train_per_class": 0}, {"validation_per_class": 12},
     {"validation_per_class": 8, "train_per_class": 5}],
)  # fmt: skip
def test_more_images_than_there_are_is_refused(settings):
    with pytest.raises(DataError, match=r"the smallest class has 12 training images"):
        synthetic(**settings)


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
    with pytest.raises(DataError, match="10 or 100 classes, not 7"):
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


def test_torchvision_has_two_cifars(tmp_path):
    with pytest.raises(DataError, match="CIFAR-10 and CIFAR-100, not 20"):
        load("torchvision", 20, root=str(tmp_path))
