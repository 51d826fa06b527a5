import csv
import io

from records import spec, write_record

from gnp.tables.listing import list_runs, to_csv


def test_runs_are_listed_with_the_settings_in_which_they_differ(tmp_path):
    for run in spec(seeds=[0]).runs():
        method = run.cell.method.optimizer
        write_record(
            tmp_path,
            run,
            [9.0 if method == "sgd" else 7.0],
            optimizer={"r": 0.0 if method == "sgd" else 0.1, "lr": 0.1},
            runtime={"threads": 1 if method == "sgd" else 2},
        )
    runs = list_runs(tmp_path)
    assert [run["error"] for run in runs] == [7.0, 7.0, 9.0, 9.0]
    assert runs[0]["optimizer.r"] == 0.1
    assert not {"optimizer.lr", "runtime.threads"} & runs[0].keys()
    assert next(csv.DictReader(io.StringIO(to_csv(runs))))["method"] == "gnp"


def test_nothing_finished_is_an_empty_list(tmp_path):
    assert list_runs(tmp_path) == []
