"""scripts/evaluate.py: what it says is what the network of the checkpoint says, of those images."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from records import add_predictions
from test_records import stop_after

from gnp.data import DataError
from gnp.data.digest import digest_of
from gnp.data.loader import Normalise
from gnp.data.other_images import CORRUPTIONS, Named, cifar_c
from gnp.settings import run_path, validate
from gnp.statistics.calibration import calibration_error
from gnp.tracking import record as record_module
from gnp.tracking.checksums import with_checksum
from gnp.tracking.predictions import decode, read_predictions
from gnp.tracking.reading import read_finished
from gnp.training.build import build_model
from gnp.training.checkpoint import read_checkpoint
from gnp.training.evaluation import Places, _config_of, _without_download, summary_of
from gnp.training.run import folder_of, run

NAMES = [f"class{i}" for i in range(10)]


@pytest.fixture
def evaluated(capsys, monkeypatch, tmp_path):
    """evaluated("RUN", "--flip") → (exit status, JSON or None, stdout, stderr)."""

    def call(*arguments):
        file = tmp_path / "found.json"
        file.unlink(missing_ok=True)
        given = ["evaluate.py", *map(str, arguments), "--json", str(file), "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", given)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "scripts/evaluate.py"), run_name="__main__")
        said = capsys.readouterr()
        found = json.loads(file.read_text()) if file.exists() else None
        return end.value.code, found, said.out, said.err

    return call


@pytest.fixture
def on_cifar(cifar, compose_train, tmp_path):
    """The config of a finished run on CIFAR-10's own format; the data lie in ``cifar``."""
    settings = ["experiment=quickstart", "dataset=cifar10", "dataset.download=false"]
    settings += ["model.width=0.0625", "training.epochs=2", "training.batch_size=10"]
    settings += ["optimizer.lr=0.02", "runtime.device=cpu", "runtime.threads=1"]
    config = validate(compose_train([*settings, f"data_root={cifar}", f"root={tmp_path / 'o'}"]))
    run(config)
    return config


@torch.no_grad()
def by_hand(config, images, flip=False):
    """Probabilities (N, 10) of uint8 images (N, 32, 32, 3)."""
    model = build_model(config)
    model.load_state_dict(read_checkpoint(folder_of(config) / "checkpoint.pt")["model"])
    model.eval()
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    data = config.dataset
    inputs = Normalise(data.mean, data.std, torch.device("cpu"))(images)
    probabilities = model(inputs).softmax(1)
    if flip:
        probabilities = (probabilities + model(inputs.flip(3)).softmax(1)) / 2
    return probabilities.double().numpy()


def compare(found, probabilities, labels):
    right = probabilities.argmax(1) == labels
    assert found["count"] == len(labels)
    assert found["error"] == 100 * (~right).sum() / len(labels)
    true = probabilities[np.arange(len(labels)), labels]
    assert found["nll"] == pytest.approx(-np.log(true).mean(), rel=1e-5)
    ece = calibration_error(probabilities.max(1).astype(np.float32), right)
    assert found["ece"] == pytest.approx(ece, abs=1e-3)


def random_images(count, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


# ---------------------------------------------------------------------- its own images


def test_a_finished_run_has_the_numbers_of_its_record(tiny, tmp_path, evaluated):
    configs = [
        tiny(f"root={tmp_path}"),
        tiny(f"root={tmp_path}", "optimizer=sgd", "dataset.validation_per_class=2"),
        tiny(f"root={tmp_path}", "optimizer=sam", "training.ema=0.8"),
    ]
    summaries = [run(config) for config in configs]
    status, found, out, _ = evaluated(*map(folder_of, configs))
    assert status == 0
    for one, config, summary in zip(found["runs"], configs, summaries, strict=True):
        (own,) = one["evaluations"]
        split = summary["evaluated"]
        assert own["images"] == f"synthetic, {split}"
        assert own["error"] == summary["final"][f"{split}_error"]
        assert own["nll"] == pytest.approx(summary["final"][f"{split}_loss"], rel=1e-6)
        assert own["digest"] == read_predictions(folder_of(config)).digest
        assert f"{own['error']:.2f}" in out
        assert (one["epoch"], one["epochs"]) == (3, 3)


def test_a_run_that_is_not_finished_is_evaluated_after_its_last_epoch(
    tiny, tmp_path, monkeypatch, evaluated
):
    config = tiny(f"root={tmp_path}")
    folder = stop_after(monkeypatch, config, 2)
    line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[1])
    status, found, out, _ = evaluated(folder)
    assert status == 0
    assert found["runs"][0]["evaluations"][0]["error"] == line["test_error"]
    assert "2/3" in out
    status, _, _, err = evaluated(folder, "--write")
    assert (status, err.count("\n")) == (1, 1)
    assert "is not finished: no predictions are written" in err


def test_one_run_that_cannot_be_evaluated_costs_no_other(tiny, tmp_path, evaluated):
    config = tiny("training.epochs=1", f"root={tmp_path / 'root'}")
    run(config)
    status, found, _, err = evaluated(tmp_path, folder_of(config))
    assert status == 2
    assert len(found["runs"]) == 1
    assert "is no run's folder: it has no config.yaml" in err
    assert err.count("\n") == 1


# ---------------------------------------------------------------------- writing


def made_older(folder):
    """The record as it was before there were predictions."""
    summary = json.loads((folder / "summary.json").read_text())
    del summary["files"]["predictions.npz"]
    (folder / "summary.json").write_text(json.dumps(with_checksum(summary)))
    path = folder / "predictions.npz"
    content = path.read_bytes()
    path.unlink()
    return content


def test_an_older_record_gets_the_predictions_that_its_run_would_write(
    tiny, tmp_path, evaluated, monkeypatch
):
    config = tiny(f"root={tmp_path}")
    before = run(config)
    folder = folder_of(config)
    content = made_older(folder)
    assert read_predictions(folder) is None

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(record_module, "write_json", killed)
        assert evaluated(folder, "--write")[0] == 130
    assert read_finished(folder) is not None
    assert read_predictions(folder) is None  # the summary does not know them yet

    status, _, out, _ = evaluated(folder, "--write")
    assert status == 0
    assert "predictions are written" in out
    assert (folder / "predictions.npz").read_bytes() == content
    assert read_finished(folder).summary == before
    assert "it has its predictions" in evaluated(folder, "--write")[2]
    assert run(config) == before  # there is nothing left to do


def test_predictions_of_another_error_are_not_written(tiny, tmp_path, evaluated):
    config = tiny("training.epochs=2", f"root={tmp_path}")
    run(config)
    folder = folder_of(config)
    made_older(folder)
    state = read_checkpoint(folder / "checkpoint.pt")
    last = list(state["model"])[-2]  # the weights of the last layer: other classes
    state["model"][last] = -state["model"][last]
    torch.save({**state, "digest": digest_of(state)}, folder / "checkpoint.pt")
    files = {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()}
    status, found, _, err = evaluated(folder, "--write")
    assert (status, found) == (1, None)
    assert "in the record, by the rounding of another machine or code" in err
    assert {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()} == files


@pytest.mark.parametrize("option", [["--flip"], ["--images", "x"], ["--cifar10-c", "x"]])
def test_only_predictions_of_the_own_images_are_written(evaluated, option):
    status, _, _, err = evaluated("RUN", "--write", *option)
    assert status == 2
    assert "leave the other options out" in err


# ---------------------------------------------------------------------- into files of their own


def test_each_images_predictions_are_written_where_one_says(tiny, tmp_path, monkeypatch, evaluated):
    """Also of a run that is not finished, and for the mirror images too."""
    finished = tiny(f"root={tmp_path}")
    run(finished)
    stopped = stop_after(monkeypatch, tiny(f"root={tmp_path}", "seed=1"), 2)
    place = tmp_path / "predictions"
    for flip in ([], ["--flip"]):
        given = (folder_of(finished), stopped, "--predictions", place, *flip)
        status, found, out, _ = evaluated(*given)
        assert (status, out.count("written: 2 files in")) == (0, 1)
        for seed, one in enumerate(found["runs"]):
            name = "synthetic_test-flip.npz" if flip else "synthetic_test.npz"
            file = place / run_path(finished).parent / f"seed{seed}" / name
            predictions = decode(file, file.read_bytes())
            (shown,), here = one["evaluations"], summary_of(predictions)
            assert here["digest"] == shown["digest"]
            for number in ("count", "error", "nll", "ece"):
                assert here[number] == pytest.approx(shown[number], rel=1e-3)
    content = (place / run_path(finished) / "synthetic_test.npz").read_bytes()
    assert content == (folder_of(finished) / "predictions.npz").read_bytes()
    assert len(list(place.rglob("*.npz"))) == 4


def test_two_runs_of_one_name_do_not_write_over_each_other(tiny, tmp_path, evaluated):
    config = tiny("training.epochs=1", f"root={tmp_path / 'root'}")
    run(config)
    shutil.copytree(tmp_path / "root", tmp_path / "again")
    other = tmp_path / "again" / folder_of(config).relative_to(tmp_path / "root")
    place = tmp_path / "predictions"
    status, found, _, err = evaluated(folder_of(config), other, "--predictions", place)
    assert (status, len(found["runs"])) == (2, 1)
    assert f"{other}: " in err
    assert "is written already, for a run of that name; evaluate this one by itself" in err
    assert evaluated(folder_of(config), other)[0] == 0


# ---------------------------------------------------------------------- checkpoints


def test_published_weights_are_not_fetched_to_be_overwritten(compose_train):
    model = ["model=timm", "model.name=resnet18", "model.pretrained=true"]
    config = validate(compose_train(["experiment=quickstart", "~model.width", "~model.blocks",
                                     "~model.dropout", *model]))  # fmt: skip
    there = _without_download(config)
    assert (config.model["pretrained"], there.model["pretrained"]) == (True, False)
    assert there.model == {**config.model, "pretrained": False}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 1}, "no checkpoint of this version (format 2)"),
        ({"run": "e/d-basic/gnp/seed7"}, "it is of run e/d-basic/gnp/seed7"),
        ({"config": "0" * 16}, "it is of config 0000"),
        ({"data": "0" * 16}, "holds a run on other data"),
        ("gone", "has no checkpoint.pt"),
        ("cut", "checkpoint.pt cannot be used"),
        ("network", "is of another network than this code's"),
    ],
)
def test_a_checkpoint_that_is_not_of_this_run_is_refused(
    tiny, tmp_path, evaluated, changes, reason
):
    config = tiny("training.epochs=1", f"root={tmp_path}")
    run(config)
    path = folder_of(config) / "checkpoint.pt"
    state = read_checkpoint(path)
    if changes == "gone":
        path.unlink()
    elif changes == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        if changes == "network":
            state["model"].popitem()
        else:
            state |= changes
        torch.save({**state, "digest": digest_of(state)}, path)
    status, found, _, err = evaluated(folder_of(config))
    assert status in (1, 2)
    assert found is None
    assert reason in err
    assert "Traceback" not in err


def test_a_damaged_record_is_refused(tiny, tmp_path, evaluated):
    config = tiny("training.epochs=1", f"root={tmp_path}")
    run(config)
    add_predictions(folder_of(config), b"nonsense")
    (folder_of(config) / "predictions.npz").write_bytes(b"other nonsense")
    status, _, _, err = evaluated(folder_of(config))
    assert status == 2
    assert "predictions.npz is damaged" in err


# ---------------------------------------------------------------------- other images


def test_mirror_images_are_averaged_after_the_softmax(on_cifar, cifar, evaluated):
    folder, data = folder_of(on_cifar), ["--data-root", cifar]
    images = random_images(30, seed=3)
    np.save(cifar / "cifar10.1_v6_data.npy", images)
    labels = np.arange(30) % 10
    np.save(cifar / "cifar10.1_v6_labels.npy", labels.astype(np.int32))
    both = by_hand(on_cifar, images, flip=True)
    assert abs(both - by_hand(on_cifar, images)).max() > 1e-3
    for options, probabilities in (([], by_hand(on_cifar, images)), (["--flip"], both)):
        status, found, _, _ = evaluated(folder, *data, "--cifar10-1", cifar, *options)
        assert status == 0
        assert found["flip"] is bool(options)
        ((one,),) = (r["evaluations"] for r in found["runs"])
        assert one["images"] == "CIFAR-10.1 v6"
        compare(one, probabilities, labels)


def test_both_versions_of_cifar10_1_are_evaluated(on_cifar, tmp_path, evaluated):
    labels = {"v4": np.arange(21) % 10, "v6": np.arange(20)[::-1] % 10}
    for seed, (version, right) in enumerate(labels.items()):
        np.save(tmp_path / f"cifar10.1_{version}_data.npy", random_images(len(right), seed))
        np.save(tmp_path / f"cifar10.1_{version}_labels.npy", right.copy())
    status, found, out, _ = evaluated(
        folder_of(on_cifar), "--cifar10-1", tmp_path, "--batch-size", 8
    )
    assert status == 0
    for seed, (one, version) in enumerate(
        zip(found["runs"][0]["evaluations"], labels, strict=True)
    ):
        assert version in one["images"]
        assert one["images"] in out
        compare(one, by_hand(on_cifar, random_images(len(labels[version]), seed)), labels[version])


@pytest.fixture
def corrupted(tmp_path):
    """A folder like CIFAR-10-C: two corruptions and one that is in no mean, 6 images a severity."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    for seed, name in enumerate(["fog", "gaussian_noise", "spatter"]):
        np.save(folder / f"{name}.npy", random_images(30, seed))
    np.save(folder / "labels.npy", np.tile(np.array([3, 1, 4, 1, 5, 9], np.uint8), 5))
    return folder


def test_each_corruption_at_each_severity_and_the_mean_of_the_papers(
    on_cifar, corrupted, evaluated, tmp_path
):
    given = (folder_of(on_cifar), "--cifar10-c", corrupted, "--predictions", tmp_path / "p")
    status, found, out, _ = evaluated(*given)
    assert status == 0
    (one,) = found["runs"]
    order = [(name, s) for name in ("gaussian_noise", "fog", "spatter") for s in range(1, 6)]
    assert [(e["corruption"], e["severity"]) for e in one["evaluations"]] == order
    labels = np.array([3, 1, 4, 1, 5, 9])
    for e in one["evaluations"]:
        images = np.load(corrupted / f"{e['corruption']}.npy")
        part = images[6 * (e["severity"] - 1) : 6 * e["severity"]]
        compare(e, by_hand(on_cifar, part), labels)
    of_paper = [e for e in one["evaluations"] if e["corruption"] != "spatter"]
    for name in ("error", "nll", "ece"):
        assert one["mean"][name] == pytest.approx(np.mean([e[name] for e in of_paper]))
    assert "spatter (not in the mean)" in out
    assert "mean of 2 corruptions × severities" in out
    written = {file.name for file in (tmp_path / "p").rglob("*.npz")}
    assert written == {f"{name}_{severity}.npz" for name, severity in order}
    shown = next(line for line in out.splitlines() if "fog" in line)
    errors = [e["error"] for e in of_paper if e["corruption"] == "fog"]
    cells = [cell.strip() for cell in shown.strip("│ ").split("│")]
    assert cells == ["fog", *(f"{e:.2f}" for e in errors), f"{np.mean(errors):.2f}"]


def test_the_papers_fifteen_corruptions_have_their_names():
    assert len(set(CORRUPTIONS)) == 15
    assert not {"speckle_noise", "gaussian_blur", "spatter", "saturate"} & set(CORRUPTIONS)
    assert Named("", None, "fog", 1).in_mean
    assert not Named("", None, "spatter", 1).in_mean


def test_a_hundred_classes_are_those_of_cifar_100_c(corrupted):
    np.save(corrupted / "labels.npy", np.arange(30) + 70)
    parts = list(cifar_c(corrupted, 100))
    assert parts[-1].split.labels.tolist() == list(range(94, 100))
    assert parts[0].split.images.shape == (6, 3, 32, 32)


FORMATS = {
    "no folder": (lambda f: None, "CIFAR-10-C there", "nothing"),
    "floats": (lambda f: np.save(f / "fog.npy", np.zeros((30, 32, 32, 3))), "array of float64"),
    "channels first": (
        lambda f: np.save(f / "fog.npy", np.zeros((30, 3, 32, 32), np.uint8)),
        "expected uint8",
    ),
    "other size": (
        lambda f: np.save(f / "gaussian_noise.npy", random_images(31)),
        r"expected integers \(31,\)",
    ),
    "no severities": (
        lambda f: (
            np.save(f / "gaussian_noise.npy", random_images(31)),
            np.save(f / "labels.npy", np.zeros(31, int)),
        ),
        "which are no 5 severities",
    ),
    "labels of 100": (lambda f: np.save(f / "labels.npy", np.full(30, 99)), "expected 0 to 9"),
    "labels below 0": (lambda f: np.save(f / "labels.npy", np.full(30, -1)), "from -1 to -1"),
    "labels that are floats": (lambda f: np.save(f / "labels.npy", np.zeros(30)), "float64"),
    "no labels": (lambda f: (f / "labels.npy").unlink(), "labels.npy does not exist"),
    "text": (lambda f: (f / "gaussian_noise.npy").write_text("x"), "no array of NumPy's"),
    "objects": (
        lambda f: np.save(f / "gaussian_noise.npy", np.array([{}], object), allow_pickle=True),
        "no array of NumPy's",
    ),
}


@pytest.mark.parametrize("what", FORMATS)
def test_files_of_another_format_are_refused_in_one_line(corrupted, what):
    change, reason, *elsewhere = FORMATS[what]
    change(corrupted)
    with pytest.raises(DataError, match=reason) as error:
        list(cifar_c(corrupted / elsewhere[0] if elsewhere else corrupted, 10))
    assert "\n" not in str(error.value)


def pictures(folder, classes, each=2):
    """Random pictures in ``folder/<class>``; returns them in the order of the names."""
    images = random_images(each * len(classes), seed=len(classes))
    for number, image in enumerate(images):
        place = folder / classes[number // each]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:03d}.png")
    return images


def test_an_image_folder_has_the_training_classes_by_their_names(
    on_cifar, cifar, tmp_path, evaluated
):
    images = pictures(tmp_path / "mine", NAMES)
    given = [folder_of(on_cifar), "--data-root", cifar, "--images"]
    status, found, _, _ = evaluated(*given, tmp_path / "mine")
    assert status == 0
    compare(found["runs"][0]["evaluations"][0], by_hand(on_cifar, images), np.repeat(range(10), 2))
    pictures(tmp_path / "other", ["class0", "klass1", "class11", *NAMES[2:8]])
    status, _, _, err = evaluated(*given, tmp_path / "other")
    assert status == 2
    assert "class11, klass1 unknown; class1, class8, class9 missing" in err
    assert "does not exist" in evaluated(*given, tmp_path / "nowhere")[3]


def test_a_run_on_an_image_folder_finds_its_images_and_its_classes(
    compose_train, tmp_path, evaluated
):
    names = ["ant", "bee", "cow"]
    for split in ("train", "test"):
        pictures(tmp_path / "cifar10" / split, names, each=4)
    settings = ["experiment=quickstart", "dataset=cifar10_10k", "dataset.num_classes=3"]
    settings += ["model.width=0.0625", "training.epochs=1", "training.batch_size=6"]
    settings += ["runtime.device=cpu", "runtime.threads=1", "model.num_classes=3"]
    config = validate(compose_train([*settings, f"data_root={tmp_path}", f"root={tmp_path / 'o'}"]))
    summary = run(config)
    GlobalHydra.instance().clear()  # the script composes by itself
    given = [folder_of(config), "--data-root", tmp_path]
    own = evaluated(*given)[1]["runs"][0]["evaluations"][0]
    assert own["error"] == summary["final"]["test_error"]
    by_place = evaluated(folder_of(config), "--dataset-root", tmp_path / "cifar10")[1]
    assert by_place["runs"][0]["evaluations"][0] == own
    images = pictures(tmp_path / "mine", names)
    found = evaluated(*given, "--images", tmp_path / "mine")[1]
    compare(found["runs"][0]["evaluations"][0], by_hand(config, images), np.repeat(range(3), 2))
    assert "classes are not those of CIFAR-10" in evaluated(*given, "--cifar10-1", tmp_path)[3]
    assert "does not exist" in evaluated(folder_of(config), "--data-root", tmp_path / "x")[3]
    pictures(tmp_path / "cifar10" / "test", names, each=3)  # other pictures under old names
    assert "holds a run on other data" in evaluated(*given)[3]


def test_synthetic_classes_have_no_names_and_are_not_cifars(tiny, tmp_path, evaluated):
    config = tiny("training.epochs=1", f"root={tmp_path}")
    run(config)
    for option in ("--images", "--cifar10-1", "--cifar10-c"):
        status, _, _, err = evaluated(folder_of(config), option, tmp_path)
        assert status == 2
        assert "have no names" in err or "are not those of CIFAR-10" in err


def test_an_older_config_means_what_it_meant(tiny):
    plain = tiny("dataset.label_noise=0.5").model_dump()
    recorded = {k: v for k, v in plain.items() if k not in ("fidelity", "root", "data_root")}
    recorded["dataset"] = {
        k: v for k, v in plain["dataset"].items() if k not in ("root", "noise_seed")
    }
    recorded["training"] = {k: v for k, v in plain["training"].items() if k != "evaluate_every"}
    config = _config_of(recorded, Places("d", lambda name: "r", "cpu", 7))
    assert config.dataset == tiny("dataset.label_noise=0.5").dataset
    assert (config.training.evaluate_every, config.runtime.eval_batch_size) == (1, 7)


# ---------------------------------------------------------------------- numbers
