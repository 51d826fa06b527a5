"""Signals end work where it can be left."""

import os
import signal

import pytest
import torch

from gnp.interruptions import held_back
from gnp.training.checkpoint import read_checkpoint
from gnp.training.run import folder_of, run


@pytest.fixture(autouse=True)
def _sigterm_raises():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_a_point_where_it_may_pass(number):
    reached = []
    with pytest.raises(KeyboardInterrupt), held_back() as let_signals_through:
        let_signals_through()
        os.kill(os.getpid(), number)
        reached.append("after the signal")
        let_signals_through()
        reached.append("after the point")
    assert reached == ["after the signal"]


def test_a_signal_in_the_last_part_is_not_lost():
    with pytest.raises(KeyboardInterrupt), held_back():
        os.kill(os.getpid(), signal.SIGINT)


def test_the_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), held_back():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on")


def test_the_handlers_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with held_back():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with held_back():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_inside_a_save_leaves_a_whole_checkpoint(tiny, tmp_path, monkeypatch):
    config, real = tiny(f"root={tmp_path}"), torch.save

    class Interrupting:
        """Ctrl-C at the first byte that torch writes."""

        def __init__(self, file):
            self.file = file

        def write(self, content):
            monkeypatch.setattr(torch, "save", real)
            if not getattr(self, "sent", False):
                self.sent = True
                os.kill(os.getpid(), signal.SIGINT)
            return self.file.write(content)

        def flush(self):
            self.file.flush()

    monkeypatch.setattr(torch, "save", lambda state, file: real(state, Interrupting(file)))
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert read_checkpoint(folder_of(config) / "checkpoint.pt")["epoch"] == 1
