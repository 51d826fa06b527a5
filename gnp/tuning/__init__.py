"""Tuning: for each method equally many settings, tried on held-out training images.

``trials`` says which runs there are, ``collect`` reads their records and chooses, ``rounds`` gives
the best more seeds, ``text``, ``plots``, ``recipe`` and ``outputs`` show it. Needs no torch.
"""

from gnp.settings.tuning import TuningError
from gnp.tuning.collect import TrialResult, TuningResult, collect
from gnp.tuning.outputs import render, write_outputs
from gnp.tuning.rounds import second_round_in_words, wanted_after, wanted_now
from gnp.tuning.trials import Run, Trial, TuningSpec

__all__ = [
    "Run",
    "Trial",
    "TrialResult",
    "TuningError",
    "TuningResult",
    "TuningSpec",
    "collect",
    "render",
    "second_round_in_words",
    "wanted_after",
    "wanted_now",
    "write_outputs",
]
