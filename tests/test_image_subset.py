"""A published list of images, and the folder made from it and from torchvision's CIFAR."""

import os
import re
import sys

import pytest
import torch
from conftest import ROOT
from PIL import Image

from gnp.data import DataError
from gnp.data.sources.folder import load_folder
from gnp.data.sources.torchvision import load_cifar
from gnp.data.subset import describe_folder, from_text, make_folder, to_text

SPLITS = ("train", "test")


@pytest.fixture
def splits(cifar):
    return tuple(load_cifar(cifar, split, 10, download=False) for split in SPLITS)


@pytest.fixture
def original(splits, tmp_path):
    """A folder as somebody may have drawn it: half of the training images, under other names."""
    (train, labels), (test, test_labels) = splits
    root = tmp_path / "original"
    for split, images, of in (("train", train[5:15], labels[5:15]), ("test", test, test_labels)):
        for k, (image, label) in enumerate(zip(images, of.tolist(), strict=True)):
            file = root / split / f"class{label}" / f"{99 - k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
    return root


@pytest.fixture
def script(monkeypatch, capsys):
    """script("list", …) → (exit status, what it printed)."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import image_subset

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["image_subset.py", *map(str, arguments)])
        status = image_subset.main()
        return status, "".join(capsys.readouterr())

    return run


def test_the_folder_is_made_again_from_its_list(original, cifar, tmp_path, script):
    images, again = tmp_path / "images.txt", tmp_path / "data" / "again"
    assert script("list", original, images)[0] == 0
    status, printed = script("make", images, again, "--data-root", cifar, "--no-download")
    assert (status, "10 training, 10 test images" in printed) == (0, True)
    for split in SPLITS:
        (x, y), (u, v) = load_folder(again, split), load_folder(original, split)
        assert torch.equal(x, u)
        assert torch.equal(y, v)
    assert describe_folder(again) == describe_folder(original)
    names = [sorted(f.name for f in (root / "train").rglob("*.png")) for root in (again, original)]
    assert names[0] == names[1]


def test_other_images_are_refused_and_leave_nothing(original, splits, tmp_path):
    subset = describe_folder(original)
    for split, words in ((0, r"2 of 10 listed images .* class[89]/"), (1, "the test images")):
        changed = [(images.clone(), labels) for images, labels in splits]
        changed[split][0][8:10] += 1
        with pytest.raises(DataError, match=words):
            make_folder(subset, changed, tmp_path / "made")
    swapped = (splits[0][0], splits[0][1].flip(0)), splits[1]
    with pytest.raises(DataError, match="listed images are not among"):
        make_folder(subset, swapped, tmp_path / "made")
    assert not list(tmp_path.glob("*made*"))


def test_a_folder_appears_whole_or_not_at_all(original, splits, tmp_path):
    subset, made = describe_folder(original), tmp_path / "made"

    def interrupt(pictures, count):
        yield from pictures[: count // 2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_folder(subset, splits, made, interrupt)
    assert not made.exists()
    make_folder(subset, splits, made)
    assert describe_folder(made) == subset
    with pytest.raises(DataError, match="exists already"):
        make_folder(subset, splits, made)


def test_what_is_no_list_is_refused(tmp_path, script):
    (tmp_path / "table.csv").write_text("model,method\n")
    status, printed = script("make", tmp_path / "table.csv", tmp_path / "made")
    assert status == 2
    assert "table.csv is no list of images; expected one of results/images" in printed
    status, printed = script("make", tmp_path / "none.txt", tmp_path / "made")
    assert (status, "none.txt" in printed) == (2, True)


def test_a_folder_of_other_kinds_of_pictures_is_made_again_pixel_for_pixel(
    original, splits, tmp_path
):
    file = next((original / "train/class5").iterdir())
    Image.open(file).save(file.with_suffix(".bmp"))
    file.unlink()
    listed = describe_folder(original)
    listed.train["class6/as.jpg"] = listed.train.pop(next(n for n in listed.train if "class6" in n))
    make_folder(listed, splits, tmp_path / "made")
    assert describe_folder(tmp_path / "made") == listed


def test_names_that_lead_elsewhere_are_no_list(original, tmp_path, script):
    text = to_text(describe_folder(original))
    first = text.splitlines()[1]
    name, d = first.split()
    for wrong in (f"../../{name} {d}", f"/{name} {d}", f"../x.png {d}", f"x.png {d}", first[:4]):
        assert wrong != first
        with pytest.raises(DataError, match="is no list of images"):
            from_text(text.replace(first, wrong), "x.txt")
    with pytest.raises(DataError, match="is no list of images"):
        from_text(text + first + "\n", "x.txt")  # twice
    assert from_text(text.replace("\n", "\r\n"), "") == from_text(text, "")
    (tmp_path / "x.txt").write_bytes(text.encode().replace(b"class", b"\xff"))
    status, printed = script("make", tmp_path / "x.txt", tmp_path / "made", "--no-download")
    assert (status, "x.txt is no list of images" in printed) == (2, True)


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\nb.png"])
def test_names_that_a_list_cannot_have_are_refused(original, tmp_path, script, name):
    place = os.fsencode(original / "train/class5")
    os.rename(os.path.join(place, os.listdir(place)[0]), os.path.join(place, name))
    status, printed = script("list", original, tmp_path / "x.txt")
    assert (status, "a list has no such name; rename it" in printed) == (2, True)


@pytest.mark.parametrize("classes", [10, 100])
def test_the_published_lists_are_whole(classes):
    text = (ROOT / f"results/images/cifar{classes}_10k.txt").read_text()
    subset = from_text(text, "")
    assert to_text(subset) == text
    assert len(subset.classes) == classes
    assert len(subset.train) == len(set(subset.train.values())) == 10_000
    for name in subset.classes:
        assert sum(file.startswith(f"{name}/") for file in subset.train) == 10_000 // classes
    assert all(re.fullmatch("[0-9a-f]{12}", d) for d in subset.train.values())
