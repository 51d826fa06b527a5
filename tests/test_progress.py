"""What is seen of a run and of a pool at work, on a terminal of 80 columns."""

import dataclasses
import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from test_tuning import spec

from gnp.jobs import progress as pools
from gnp.jobs.slots import Slot
from gnp.settings.run import shown_in
from gnp.training import progress as runs
from gnp.tuning.trials import Trial

LONG = "tune_gnp_lr0.0541_weight_decay0.00224_r0.0464_alpha0.921"
PLACE = "tiny/wrn_10_2/cifar10_1k-basic"


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        (f"{PLACE}/gnp/seed0", 40, f"{PLACE}/gnp/seed0"),
        (f"{PLACE}/gnp/seed0", 30, "…_2/cifar10_1k-basic/gnp/seed0"),
        (f"{PLACE}/gnp/seed0", 10, "…gnp/seed0"),
        (f"{PLACE}/{LONG}/seed1000", 40, "tune_gnp_lr0.05…0464_alpha0.921/seed1000"),
    ],
)
def test_of_a_long_place_method_and_seed_stay(path, width, shown):
    assert shown_in(path, width) == shown
    assert len(shown) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_a_pools_lines_fit_and_say_epoch_error_and_what_is_left(tmp_path, monkeypatch, width):
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=None)
    progress = pools.PoolProgress(console, 0, 3)
    monkeypatch.setattr(pools, "epochs_of", lambda child: child.says)
    children = []
    says = [(0, None, None), (2, 150, None), (7, 150, 44.125)]
    for index, said in enumerate(says):
        trial = Trial("gnp", "gnp", (), index, (("lr", 0.0541), ("weight_decay", 0.00224)))
        run = dataclasses.replace(next(spec().runs()), experiment="tiny/wrn_10_2", trial=trial)
        children.append(SimpleNamespace(run=run, slot=Slot("CPU 1"), started=0.0, says=said))
    pool = SimpleNamespace(active=children, finished=[], failed=[], waiting=[], total=3)
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pools.time, "monotonic", lambda: clock.now)

    def lines():
        text.seek(0)
        text.truncate()
        said = [(child, *child.says) for child in children]
        console.print(progress._picture(pool, said))
        return text.getvalue().splitlines()

    first = lines()
    assert all(len(line.rstrip()) <= width for line in first)
    assert [line.split("epoch ")[1].split()[0] for line in first[1:]] == ["0/?", "2/150", "7/150"]
    assert all("seed7" in line for line in first[1:])
    # Epochs that were made before this start say nothing of how long one takes.
    assert all("for 2 min" in line for line in first[1:])
    assert "44.1 %" in first[3]
    assert ("CPU 1" in first[3]) == ("━" in first[3]) == (width > pools.NARROW)
    children[2].says, clock.now = (17, 150, 44.125), 200.0  # 10 epochs in 200 s
    assert "44 min left" in lines()[3]


def test_what_is_left_is_reckoned_from_the_epochs_of_this_start(tmp_path, monkeypatch):
    text = io.StringIO()
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(pools.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(pools, "epochs_of", lambda child: child.says)
    progress = pools.PoolProgress(Console(file=text, width=200), 0, 4)
    run = next(spec().runs())
    child = SimpleNamespace(run=run, slot=Slot("CPU 1"), started=0.0, says=(60, 100, None))
    pool = SimpleNamespace(
        active=[child], finished=[], failed=[], retried=[], waiting=[1, 2, 3], total=4
    )
    progress.watch(pool)  # a run that goes on after its 60th epoch
    clock.now, child.says = 40.0, (61, 100, None)
    progress.watch(pool)
    assert "left" not in text.getvalue()
    clock.now = 7200.0
    other = SimpleNamespace(run=list(spec().runs())[1], started=0.0, says=(20, 100, None))
    pool.active, pool.finished, progress._spoken = [other], [(run, None)], 1
    progress.watch(pool)  # 0.4 runs: too few to say
    assert "left" not in text.getvalue()
    clock.now, other.says = 10800.0, (80, 100, None)  # 0.4 + 0.6 runs in 3 h, 4 - 1.8 are left
    progress.watch(pool)
    assert "about 6 h 36 min left" in text.getvalue()


def test_a_runs_bar_says_epoch_and_error_in_80_columns(monkeypatch):
    text = io.StringIO()
    console = Console(
        file=text, width=80, force_terminal=True, color_system=None, soft_wrap=True, highlight=False
    )
    monkeypatch.setattr(runs, "Console", lambda **settings: console)
    progress = runs.RunProgress(f"outputs/runs/{PLACE}/{LONG}/seed1000", 150, 40, 10)

    def line():
        text.seek(0)
        text.truncate()
        console.print(progress._bar.get_renderable())
        (shown,) = text.getvalue().splitlines()
        return shown.rstrip()

    assert "/seed1000 epoch 11/150 " in line()
    progress.step_done(40)  # the last one of the epoch, which is not over
    assert "/seed1000 epoch 11/150 " in line()
    metrics = {"epoch": 11, "train_loss": 1, "train_error": 2, "learning_rate": 1, "seconds": 1}
    progress.epoch_done({**metrics, "validation_loss": 2, "validation_error": 44.125})
    progress.step_done(1)
    assert "/seed1000 epoch 12/150 44.12 %" in line()
    assert len(line()) <= 80
    progress.epoch_done({**metrics, "epoch": 12})  # not evaluated: the last error stays
    assert "44.12 %" in line()
