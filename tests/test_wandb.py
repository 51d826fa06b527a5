"""What wandb is told: names, the user's variables, and all epochs of a run that went on."""

import errno
import os
from types import SimpleNamespace

import pytest

from gnp.settings import WandbSettings
from gnp.tracking import WandbMirror
from gnp.tracking.wandb_names import remove_offline, wandb_id

IDENTITY = "e/d-basic/gnp/seed0"
IDENTITY_ID = wandb_id(IDENTITY)
LINES = [{"epoch": epoch, "test_error": 10.0 - epoch} for epoch in (1, 2, 3)]


class Run:
    def __init__(self, step=0):
        self.step, self.logged, self.summary, self.defined = step, [], {}, {}

    def define_metric(self, name, step_metric=None):
        self.defined[name] = step_metric

    def log(self, metrics, step):
        self.logged.append((step, metrics["epoch"]))

    def finish(self, exit_code):
        self.exit_code = exit_code


@pytest.fixture
def told(monkeypatch):
    """told(settings, step=…) → (what wandb.init was told, the run): nothing of wandb's starts."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)

    def start(settings=None, identity=IDENTITY, recorded=(), step=0):
        calls, run = [], Run(step)
        monkeypatch.setattr(wandb, "init", lambda **given: calls.append(given) or run)
        WandbMirror(settings or WandbSettings(), "folder", identity, {}, recorded)
        return SimpleNamespace(**calls[0]) if calls else None, run

    return start


def test_by_default_it_is_offline_in_the_runs_folder(told):
    given, _ = told()
    assert (given.mode, given.dir, given.project) == ("offline", "folder", "gnp")
    assert (given.name, given.group, given.tags) == (IDENTITY, "e/d-basic/gnp", [])


@pytest.mark.parametrize(
    ("variable", "argument"),
    [
        ("WANDB_PROJECT", "project"),
        ("WANDB_DIR", "dir"),
        ("WANDB_TAGS", "tags"),
        ("WANDB_RUN_GROUP", "group"),
        ("WANDB_NAME", "name"),
        ("WANDB_RUN_ID", "id"),
    ],
)
def test_the_users_variables_decide_what_is_not_set(told, monkeypatch, variable, argument):
    assert getattr(told()[0], argument) is not None
    monkeypatch.setenv(variable, "theirs")
    assert getattr(told()[0], argument) is None  # wandb then reads the variable


@pytest.mark.parametrize(
    ("value", "mode"),
    [("online", "online"), ("offline", "offline"), ("dryrun", "offline"), ("run", "online")],
)
def test_the_users_variable_decides_the_mode(told, monkeypatch, value, mode):
    monkeypatch.setenv("WANDB_MODE", value)
    assert told()[0].mode == mode


def test_wandb_can_be_switched_off_by_its_variable(told, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert told()[0] is None


def test_what_is_set_here_wins_over_the_users_variables(told, monkeypatch):
    for name in ("MODE", "PROJECT", "TAGS", "ENTITY", "RUN_GROUP", "NOTES"):
        monkeypatch.setenv(f"WANDB_{name}", "disabled")
    settings = {"project": "mine", "entity": "me", "group": "ours", "notes": "n", "tags": ["t"]}
    given, _ = told(WandbSettings(mode="online", **settings))
    assert given.mode == "online"
    assert {name: getattr(given, name) for name in settings} == settings


def test_under_an_agent_the_run_is_the_agents(told, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "theirs")
    given, _ = told()
    assert (given.mode, given.id, given.project) == ("online", None, None)


@pytest.mark.parametrize("method", [*",:'?#/;\\% é~\n\"", "a" * 300, "λ = α·r", "...", " x ", "-"])
def test_an_identity_of_any_characters_has_an_id_name_and_group_that_wandb_takes(told, method):
    import wandb

    given, _ = told(identity=f"e/d/{method}/seed0")
    settings = wandb.Settings(run_id=given.id, run_name=given.name, run_group=given.group)
    assert settings.run_id.isascii()
    assert len(given.id) <= 64
    assert max(len(given.name), len(given.group)) <= 128
    assert "seed0" in given.id


def test_no_two_identities_have_one_id():
    methods = ["a-b", "a/b", "a,b", "a b", "a--b", "A-b", "é", "è", "x" * 200, "x" * 201]
    assert len({wandb_id(f"e/d/{method}/seed0").lower() for method in methods}) == len(methods)
    assert wandb_id(IDENTITY) == wandb_id(IDENTITY)


def test_tags_are_cut_to_what_wandb_takes(told):
    import wandb

    wandb.Settings(run_tags=told(WandbSettings(tags=["", "t" * 65]))[0].tags)


def test_everything_is_drawn_over_the_epoch(told):
    assert told()[1].defined == {"epoch": None, "*": "epoch"}


def test_what_went_on_offline_takes_the_place_of_what_it_was(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_DIR", raising=False)
    ours, longer, online = (
        f"offline-run-20260102_030405-{IDENTITY_ID}",
        f"offline-run-20260102_030405-x-{IDENTITY_ID}",
        f"run-20260102_030405-{IDENTITY_ID}",
    )
    for name in (ours, longer, online):
        (tmp_path / "wandb" / name / "files").mkdir(parents=True)
    remove_offline(tmp_path, IDENTITY_ID)
    assert {folder.name for folder in (tmp_path / "wandb").iterdir()} == {longer, online}
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    (tmp_path / "wandb" / ours).mkdir()
    remove_offline("", IDENTITY_ID)
    assert not (tmp_path / "wandb" / ours).exists()


def test_a_run_that_went_on_has_all_its_epochs_offline(told):
    _, run = told(recorded=LINES)
    assert run.logged == [(1, 1), (2, 2), (3, 3)]


def test_what_the_server_has_is_not_sent_again(told):
    _, run = told(recorded=LINES, step=3)
    assert run.logged == [(3, 3)]


def test_a_run_hands_its_recorded_epochs_to_wandb(tiny, tmp_path, monkeypatch):
    import wandb

    from gnp.training.run import folder_of, run

    runs = []
    places = []
    monkeypatch.setattr(
        wandb, "init", lambda **given: places.append(given["dir"]) or runs.append(Run()) or runs[-1]
    )
    config = tiny("training.epochs=2", f"root={tmp_path}", "wandb.mode=offline")
    run(config)
    (folder_of(config) / "summary.json").unlink()  # as if stopped before its end
    summary = run(config)
    assert [r.logged for r in runs] == [[(1, 1), (2, 2)]] * 2
    assert places == [str(tmp_path)] * 2
    assert runs[1].exit_code == 0
    seen = runs[1].summary
    assert summary["final"].items() <= seen.items()
    assert seen["best_epoch"] == summary["best"]["epoch"]
    assert seen["best_test_error"] == summary["best"]["test_error"]
    assert seen["parameters"] == summary["parameters"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), ImportError("broken"), KeyError()]
)
def test_a_wandb_that_fails_in_the_replay_costs_one_warning(told, monkeypatch, caplog, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(Run, "log", broken)
    told(recorded=LINES)
    assert len(caplog.records) == 1
