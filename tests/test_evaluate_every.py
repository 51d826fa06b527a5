"""``training.evaluate_every``: which epochs are evaluated, and how their records are read."""

import pytest
import torch
from records import spec, write_record

from gnp.jobs.progress import epochs_of
from gnp.settings import is_evaluated
from gnp.tables import collect
from gnp.tables.plots import lines_of
from gnp.tracking.reading import DamagedRecord, read_finished, read_metrics, read_summary
from gnp.training import run as run_module
from gnp.training.checkpoint import read_checkpoint
from gnp.training.failure import TrainingFailed
from gnp.training.run import folder_of, run

EVERY_2 = {"training": {"epochs": 5, "evaluate_every": 2}}


@pytest.mark.parametrize(
    ("every", "epochs"),
    [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (7, [5]), (0, [5])],
)
def test_the_epochs_that_are_evaluated_and_always_the_last(every, epochs):
    assert [e for e in range(1, 6) if is_evaluated(e, 5, every)] == epochs


def test_only_those_epochs_have_numbers_and_the_training_is_the_same(tiny, tmp_path, capsys):
    def trained(every):
        place = f"root={tmp_path / str(every)}"
        config = tiny(f"training.evaluate_every={every}", "optimizer=gnp", place)
        run(config)
        folder = folder_of(config)
        weights = read_checkpoint(folder / "checkpoint.pt")["model"]
        return read_metrics(folder), read_summary(folder), weights

    lines, summary, weights = trained(1)
    capsys.readouterr()
    for every, evaluated in ((2, [2, 3]), (0, [3])):
        fewer, fewer_summary, same_weights = trained(every)
        assert [e["epoch"] for e in fewer if "test_error" in e] == evaluated
        assert [e["epoch"] for e in fewer if "test_loss" in e] == evaluated
        names = ("train_loss", "train_error", "learning_rate")
        assert [[e[k] for k in names] for e in fewer] == [[e[k] for k in names] for e in lines]
        assert fewer_summary["final"] == summary["final"]
        assert fewer_summary["best"]["epoch"] in evaluated
        assert all(torch.equal(t, same_weights[name]) for name, t in weights.items())
        printed = [t for t in capsys.readouterr().out.splitlines() if t.startswith("epoch")]
        shown = [int(t.split()[1].split("/")[0]) for t in printed if "test loss" in t]
        assert shown == evaluated
        assert len(printed) == 3


def test_weights_that_broke_after_an_epoch_without_evaluation_become_no_record(
    tiny, tmp_path, monkeypatch
):
    def breaks_a_weight(model, *arguments, real=run_module.train_epoch, **more):
        seen = real(model, *arguments, **more)
        next(model.parameters()).data[0, 0, 0, 0] = float("inf")
        return seen

    monkeypatch.setattr(run_module, "train_epoch", breaks_a_weight)
    config = tiny("training.evaluate_every=0", f"root={tmp_path}")
    with pytest.raises(TrainingFailed, match="epoch 1: the weights after it are NaN or infinite"):
        run(config)
    assert not (folder_of(config) / "checkpoint.pt").exists()


def test_a_record_with_an_epoch_evaluated_otherwise_is_damaged(tmp_path):
    first = next(spec(seeds=[0]).runs())
    folder = write_record(tmp_path, first, [None, 6.0, None, 4.0, 5.0], **EVERY_2)
    record = read_finished(folder)
    assert record.summary["best"] == {"epoch": 4, "test_error": 4.0}
    for errors, reason in (
        ([7.0, 6.0, None, 4.0, 5.0], "line 1 has a test_error"),
        ([None, None, None, 4.0, 5.0], "line 2 has no test_error"),
    ):
        write_record(tmp_path, first, errors, **EVERY_2)
        with pytest.raises(DamagedRecord, match=reason):
            read_finished(folder)
    training = {"epochs": 2, "evaluate_every": "often"}
    write_record(tmp_path, first, [6.0, 5.0], training=training)
    with pytest.raises(DamagedRecord, match="evaluate_every is 'often'"):
        read_finished(folder)


def test_curves_and_the_pool_show_the_epochs_that_were_evaluated(tmp_path):
    table = spec(seeds=[0, 1])
    for job in table.runs():
        write_record(tmp_path, job, [None, 6.0, None, 4.0, 5.0], **EVERY_2)
    result = next(iter(collect(table, tmp_path).cells.values()))
    lines = list(lines_of(result, "black"))
    assert [line.epochs for line in lines] == [[2, 4, 5], [1, 2, 3, 4, 5]]
    assert lines[0].mean == [6.0, 4.0, 5.0]

    folder = next(table.runs()).folder(tmp_path)
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:3]))
    child = type("Child", (), {"log": folder / "log.txt"})
    assert epochs_of(child) == (3, 5, 6.0)
