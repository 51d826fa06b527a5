"""Precision × batch handling × base × processes, each against the formula in float64.

{fp64, fp32, bf16, fp16 with a scaler} × {plain, accumulation, m-sharpness} × {SGD, AdamW} × {one
process, DDP with a climb for each process, DDP with one for all}.
"""

import pytest
import torch
from matrix import (
    BASES,
    BATCHES,
    PROCESSES,
    WORLD,
    combinations,
    expected,
    network,
    other_climbs,
    trained,
    worker_results,
)
from processes import run_in_processes

# Of the distance that the weights go in three steps; bf16 has 8 bits, fp16 11.
TOLERANCE = {"fp64": 1e-12, "fp32": 1e-5, "fp16": 2e-3, "bf16": 8e-3}
WITHOUT = {
    "r": {"r": 0.0},
    "alpha": {"alpha": 1.0},
    "l2": {"l2": 0.0},
    "max_grad_norm": {"max_grad_norm": None},
    "normalize_reference": {"normalize_reference": False},
}


def distance(left, right):
    return sum(((a - b) ** 2).sum() for a, b in zip(left, right, strict=True)).sqrt().item()


def way(combination):
    start = network(*combination[4:])
    return distance(expected(*combination[1:]), [p.detach() for p in start.parameters()])


def assert_as_expected(combination, weights):
    error = distance(weights, expected(*combination[1:])) / way(combination)
    assert error < TOLERANCE[combination[0]], combination


@pytest.mark.parametrize(
    "combination", [*combinations(["single"]), *other_climbs(["single"])], ids="-".join
)
def test_one_process(combination):
    assert_as_expected(combination, trained(*combination))


@pytest.fixture(scope="module")
def of_ranks():
    return run_in_processes(worker_results, WORLD)


@pytest.mark.slow
@pytest.mark.parametrize(
    "combination",
    [*combinations(["local", "synced"]), *other_climbs(["local", "synced"])],
    ids="-".join,
)
def test_two_processes(of_ranks, combination):
    first, second = (results[combination] for results in of_ranks)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert_as_expected(combination, first)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["local", "synced"])
def test_gradients_that_are_views_of_ddps_buckets(of_ranks, processes):
    key = ("fp64", "m_sharpness", "sgd", processes)
    assert_as_expected(key, of_ranks[0][(*key, "bucket_views")])


@pytest.mark.parametrize("ingredient", WITHOUT)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("batch", BATCHES)
def test_without_an_ingredient_the_reference_is_another(ingredient, base, processes, batch):
    """So a step that forgets it fails the tests above, in every precision."""
    combination = ("bf16", batch, base, processes)
    error = distance(
        expected(*combination[1:], **WITHOUT[ingredient]), expected(*combination[1:])
    ) / way(combination)
    assert error > 1.5 * TOLERANCE["bf16"]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("climb", ["norms", "momentum", "chance"])
def test_the_other_climbs_are_other_steps(climb, base):
    """Each from the one that forgets it."""
    combination = ("plain", base, "single", climb)
    without = {
        "norms": {"climb_only_norms": False},
        "momentum": {"r": 0.0},
        "chance": {"r": 0.0},
    }[climb]
    scale = way(("fp16", *combination))
    assert distance(expected(*combination, **without), expected(*combination)) / scale > 5e-3


@pytest.mark.parametrize("base", BASES)
def test_who_climbs_together_matters(base):
    """Local and synchronous climbs, pieces and whole batches are different steps."""
    results = [
        expected(batch, base, processes)
        for batch, processes in [
            ("plain", "single"),
            ("m_sharpness", "single"),
            ("m_sharpness", "local"),
            ("m_sharpness", "synced"),
        ]
    ]
    scale = way(("fp64", "plain", base, "single"))
    for i, a in enumerate(results):
        for b in results[:i]:
            assert distance(a, b) / scale > 1e-3
    assert distance(expected("plain", base, "local"), results[1]) == 0  # two halves, two processes
    assert distance(expected("plain", base, "synced"), results[0]) < 1e-12
