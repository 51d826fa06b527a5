"""Simulated tables whose truth is known: how often intervals hold it, and verdicts are wrong.

A run's error is drawn as it comes about: an image is wrong where its difficulty, what the method
makes of it, the seed's luck and the rest together exceed a threshold.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from gnp.statistics import Statistic
from gnp.statistics.agreement import DIFFERENT, Agreement
from gnp.statistics.improvement import Improvement
from gnp.statistics.intervals import Differences, interval_for_new_images
from gnp.statistics.sequential import FixedSeeds, Sequential
from gnp.statistics.verdict import verdicts

TABLES = 2000
# 2,000 tables know a coverage of 95 % to ± 1 % (two standard deviations).
MARGIN = 2 * math.sqrt(0.05 * 0.95 / TABLES)


def holds(interval, truth):
    """No interval, where two errors are the same by their rounding, leaves nothing out."""
    return interval is None or interval.low <= truth <= interval.high


def run_errors(generator, seeds, gap=0.0, alike=0.3):
    """Errors (%) of A and B, (tables, seeds) each, of 10,000 images; B's mean is ``gap`` higher."""
    shared = generator.standard_normal((TABLES, seeds)) * math.sqrt(alike)
    a, b = (
        20 + mean + 0.5 * (shared + math.sqrt(1 - alike) * generator.standard_normal(shared.shape))
        for mean in (0, gap)
    )
    return a.round(2), b.round(2)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_intervals_over_seeds_hold_the_truth_in_95_of_100_tables(seeds):
    a, b = run_errors(np.random.default_rng(seeds), seeds, gap=0.7)
    found = [holds(Differences.of(*pair).interval(), -0.7) for pair in zip(a, b, strict=True)]
    assert 0.93 <= np.mean(found) <= 0.97


def images(generator, tables, seeds, m, luck, own, rest):
    """Whether A and B are right, (tables, seeds, images) each: the variances of the seed's luck,
    the method's own view of an image and the rest are the squares of those numbers, the image's
    difficulty for both has what is left of 1. A is wrong in 32 %, B in 28."""
    difficulty = math.sqrt(1 - luck**2 - own**2 - rest**2) * generator.standard_normal(
        (tables, 1, m), dtype=np.float32
    )
    for error in (0.32, 0.28):
        latent = difficulty + own * generator.standard_normal((tables, 1, m), dtype=np.float32)
        latent = latent + luck * generator.standard_normal((tables, seeds, 1), dtype=np.float32)
        latent += rest * generator.standard_normal((tables, seeds, m), dtype=np.float32)
        yield latent > stats.norm.ppf(error)


def coverage_for_new_images(seeds, m, **variances):
    generator = np.random.default_rng(seeds)
    found = []
    for _ in range(4):  # a quarter at a time, for the memory
        for pair in zip(*images(generator, TABLES // 4, seeds, m, **variances), strict=True):
            found.append(holds(interval_for_new_images(*pair), 4.0))
    return np.mean(found)


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize(
    ("luck", "own", "rest"),
    [(0.02, 0.1, 0.5), (0.1, 0.1, 0.5), (0.1, 0.3, 0.3), (0.0, 0.0, 0.6), (0.3, 0.0, 0.3)],
)
def test_intervals_for_new_images_hold_the_truth_in_95_of_100_tables(seeds, luck, own, rest):
    """Whether the seeds or the images are what varies."""
    assert 0.93 <= coverage_for_new_images(seeds, 200, luck=luck, own=own, rest=rest) <= 0.97


@pytest.mark.parametrize(("seeds", "most"), [(2, 0.988), (3, 0.977), (5, 0.966)])
def test_with_few_seeds_intervals_for_new_images_are_rather_too_wide(seeds, most):
    """What they are at worst, as their docstring has it: the images have half of the variance."""
    coverage = coverage_for_new_images(seeds, 200, luck=0.02, own=0.4, rest=0.5)
    assert 0.95 - MARGIN <= coverage <= most + MARGIN


@pytest.mark.parametrize(("seeds", "most"), [(5, 0.966), (3, 0.977), (2, 0.988)])
def test_the_worst_coverage_for_new_images_is_what_the_docstring_says(seeds, most):
    """By numbers, whatever part the images have, if that part is known."""
    t, z = stats.t.ppf(0.975, seeds - 1), stats.norm.ppf(0.975)
    chi2 = stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, seeds - 1) / (seeds - 1)
    covered = [
        np.mean(2 * stats.norm.cdf(np.sqrt(t**2 * part * chi2 + z**2 * (1 - part))) - 1)
        for part in np.linspace(0, 1, 41)
    ]
    assert min(covered) >= 0.9499
    assert max(covered) == pytest.approx(most, abs=1e-3)


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize("probability", [0.5, 0.76, 0.92])
def test_intervals_of_the_probability_of_improvement_hold_it(seeds, probability):
    gap = 0.5 * math.sqrt(2) * stats.norm.ppf(probability)
    a, b = run_errors(np.random.default_rng(seeds), seeds, gap, alike=0)
    known = {}  # runs matter by their ranks alone: few intervals are many tables'
    found = []
    for pair in zip(a, b, strict=True):
        improvement = Improvement.of(*map(list, pair))
        interval = known.setdefault(improvement.probability, improvement.interval)
        found.append(holds(interval, probability))
    assert 0.93 <= np.mean(found) <= 0.97 + MARGIN


@pytest.mark.parametrize("alike", [0, 0.5])
@pytest.mark.parametrize("seeds", [3, 4])
def test_with_few_seeds_or_like_ones_the_probability_of_improvement_is_held_more_often(
    seeds, alike
):
    gap = 0.5 * math.sqrt(2) * stats.norm.ppf(0.76)
    a, b = run_errors(np.random.default_rng(seeds), seeds, gap, alike)
    pairs = zip(a, b, strict=True)
    held = [holds(Improvement.of(*map(list, pair)).interval, 0.76) for pair in pairs]
    assert np.mean(held) >= 0.95


@pytest.mark.parametrize("seeds", [3, 10])
def test_a_table_without_differences_has_a_verdict_in_at_most_5_of_100(seeds):
    """Three methods of seven rows, all alike: the 21 comparisons hang together in each row."""
    errors = np.random.default_rng(seeds).normal(20, 0.5, (TABLES, 7, 3, seeds)).round(2)
    wrong = 0
    for table in errors:
        comparisons = [
            Differences.of(row[a], row[b]) for row in table for a, b in ((1, 0), (2, 0), (2, 1))
        ]
        # what is decided in a table is its smallest p, times their number
        if min(d.p for d in comparisons) * len(comparisons) <= 0.05:
            assert any(v.decided for v in verdicts(comparisons, FixedSeeds()))
            wrong += 1
    assert wrong / TABLES <= 0.05 + MARGIN


def test_among_true_differences_no_more_false_verdicts():
    """Where half of the rows differ, strongly, the others' false verdicts stay below 5 %: the
    step-down gives them a larger level each, and takes it from nobody."""
    generator = np.random.default_rng(0)
    errors = generator.normal(0, 0.5, (TABLES, 8, 5))
    errors[:, :4] -= 6
    tables = [[Differences(tuple(d)) for d in table] for table in errors]
    given = [verdicts(table, FixedSeeds()) for table in tables]
    assert np.mean([v.decided for table in given for v in table[:4]]) > 0.97
    wrong = np.mean([any(v.decided for v in table[4:]) for table in given])
    assert 0.05 - 2 * MARGIN <= wrong <= 0.05 + MARGIN


@pytest.mark.parametrize("published_runs", [3, 5])
def test_an_equal_published_mean_is_called_different_in_at_most_5_of_100(published_runs):
    generator = np.random.default_rng(published_runs)
    for ours in (3, 5):
        wrong = 0
        for _ in range(TABLES):
            own = Statistic.of(list(generator.normal(5, 0.1, ours)))
            theirs = Statistic.of(list(generator.normal(5, 0.1, published_runs)))
            wrong += Agreement.of(own, theirs.mean, theirs.std).statement == DIFFERENT
        assert wrong / TABLES <= 0.05 + MARGIN


DRAWS = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "uniform": lambda generator, shape: generator.uniform(-1, 1, shape),
    "heavy tails": lambda generator, shape: generator.standard_t(4, shape),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_looking_after_each_seed_is_wrong_in_at_most_5_of_100(kind):
    """Every look at every number of seeds from 5 to 30, in tables without a difference."""
    rule = Sequential(5, 30)
    values = DRAWS[kind](np.random.default_rng(99), (TABLES, 30))
    # as p never grows, the last look is as small as the smallest of all
    wrong = [rule.p(Differences(tuple(table))) <= 0.05 for table in values]
    # c is of normal differences; flat ones are the worst of symmetric shapes
    assert np.mean(wrong) <= (0.058 if kind == "uniform" else 0.05) + MARGIN
    if kind == "normal":  # and no more cautious than that
        assert np.mean(wrong) >= 0.05 - MARGIN
    for table in values[:20]:
        p = [rule.p(Differences(tuple(table[:n]))) for n in range(4, 31)]
        assert all(later <= earlier for earlier, later in pairwise(p))


def test_the_fixed_test_would_be_wrong_far_more_often_if_one_looked():
    """…which is why a table whose seeds were added until decided takes the other rule."""
    values = np.random.default_rng(99).standard_normal((TABLES, 30))
    n = np.arange(5, 31)
    sums, squares = values.cumsum(1)[:, 4:], (values**2).cumsum(1)[:, 4:]
    t = sums / n / np.sqrt((squares - sums**2 / n) / (n - 1) / n)
    wrong = (2 * stats.t.sf(abs(t), n - 1) <= 0.05).any(1)
    assert wrong.mean() > 0.15


def test_its_power_is_near_that_of_30_seeds_and_it_takes_fewer():
    """A difference of 0.6 standard deviations (0.3 points where the spread is 0.5)."""
    rule = Sequential(5, 30)
    values = np.random.default_rng(7).standard_normal((500, 30)) + 0.6
    fixed = np.mean([Differences(tuple(table)).p <= 0.05 for table in values])
    decided, seeds = [], []
    for table in values:
        found = rule.p(Differences(tuple(table))) <= 0.05
        decided.append(found)
        low, high = 4, 30  # the first look that decides, as p never grows
        while found and high - low > 1:
            middle = (low + high) // 2
            if rule.p(Differences(tuple(table[:middle]))) <= 0.05:
                high = middle
            else:
                low = middle
        seeds.append(high)
    assert np.mean(decided) > 0.82
    assert fixed - np.mean(decided) < 0.05
    assert np.mean(seeds) < 22.5


def test_a_table_may_add_seeds_where_it_is_undecided_and_is_wrong_in_at_most_5_of_100():
    """Three comparisons, of which one differs. Each gets seeds until it is decided; what is decided
    stays so."""
    rule = Sequential(5, 15)
    values = np.random.default_rng(11).standard_normal((400, 3, 15))
    values[:, 0] += 3
    wrong = decided = 0
    for table in values:
        seeds = [5, 5, 5]
        stays: set[int] = set()
        while True:
            seen = [Differences(tuple(d[:n])) for d, n in zip(table, seeds, strict=True)]
            now = {i for i, verdict in enumerate(verdicts(seen, rule)) if verdict.decided}
            assert now >= stays
            stays = now
            more = [i for i in range(3) if i not in now and seeds[i] < 15]
            if not more:
                break
            for i in more:
                seeds[i] += 1
        decided += 0 in stays
        wrong += bool(stays - {0})
    assert decided / 400 > 0.97
    assert wrong / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_repeated_intervals_hold_the_truth_at_all_looks_together():
    rule = Sequential(5, 12)
    values = np.random.default_rng(3).normal(0.7, 0.5, (TABLES, 12))
    held = [
        all(holds(rule.interval(Differences(tuple(table[:n]))), 0.7) for n in range(5, 13))
        for table in values
    ]
    assert 0.95 - MARGIN <= np.mean(held) <= 0.95 + MARGIN
