"""scripts/first_gpu_hour.py, on the CPU at toy size; what it recommends and writes."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import CONFIGS, PATIENCE, ROOT, augmentation

from gnp.benchmarks.best import best_settings
from gnp.benchmarks.cell import PLAN, Cell, cell_plan, images_here
from gnp.benchmarks.gpu_hour import NETWORKS, combination, paper_scale, pieces
from gnp.benchmarks.gpu_report import write_report
from gnp.benchmarks.input import torchvisions
from gnp.benchmarks.pieces import write_record
from gnp.benchmarks.training_step import compose_run
from gnp.errors import UserError

CPU = "runtime.device=cpu"


def step(plain, gnp, name="fp32-eager-channels_last"):
    """A result of the benchmark: images a second of the plain base and of GNP."""
    methods = {
        method: {
            "ms": 1.0,
            "ratio": plain / own,
            "lowest": 0.9 * plain / own,
            "highest": 1.2 * plain / own,
            "images_per_second": own,
            "MB": 5.0,
        }
        for method, own in (("plain", plain), ("SAM", gnp + 1), ("GNP", gnp))
    }
    precision = name.split("-")[0]
    settings = [f"training.precision={precision}", f"of={name}"]
    sizes = {"batch_size": 8, "rounds": 3, "first_step": 2.0}
    return {"device": "a GPU", "settings": settings, **sizes, "methods": methods}


def done(result):
    return {"status": "done", "result": result, "code": "c0de"}


def test_the_benchmark_has_every_network_of_the_configs_and_every_combination():
    of_configs = {file.stem for file in (CONFIGS / "model").glob("*.yaml")}
    siblings = {"resnet_8", "resnet_32", "resnet_56"}
    assert of_configs - {"timm"} - siblings == NETWORKS.keys()
    planned = pieces(ROOT / "nowhere", paper_scale(12, 7), "cuda")
    steps = [piece.name for piece in planned if piece.name.startswith("benchmark/vgg16/")]
    assert sorted(name.rpartition("/")[2] for name in steps) == sorted(
        combination(compiled, precision, last)
        for compiled in (False, True)
        for precision in ("fp32", "bf16")
        for last in (False, True)
    )
    assert all(piece.seconds <= 8 * 60 for piece in planned)


@pytest.mark.parametrize("network", NETWORKS)
def test_each_network_is_measured_as_its_config_is(network, compose_train):
    config = compose_train(["optimizer=gnp", *NETWORKS[network]])
    assert config.model._target_ == compose_train([f"model={network}"]).model._target_


def test_the_fastest_settings_of_each_precision_are_recommended():
    names = {
        "fp32-eager-channels_last": 100,
        "fp32-compiled-contiguous": 150,
        "bf16-eager-channels_last": 300,
        "bf16-compiled-channels_last": 302,  # not clearly faster
    }
    records = {name: done(step(2 * gnp, gnp, name)) for name, gnp in names.items()}
    records["bf16-compiled-contiguous"] = {"status": "failed", "reason": "no memory"}
    best = best_settings({"vgg16": records, "vit": {"x": records["bf16-compiled-contiguous"]}})
    assert best.keys() == {"vgg16"}
    chosen = {key: own["settings"][1] for key, own in best["vgg16"].items()}
    assert chosen == {
        "fp32": "of=fp32-compiled-contiguous",
        "bf16": "of=bf16-eager-channels_last",
        "fastest": "of=bf16-eager-channels_last",
    }
    assert best["vgg16"]["bf16"]["ratios"]["GNP"] == 2.0


def test_the_cell_has_the_epochs_that_the_time_allows_and_keeps_them(tmp_path):
    cell = Cell("vgg16", ["dataset=cifar10"], seconds=600)
    write_record(tmp_path, "benchmark/vgg16/fp32-eager-channels_last", 1.0, step(2e4, 1e4))
    plan = cell_plan(tmp_path, cell)
    # 50,000 images take 2.5 s plainly, and 5 s with SAM as with GNP: of 600 s 0.75 are for passes.
    assert plan["epochs"] == 36
    assert plan["settings"] == [
        "dataset=cifar10",
        "wandb.mode=disabled",
        "training.precision=fp32",
        "of=fp32-eager-channels_last",
        "training.epochs=36",
    ]
    write_record(tmp_path, "benchmark/vgg16/fp32-eager-channels_last", 1.0, step(4e4, 2e4))
    assert cell_plan(tmp_path, cell) == plan
    (tmp_path / PLAN).unlink()
    assert cell_plan(tmp_path, cell)["epochs"] == 72


def test_the_cell_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no benchmark of vgg16 has ended"):
        cell_plan(tmp_path, Cell("vgg16", ["dataset=cifar10"], seconds=600))
    monkeypatch.setenv("GNP_DATA", str(tmp_path))
    with pytest.raises(UserError, match="neither cifar-10-batches-py nor cifar10/train"):
        images_here()
    (tmp_path / "cifar10/train").mkdir(parents=True)
    assert images_here() == "cifar10_10k"
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert images_here() == "cifar10"


def test_the_pages_show_what_was_measured_and_what_failed(tmp_path):
    write_record(tmp_path, "machine", 1.0, {"device": "a GPU"})
    write_record(tmp_path, "tests", 1.0, {"pytest": "22 passed"})
    write_record(tmp_path, "benchmark/vgg16/fp32-eager-channels_last", 1.0, step(2000, 1000))
    write_record(tmp_path, "benchmark/vgg16/bf16-eager-contiguous", 1.0, reason="no | memory")
    speeds = {
        "device": "a GPU",
        "images_per_second": 9e5,
        "torchvision": 3e4,
        "ratio": 30.0,
        "workers": 16,
    }
    write_record(tmp_path, "input/basic", 1.0, speeds)
    write_record(tmp_path, "cell/gnp", 1.0, {"epochs": 7, "test_error": 9.87, "minutes": 3.0})
    files = write_report(tmp_path, "python x", missing=2)
    assert {file.name for file in files} == {"gpu.md", "gpu.json", "best.json", "rows.md"}
    page = (tmp_path / "gpu.md").read_text()
    for words in (
        "# The first hour on a GPU",
        "Made by `python x`; 2 pieces are missing yet.",
        "22 passed",
        "| vgg16 | 8 | fp32-eager-channels_last | 3 | 2,000 | 2.00 (1.80–2.40) | "
        "2.00 (1.80–2.40) | 2.0 | 5 | 5 | 5 |",
        "| vgg16 |  | bf16-eager-contiguous | failed: no \\| memory |",
        "| basic | 900,000 | 30,000 | 30.0 | 16 |",
    ):
        assert words in page
    assert "gnp: 9.87 % after 7 epochs (one seed)" in (tmp_path / "rows.md").read_text()
    assert "Warning" not in page


@pytest.mark.parametrize("key", ["code", "device"])
def test_the_pages_warn_of_records_of_other_code_or_another_device(tmp_path, key):
    for name in ("bf16-eager-contiguous", "fp32-eager-contiguous"):
        write_record(tmp_path, f"benchmark/vgg16/{name}", 1.0, step(2000, 1000, name))
    file = tmp_path / "records/benchmark/vgg16/bf16-eager-contiguous.json"
    record = json.loads(file.read_text())
    (record if key == "code" else record["result"])[key] = "another"
    file.write_text(json.dumps(record))
    write_report(tmp_path, "python x", missing=0)
    assert f"the records are of different {key}" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize("name", [f.stem for f in (CONFIGS / "augmentation").glob("*.yaml")])
def test_torchvision_has_a_transform_for_each_augmentation(name):
    config = compose_run([f"augmentation={name}", "dataset=synthetic"])
    each, mix = torchvisions(config.augmentation, config.dataset.mean, config.dataset.std)
    images = torch.stack([each(torch.zeros(3, 32, 32, dtype=torch.uint8)) for _ in range(2)])
    assert images.shape == (2, 3, 32, 32)
    assert images.dtype == torch.float32
    mixes = config.augmentation.mixing is not None
    assert (mix is not None) == mixes
    if mixes:
        assert mix(images, torch.tensor([1, 2]))[1].shape == (2, 10)


def test_torchvisions_square_has_cutouts_area():
    each, _ = torchvisions(augmentation(cutout=16).settings, (0.5,) * 3, (0.25,) * 3)
    erased = each(torch.full((3, 32, 32), 255, dtype=torch.uint8))
    assert (erased == 0).sum() == 3 * 16**2


def start(folder, device="cpu"):
    command = [sys.executable, "scripts/first_gpu_hour.py", "--device", device, "--toy"]
    command += ["--output", str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_the_hour_stopped_midway_goes_on_and_does_nothing_twice(tmp_path):
    first = start(tmp_path)
    run = tmp_path / "runs/quickstart/synthetic-basic/sgd/seed0"
    deadline = time.monotonic() + PATIENCE
    while not (run / "checkpoint.pt").exists() and first.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=PATIENCE)
    assert first.returncode == 130, said
    assert not (run / "summary.json").exists()
    assert "pieces are missing yet" in (tmp_path / "gpu.md").read_text()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "records").rglob("*.json")}
    assert {file.stem for file in before} >= {"machine", "tests", "cutmix"}

    second = start(tmp_path)
    said, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, said
    assert "failed" not in said
    after = {file: file.stat().st_mtime_ns for file in (tmp_path / "records").rglob("*.json")}
    assert before.items() <= after.items()
    assert {
        file.relative_to(tmp_path / "records").as_posix() for file in after.keys() - before
    } == {
        "cell/sgd.json",
        "cell/sam.json",
        "cell/gnp.json",
        "benchmark/vgg16_bn/fp32-compiled-contiguous.json",
    }
    assert "going on after epoch" in (tmp_path / "logs/cell/sgd.txt").read_text()
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["vgg16_bn"].keys() == {"fp32", "bf16", "fastest"}


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused_and_leaves_no_record(tmp_path, device):
    process = start(tmp_path / "gpu", device)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, said
    (line,) = said.splitlines()
    assert re.match(rf"first_gpu_hour\.py: runtime\.device='?{device}", line)
    assert not (tmp_path / "gpu").exists()
