"""The code that a record names is this project's."""

import subprocess

import pytest

from gnp.tracking import environment
from gnp.tracking.environment import describe_environment


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def installed(folder, monkeypatch):
    """Makes ``folder`` look like the place of this code."""
    (folder / "gnp").mkdir(parents=True)
    (folder / "gnp/__init__.py").write_text("")
    monkeypatch.setattr(environment, "CODE", folder)


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".venv\nignored\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "theirs")
    return tmp_path


def commit_and_modified():
    code = describe_environment("cpu")["code"]
    assert len(code["hash"]) == 16
    return code["commit"], code["modified"]


def test_the_commit_of_our_own_checkout_is_recorded(repository, monkeypatch):
    installed(repository, monkeypatch)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "ours")
    commit = git(repository, "rev-parse", "HEAD")
    assert commit_and_modified() == (commit, False)
    (repository / "gnp/__init__.py").write_text("changed")
    assert commit_and_modified() == (commit, True)


@pytest.mark.parametrize("place", [".venv/lib/site-packages", "vendored/gnp"])
def test_the_commit_of_a_repository_around_us_is_not(repository, monkeypatch, place):
    installed(repository / place, monkeypatch)
    assert commit_and_modified() == (None, None)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "theirs and ours", "--allow-empty")
    assert commit_and_modified() == (None, None)


def test_the_commit_of_a_repository_that_ignores_us_is_not(repository, monkeypatch):
    installed(repository, monkeypatch)
    (repository / ".gitignore").write_text("gnp\n")
    git(repository, "commit", "-qam", "theirs")
    assert commit_and_modified() == (None, None)


def test_the_commit_of_the_repository_whose_hook_starts_us_is_not(
    repository, tmp_path_factory, monkeypatch
):
    installed(tmp_path_factory.mktemp("elsewhere"), monkeypatch)
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert commit_and_modified() == (None, None)


def test_without_git_there_is_no_commit(repository, monkeypatch):
    installed(repository, monkeypatch)
    monkeypatch.setenv("PATH", str(repository))
    assert commit_and_modified() == (None, None)
