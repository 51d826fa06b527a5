"""What a run keeps of each evaluated image, and what is believed of it."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from records import add_predictions, predictions, spec, write_record
from test_records import stop_after

from gnp.data import Split, load_dataset
from gnp.data.digest import digest_of
from gnp.data.loader import Normalise
from gnp.tracking import DamagedRecord
from gnp.tracking.predictions import decode, encode, read_predictions
from gnp.tracking.reading import read_finished
from gnp.training import run as run_module
from gnp.training.build import build_model
from gnp.training.checkpoint import read_checkpoint
from gnp.training.run import folder_of, run

HALF = 2**-11  # relative, of a number rounded to float16
NAME = "predictions.npz"


@torch.no_grad()
def by_hand(config):
    """Probabilities (N, classes) of the finished run's network, all images in one batch."""
    data = load_dataset(config.dataset)
    model = build_model(config)
    state = read_checkpoint(folder_of(config) / "checkpoint.pt")
    model.load_state_dict(state["ema" if config.training.ema else "model"])
    model.eval()
    images = Normalise(data.mean, data.std, torch.device("cpu"))(data.evaluation.images)
    return data.evaluation, model(images).double().softmax(1)


@pytest.mark.parametrize(
    "chosen",
    [
        [],
        ["dataset.validation_per_class=2", "training.evaluate_every=0"],
        ["training.label_smoothing=0.2", "optimizer=gnp", "runtime.eval_batch_size=7"],
        ["training.ema=0.8"],
    ],
)
def test_a_run_ends_with_what_its_network_says_of_each_evaluated_image(tiny, tmp_path, chosen):
    config = tiny(*chosen, f"root={tmp_path}")
    summary = run(config)
    folder = folder_of(config)
    read = read_predictions(folder)
    split, probabilities = by_hand(config)
    labels = split.labels.numpy()
    assert read.labels.tolist() == labels.tolist()
    assert read.predicted.tolist() == probabilities.argmax(1).tolist()
    assert (read.correct == (read.predicted == labels)).all()
    assert read.nll.dtype == read.confidence.dtype == np.float32
    true = probabilities[torch.arange(len(labels)), split.labels].numpy()
    np.testing.assert_allclose(read.nll, -np.log(true), rtol=HALF, atol=1e-6)
    np.testing.assert_allclose(read.confidence, probabilities.amax(1).numpy(), atol=2e-4)
    assert read.digest == split.digest
    name = summary["evaluated"]
    assert read.error == summary["final"][f"{name}_error"]
    assert read.nll.mean() == pytest.approx(summary["final"][f"{name}_loss"], rel=HALF)
    assert summary["files"][NAME] == read_finished(folder).summary["files"][NAME]


def test_images_are_evaluated_no_more_often_for_it(tiny, tmp_path, monkeypatch):
    evaluated = []

    def evaluate(model, data, *more, real=run_module.evaluate):
        evaluated.append(len(data.evaluation))
        return real(model, data, *more)

    monkeypatch.setattr(run_module, "evaluate", evaluate)
    run(tiny(f"root={tmp_path}"))
    assert evaluated == [40, 40, 40, 80]  # and the training images, for the fit


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_run_that_went_on_ends_with_the_very_file(tiny, tmp_path, monkeypatch, epoch):
    """Stopped before its last epoch, or when only the record was left to finish."""
    whole, cut = tiny(f"root={tmp_path / 'whole'}"), tiny(f"root={tmp_path / 'cut'}")
    run(whole)
    stop_after(monkeypatch, cut, epoch)
    assert not (folder_of(cut) / NAME).exists()
    if epoch == 3:  # then nothing is to be evaluated but the training images
        monkeypatch.setattr(run_module._Run, "_evaluation", None)
        monkeypatch.setattr(run_module.Predicted, "add", None)
    run(cut)
    assert (folder_of(cut) / NAME).read_bytes() == (folder_of(whole) / NAME).read_bytes()


@pytest.mark.parametrize("same", [True, False])
def test_a_last_checkpoint_without_predictions_has_them_made_again(
    tiny, tmp_path, monkeypatch, caplog, same
):
    """…where the error is again the recorded one."""
    whole, cut = tiny(f"root={tmp_path / 'whole'}"), tiny(f"root={tmp_path / 'cut'}")
    run(whole)
    path = stop_after(monkeypatch, cut, 3) / "checkpoint.pt"
    state = read_checkpoint(path)
    del state["predictions"]
    if not same:
        state["metrics"][-1]["test_error"] = 5.0
    torch.save({**state, "digest": digest_of(state)}, path)
    run(cut)
    folder = folder_of(cut)
    assert read_finished(folder) is not None
    assert ("cannot be made again" in caplog.text) is not same
    if same:
        assert (folder / NAME).read_bytes() == (folder_of(whole) / NAME).read_bytes()
    else:
        assert read_predictions(folder) is None
        assert not (folder / NAME).exists()


def test_a_damaged_file_is_made_again_by_the_runs_own_command(tiny, tmp_path, caplog):
    config = tiny(f"root={tmp_path}")
    run(config)
    path = folder_of(config) / NAME
    content = path.read_bytes()
    for damage in (lambda: path.write_bytes(content[:-9]), path.unlink, None):
        if damage is None:
            path.unlink()
            path.mkdir()
            (path / "x").touch()
        else:
            damage()
        caplog.clear()
        run(config)
        assert path.read_bytes() == content
        assert NAME in caplog.text


def test_the_digest_is_of_images_and_labels_in_their_order():
    images = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    split = Split(images, labels)
    turned = split.take(torch.tensor([3, 1, 2, 0, 4, 5]))  # the labels are the same ones
    assert len({split.digest, turned.digest, Split(images, labels.flip(0)).digest}) == 3
    assert split.digest == Split(images.clone(), labels.clone()).digest


# ---------------------------------------------------------------------- the file

# As float16 has them: from the smallest to some that no float16 of a probability could say.
NLL = st.floats(0, 200, width=16)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 299), st.integers(0, 299), NLL, NLL), min_size=1))
def test_what_was_written_is_read(images):
    predicted, labels, nll, surprise = (np.array(column) for column in zip(*images, strict=True))
    right = predicted == labels
    surprise = np.where(right, nll, np.minimum(surprise, 11)).astype(np.float32)
    given = predictions(predicted, labels, nll, np.exp(-surprise))
    content = encode(given)
    read = decode(ROOT, content)
    for name in ("predicted", "labels", "nll"):
        assert (getattr(read, name) == getattr(given, name)).all(), name
    np.testing.assert_allclose(read.confidence, given.confidence, rtol=12 * HALF, atol=2e-7)
    assert read.error == 100 * (len(right) - right.sum()) / len(right)
    assert encode(given) == content


def test_ten_thousand_images_of_a_hundred_classes_take_at_most_60_kilobytes():
    """Nothing about them can be guessed: every prediction is wrong, at random."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 100, 10_000)
    predicted = (labels + random.integers(1, 100, 10_000)) % 100
    nll, surprise = random.gamma(2, 2, 10_000), random.gamma(2, 1, 10_000)
    content = encode(predictions(predicted, labels, nll, np.exp(-surprise)))
    assert 40_000 < len(content) <= 60_000


def test_classes_beyond_a_byte_and_losses_beyond_float16_are_kept():
    read = decode(ROOT, encode(predictions([70_000, 3], [70_000, 300], [1e9, -0.0], [1.0, 1.0])))
    assert read.predicted.tolist() == [70_000, 3]
    assert read.labels.tolist() == [70_000, 300]
    assert read.nll.tolist() == [65504, 0]
    assert read.confidence.tolist() == [0.0, 1.0]


def test_no_clock_is_in_the_file(tmp_path):
    (tmp_path / NAME).write_bytes(encode(predictions([1], [1], [0.5], [0.6])))
    entries = zipfile.ZipFile(tmp_path / NAME).infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(tmp_path / NAME) as arrays:  # and whoever has NumPy can read it
        assert arrays["nll"].tolist() == [0.5]


# ---------------------------------------------------------------------- a record with it


@pytest.fixture
def record(tmp_path):
    """A record of errors 50 and 25 %, with predictions of four images."""
    folder = write_record(tmp_path, next(spec(seeds=[0]).runs()), [50.0, 25.0])
    add_predictions(folder, predictions([0, 1, 2, 0], [0, 1, 2, 3], [0.1] * 4, [0.5] * 4))
    return folder


def test_a_record_with_predictions_is_whole_and_so_is_one_without(record, tmp_path):
    assert read_finished(record) is not None
    assert read_predictions(record).correct.tolist() == [True, True, True, False]
    older = write_record(tmp_path / "older", next(spec(seeds=[0]).runs()), [50.0, 25.0])
    assert read_finished(older) is not None
    assert read_predictions(older) is None
    assert read_predictions(tmp_path / "nothing") is None


def test_no_changed_byte_goes_unnoticed(record):
    whole = (record / NAME).read_bytes()
    for position in range(0, len(whole), len(whole) // 60):
        changed = bytearray(whole)
        changed[position] ^= 1
        (record / NAME).write_bytes(changed)
        for read in (read_finished, read_predictions):
            with pytest.raises(DamagedRecord, match=f"{NAME} is damaged"):
                read(record)
    (record / NAME).write_bytes(whole)
    assert read_finished(record) is not None


@pytest.mark.parametrize("damage", ["gone", "folder", "link"])
def test_a_file_that_is_none_is_named(record, damage):
    (record / NAME).unlink()
    if damage != "gone":
        (record / NAME).mkdir() if damage == "folder" else (record / NAME).symlink_to("nowhere")
    for read in (read_finished, read_predictions):
        with pytest.raises(DamagedRecord, match=f"{NAME} is damaged"):
            read(record)


def test_predictions_of_another_error_than_the_summarys_are_damage(record):
    add_predictions(record, predictions([0, 1, 0, 0], [0, 1, 2, 3], [0.1] * 4, [0.5] * 4))
    with pytest.raises(DamagedRecord, match=r"its error is 50\.0, that of summary\.json 25\.0"):
        read_predictions(record)


def arrays(**changes):
    given = {
        "predicted": np.array([0, 1, 2, 0], "u1"),
        "labels": np.array([0, 1, 2, 3], "u1"),
        "nll": np.full(4, 0.1, "f2"),
        "surprise": np.full(1, 0.7, "f2"),
        "digest": np.array("d1"),
    }
    return {k: v for k, v in (given | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"nll": None}, "no predictions"),
        ({"nll": np.full(3, 0.1, "f2")}, "predictions, labels and likelihoods of"),
        ({"surprise": np.full(2, 0.7, "f2")}, "it has 1 errors and"),
        ({"nll": np.full(4, -0.1, "f2")}, "likelihoods that are none"),
        ({"surprise": np.full(1, np.nan, "f2")}, "likelihoods that are none"),
        ({"nll": np.full(4, 0.1, "f8")}, "likelihoods that are none"),
        ({"digest": np.array({"an": "object"}, object)}, "no predictions"),
    ],
)
def test_what_no_run_writes_is_damage_though_its_checksum_fits(record, tmp_path, changes, reason):
    np.savez(tmp_path / "other.npz", **arrays(**changes))
    add_predictions(record, (tmp_path / "other.npz").read_bytes())
    if reason is None:
        assert read_predictions(record).digest == "d1"
        return
    with pytest.raises(DamagedRecord, match=reason):
        read_predictions(record)


def test_what_is_no_archive_is_damage(record):
    for content in (b"", b"nonsense", json.dumps([1]).encode()):
        add_predictions(record, content)
        with pytest.raises(DamagedRecord, match="it holds no predictions"):
            read_predictions(record)


def test_reading_needs_no_torch(record):
    code = (
        "import sys; from pathlib import Path\n"
        "from gnp.tracking.predictions import read_predictions\n"
        "assert 'numpy' not in sys.modules\n"
        "print(read_predictions(Path(sys.argv[1])).error, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(record)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["25.0", "False"], done.stderr
