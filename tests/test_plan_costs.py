"""What a plan is made of: FLOPs that are counted, speeds that are measured and kept."""

import json
import sys

import pytest
import torch
from conftest import CONFIGS
from hydra import compose, initialize_config_dir
from torch.utils.flop_counter import FlopCounterMode

import gnp.training.cost
from gnp.data import DataError, load_dataset
from gnp.data.sizes import sizes
from gnp.jobs.costs import CostsUnknown, ask_costs
from gnp.jobs.slots import cpu_slots
from gnp.jobs.work import checkpoint_bytes, work_of
from gnp.settings import ConfigError, DatasetSettings, resolve, to_plain
from gnp.training.calibration import affordable, measure, measure_augmentation, seconds_of
from gnp.training.cost import Costs
from gnp.training.flops import count
from gnp.training.run import _Run, folder_of, run
from gnp.training.speeds import Speeds, kept_in

CPU = torch.device("cpu")


def composed(*settings):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return resolve(compose("train", list(settings)))


def with_model(config, *layers):
    """The config with a chain of torch's layers as its network."""
    nodes = [{"_target_": f"torch.nn.{name}", "_args_": list(sizes)} for name, *sizes in layers]
    return config.model_copy(update={"model": {"_target_": "torch.nn.Sequential", "_args_": nodes}})


def test_the_flops_are_those_of_a_count_by_hand(tiny):
    small = with_model(tiny(), ("Conv2d", 3, 4, 3), ("ReLU",), ("Flatten",), ("Linear", 3600, 10))
    convolution = 2 * 30 * 30 * 4 * 3 * 9
    linear = 2 * 3600 * 10
    found = count(small)
    assert found["forward"] == convolution + linear
    # Backward: the gradient of its weights, and of the linear layer's input. Images have none.
    assert found["training"] == 2 * convolution + 3 * linear
    assert found["convolutions"] == 2 * convolution / found["training"]
    assert found["parameters"] == 4 * 27 + 4 + 36_000 + 10


@pytest.mark.parametrize(
    ("experiment", "multiplications"),
    # Convolutions 313.2 M, as is printed for VGG-16 at 32×32, and three linear layers; 5.2 G is
    # what the literature says of WRN-28-10.
    [("vgg16_bn", 313.2e6 + 512 * 4096 + 4096**2 + 40_960), ("wrn_28_10", 5.21e9)],
)
def test_the_flops_of_known_networks_are_the_known_ones(experiment, multiplications):
    found = count(composed(f"experiment={experiment}"))
    assert found["forward"] == pytest.approx(2 * multiplications, rel=0.002)
    assert found["training"] == pytest.approx(3 * found["forward"], rel=0.003)


@pytest.mark.parametrize(
    ("base", "copies", "steps"), [("sgd", 2, 0), ("adamw", 3, 4)], ids=["sgd", "adamw"]
)
def test_a_checkpoint_has_the_network_and_what_its_optimizer_keeps(tiny, base, copies, steps):
    config = with_model(
        tiny(f"optimizer={base}"), ("Flatten",), ("Linear", 3072, 2), ("Linear", 2, 10)
    )
    assert count(config)["checkpoint"] == 4 * (copies * (6144 + 2 + 20 + 10) + steps)


@pytest.mark.parametrize(
    "experiment", ["mini/wrn_ss_26_2x96", "mini/pyramidnet_272_200_sd", "mini/vit_ti16"]
)
def test_networks_that_draw_are_counted(experiment):
    found = count(composed(f"experiment={experiment}"))
    assert 2.8 < found["training"] / found["forward"] <= 3


@pytest.mark.parametrize(
    "settings",
    [
        ["optimizer=sgd"],
        ["optimizer=sam", "augmentation=mixup"],
        ["optimizer=gnp", "training.batch_size=24", "training.drop_last=false"],
        ["optimizer=gnp", "optimizer.reference_fraction=0.25"],
        ["optimizer=gnp", "optimizer.direction_every=3"],
        ["optimizer=gnp", "training.sharpness_batch=4", "optimizer.reference_fraction=0.333"],
        ["optimizer=gnp", "optimizer.penalty_warmup=zero", "optimizer.penalty_warmup_epochs=1"],
        ["optimizer=gnp", "optimizer.penalty_start=0.5", "optimizer.climb_only_norms=true"],
        ["optimizer=sam", "optimizer.climb_along=momentum", "training.ema=0.9"],
        ["optimizer=gnp", "optimizer.penalty_warmup=r", "optimizer.penalty_warmup_epochs=1",
         "optimizer.direction_every=2"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_flops_of_a_run_are_those_that_training_makes(tiny, tmp_path, monkeypatch, settings):
    config = tiny(*settings, "training.epochs=2", f"root={tmp_path}", "wandb.mode=disabled")
    counter, train = FlopCounterMode(display=False), _Run.train

    def counted(self, *arguments):
        with counter:
            return train(self, *arguments)

    monkeypatch.setattr(_Run, "train", counted)
    run(config)
    cost = {"flops": count(config)}
    work = work_of(to_plain(config), *sizes(config.dataset))
    assert work.flops(cost) == counter.get_total_flops()
    on_disk = sum(file.stat().st_size for file in folder_of(config).rglob("*"))
    assert on_disk == pytest.approx(checkpoint_bytes(to_plain(config), cost), abs=60_000)


# ---------------------------------------------------------------------- images


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train_per_class": 3},
        {"validation_per_class": 2},
        {"validation_per_class": 5, "train_per_class": 3},
    ],
)
def test_as_many_images_are_planned_as_are_loaded(changes):
    settings = DatasetSettings(
        name="d", source="synthetic", mean=[0.5] * 3, std=[0.5] * 3,
        synthetic_train_per_class=9, synthetic_test_per_class=4, **changes,
    )  # fmt: skip
    data = load_dataset(settings)
    assert sizes(settings) == (len(data.train), len(data.evaluation))


def test_cifar_is_counted_without_its_files(tmp_path):
    cifar = {
        "name": "d",
        "source": "torchvision",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "root": str(tmp_path / "no"),
    }
    assert sizes(DatasetSettings(**cifar)) == (50_000, 10_000)
    assert sizes(DatasetSettings(**cifar, num_classes=100, validation_per_class=50)) == (
        45_000,
        5_000,
    )
    with pytest.raises(DataError, match="smallest class has 500"):
        sizes(DatasetSettings(**cifar, num_classes=100, train_per_class=501))
    assert not (tmp_path / "no").exists()


# ---------------------------------------------------------------------- speeds


def test_as_many_images_are_timed_as_are_affordable():
    asked = []

    def cost(images):
        asked.append(images)
        return images * 0.1

    assert affordable(64, 1e9, cost) == 64
    assert asked == [2, 4, 8, 16, 32, 64]
    assert affordable(64, 0.0, cost) == 2
    assert affordable(1, 0.0, cost) == 1
    # Up to 4 images 0.6 s have passed, and 8 would take another 2.7 · 0.8 s.
    assert affordable(64, 2.7, cost) == 4
    assert affordable(64, 2.8, cost) == 8
    assert affordable(6, 1e9, cost) == 6


def test_a_measurement_is_of_passes_an_update_and_an_augmentation(tiny, monkeypatch):
    """Whose time the clock says is 2 s."""
    called = []

    def two_seconds(call, *_, **__):
        call()
        called.append(call)
        return 2.0

    monkeypatch.setattr("gnp.training.calibration.seconds_of", two_seconds)
    config, flops = tiny("augmentation=cutout", "optimizer=gnp"), {"forward": 1e6, "training": 3e6}
    found = measure(config, flops, CPU, seconds=100.0)
    assert len(called) == 4 + 3  # 2, 4, 8 and 16 images to see what is affordable
    assert (found["images"], found["batch"], found["update"]) == (16, 16, 2.0)
    assert found["training"] == 3e6 * 16 / 2
    assert found["evaluation"] == 1e6 * config.runtime.eval_batch_size / 2
    of_two = measure(config, flops, CPU, seconds=0.0)
    assert (of_two["training"], of_two["evaluation"]) == (3e6, 1e6)
    assert (of_two["images"], of_two["batch"]) == (2, 16)
    assert measure_augmentation(config, CPU)["augmentation"] == 2 / 1000


def test_what_is_timed_is_called_for_a_while_and_its_mean_taken():
    calls = []
    mean = seconds_of(lambda: calls.append(0), CPU, least=0.01)
    assert 0 < mean < 0.01
    assert len(calls) == pytest.approx(0.01 / mean, rel=0.5)
    calls.clear()
    seconds_of(lambda: calls.append(0), CPU, warm_up=True, least=0.0)
    assert len(calls) == 2


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A cache of its own, and a list of what is measured, which takes no time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def passes(config, flops, device, seconds):
        made.append((config.model, seconds))
        return {"training": 3.0, "evaluation": 2.0, "update": 1.0, "images": 4, "batch": 16}

    monkeypatch.setattr("gnp.training.speeds.measure", passes)
    monkeypatch.setattr(
        "gnp.training.speeds.measure_augmentation", lambda config, device: {"augmentation": 0.5}
    )
    return made


def test_a_measurement_is_kept_for_the_machine(tiny, measured):
    config, flops = tiny(), {}
    first = Speeds(CPU, beside=1).of(config, flops, 1.0)
    assert (first["training"], first["augmentation"], len(first["when"])) == (3.0, 0.5, 16)
    assert Speeds(CPU, beside=1).knows(config)
    assert Speeds(CPU, beside=1).of(config, flops, 1.0) == first
    assert len(measured) == 1
    # The classes are no part of it; the number of processes, the batch and the network are.
    hundred = tiny("dataset=synthetic100")
    assert hundred.model["num_classes"] == 100
    Speeds(CPU, beside=1).of(hundred, flops, 1.0)
    assert len(measured) == 1
    Speeds(CPU, beside=0).of(config, flops, 1.0)
    Speeds(CPU, beside=1).of(tiny("training.batch_size=8"), flops, 1.0)
    Speeds(CPU, beside=1).of(tiny("model.width=0.125"), flops, 1.0)
    Speeds(CPU, beside=1).of(tiny("training.precision=bf16"), flops, 1.0)
    assert len(measured) == 5


@pytest.mark.parametrize("text", ["{", "[]", '{"a": {}}', '{"a": {"of": 1}}'])
def test_what_was_kept_and_is_damaged_is_measured_again(tiny, measured, text):
    Speeds(CPU, 0).of(tiny(), {}, 1.0)
    kept_in().write_text(text)
    Speeds(CPU, 0).of(tiny(), {}, 1.0)
    assert len(measured) == 2
    assert Speeds(CPU, 0).knows(tiny())


def test_a_changed_entry_is_measured_again(tiny, measured):
    Speeds(CPU, 0).of(tiny(), {}, 1.0)
    kept = json.loads(kept_in().read_text())
    for entry in kept.values():
        entry["of"]["torch"] = "1.0"
    kept_in().write_text(json.dumps(kept))
    assert not Speeds(CPU, 0).knows(tiny())


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    tiny, measured, monkeypatch, tmp_path, caplog
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Speeds(CPU, 0).of(tiny(), {}, 1.0)["training"] == 3.0
    assert "the measurement is not kept" in caplog.text


# ---------------------------------------------------------------------- the process that answers


def request_of(*configs):
    plain = [to_plain(config) for config in configs]
    measured = [True] * len(plain)
    runtime = {"device": "cpu", "threads": 1, "beside": 0}
    images = [None] * len(plain)
    return {"configs": plain, "measured": measured, "images": images, "seconds": 6, **runtime}


def test_a_network_is_counted_once_and_measured_once(tiny, measured, monkeypatch):
    counted = []

    def once(config):
        counted.append(config.optimizer.name)
        return count(config)

    monkeypatch.setattr(gnp.training.cost, "count", once)
    said = []
    configs = [tiny(f"optimizer={o}", f"seed={s}") for o in ("sgd", "sam", "gnp") for s in (0, 1)]
    costs = Costs(request_of(*configs, tiny("model.width=0.125")), said.append).all()
    assert len(costs) == 7
    assert counted == ["sgd", "gnp"]
    assert [seconds for _, seconds in measured] == [2.5, 2.5]
    assert said == [
        "counting quickstart, 10 classes", "counting quickstart, 10 classes",
        "measuring quickstart, basic", "measuring quickstart, basic",
    ]  # fmt: skip
    assert (costs[0]["train"], costs[0]["evaluation"]) == (80, 40)
    assert costs[0] == costs[5] != costs[6]


def test_what_is_finished_is_not_measured(tiny, measured):
    request = request_of(tiny(), tiny("model.width=0.125")) | {"measured": [False, True]}
    costs = Costs(request, str).all()
    assert costs[0]["speed"] is None
    assert costs[1]["speed"]["training"] == 3.0
    assert len(measured) == 1


def test_images_whose_number_is_known_need_not_be_there(tiny, measured):
    config = tiny()
    elsewhere = {"source": "folder", "root": "nowhere"}
    elsewhere |= {"synthetic_train_per_class": 200, "synthetic_test_per_class": 100}
    config = config.model_copy(update={"dataset": config.dataset.model_copy(update=elsewhere)})
    with pytest.raises(DataError, match="nowhere"):
        Costs(request_of(config), str).all()
    (cost,) = Costs(request_of(config) | {"images": [[80, 40]]}, str).all()
    assert (cost["train"], cost["evaluation"]) == (80, 40)


def test_the_time_is_shared_by_what_is_to_be_measured(tiny, measured):
    widths = [tiny(f"model.width={w}") for w in (0.0625, 0.125, 0.25)]
    Costs(request_of(widths[0]), str).all()
    Costs(request_of(*widths) | {"seconds": 3}, str).all()
    assert [seconds for _, seconds in measured] == [2.5, 1.5, 1.5]


def test_a_network_that_cannot_be_made_is_named(tiny, measured):
    broken = tiny().model_copy(update={"model": {"_target_": "torch.nn.Nonsense"}})
    with pytest.raises(ConfigError, match=r"model\._target_=torch\.nn\.Nonsense"):
        Costs(request_of(broken), str).all()


ANSWER = """
import json, sys
request = json.load(sys.stdin)
print(json.dumps({"doing": "this"}), "\\nnoise\\n[1]")
print("a warning", file=sys.stderr)
print(json.dumps(%s))
"""


def answered(tiny, code):
    said = []
    slot = cpu_slots(2, 4)[0]
    configs, command = [to_plain(tiny("runtime.threads=null"))], [sys.executable, "-c", code]
    return ask_costs(configs, [True], [None], slot, 2, said.append, command), said


@pytest.mark.slow
def test_what_is_asked_is_of_a_slot_and_what_takes_a_while_is_said(tiny):
    (asked,), said = answered(tiny, ANSWER % '{"costs": [request]}')
    assert asked.pop("configs")[0]["experiment"] == "quickstart"
    assert (asked.pop("measured"), asked.pop("images")) == ([True], [None])
    assert asked == {"device": "cpu", "threads": 2, "beside": 1, "seconds": 20}
    assert said == ["this", "a warning"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ANSWER % '{"error": "model: no network"}', "model: no network"),
        ("raise SystemExit('no torch')", "no torch"),
        ("", "it printed nothing"),
    ],
)
def test_a_process_that_cannot_answer_is_one_line(tiny, code, words):
    with pytest.raises(CostsUnknown) as refused:
        answered(tiny, code)
    assert str(refused.value) == f"what the runs cost cannot be counted: {words}"
