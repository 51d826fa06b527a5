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
    runs, complaints = list_runs(tmp_path)
    assert complaints == []
    assert [run["error"] for run in runs] == [7.0, 7.0, 9.0, 9.0]
    assert runs[0]["optimizer.r"] == 0.1
    assert not {"optimizer.lr", "runtime.threads"} & runs[0].keys()
    assert next(csv.DictReader(io.StringIO(to_csv(runs))))["method"] == "gnp"


def test_a_record_that_does_not_name_a_setting_has_its_default(tmp_path):
    first, second = list(spec(seeds=[0]).runs())[:2]
    write_record(tmp_path, first, [9.0])
    write_record(tmp_path, second, [7.0], optimizer={"adaptive": False})
    assert "optimizer.adaptive" in list_runs(tmp_path)[0][0]
    runs, _ = list_runs(tmp_path, {"optimizer": {"adaptive": False}})
    assert "optimizer.adaptive" not in runs[0]


def test_nothing_finished_is_an_empty_list(tmp_path):
    assert list_runs(tmp_path) == ([], [])
