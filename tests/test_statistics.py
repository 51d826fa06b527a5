"""Differences, intervals and verdicts, against scipy's own functions and by hand."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from gnp.statistics import Statistic
from gnp.statistics.agreement import Agreement
from gnp.statistics.calibration import calibration_error
from gnp.statistics.improvement import Improvement
from gnp.statistics.intervals import (
    Differences,
    Interval,
    informative,
    interval_for_new_images,
)
from gnp.statistics.power import POWER, power, seeds_needed, smallest_gap
from gnp.statistics.sequential import FixedSeeds, Sequential
from gnp.statistics.verdict import ABOVE, BELOW, UNDECIDED, holm, verdicts

FIXED = FixedSeeds()
# Errors in % of 10,000 images.
errors = st.integers(0, 10_000).map(lambda wrong: 100 * wrong / 10_000)
pairs = st.lists(st.tuples(errors, errors), min_size=2, max_size=12)


def swapped(interval):
    return None if interval is None else pytest.approx((-interval.high, -interval.low))


def test_a_hand_computed_difference():
    """−1, −2, −3: mean −2, standard deviation 1, standard error 1/√3; with two degrees of freedom
    t = −2√3 has p = 1 − |t|/√(2 + t²), and the quantile 0.975 is 4.302653."""
    d = Differences.of([21.0, 20.0, 19.0], [22.0, 22.0, 22.0])
    assert (d.n, d.mean, d.std) == (3, -2, 1)
    assert d.p == pytest.approx(1 - math.sqrt(12 / 14))
    half = 4.302652729696142 / math.sqrt(3)
    assert d.interval() == pytest.approx((-2 - half, -2 + half))


@given(pairs)
def test_paired_differences_are_scipys_t_test(runs):
    a, b = zip(*runs, strict=True)
    d = Differences.of(a, b)
    if np.ptp(d.values) < 1e-9:
        assert d.p == 1
        assert d.interval() is None
        return
    reference = stats.ttest_rel(a, b)
    assert d.p == pytest.approx(reference.pvalue, rel=1e-6)
    interval = reference.confidence_interval(0.95)
    assert d.interval() == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@given(pairs, st.randoms(use_true_random=False))
def test_swapping_methods_turns_signs_and_the_order_of_seeds_is_nothing(runs, random):
    a, b = zip(*runs, strict=True)
    d, turned = Differences.of(a, b), Differences.of(b, a)
    assert turned.mean == pytest.approx(-d.mean)
    assert turned.p == pytest.approx(d.p)
    assert turned.interval() == swapped(d.interval())
    (verdict,), (other) = verdicts([d], FIXED), verdicts([turned], FIXED)[0]
    opposite = {BELOW: ABOVE, ABOVE: BELOW, UNDECIDED: UNDECIDED}
    assert other.decision == opposite[verdict.decision]
    better, worse = Improvement.of(a, b), Improvement.of(b, a)
    assert worse.probability == pytest.approx(1 - better.probability)
    assert worse.interval.low == pytest.approx(1 - better.interval.high, abs=1e-6)
    random.shuffle(runs)
    a, b = zip(*runs, strict=True)
    assert Differences.of(a, b).p == pytest.approx(d.p)
    assert Improvement.of(a, b) == better


@given(st.integers(2, 5), st.integers(2, 20), st.integers(0, 1000))
@example(3, 3, 797)  # images vary as much as their rest, but for rounding: no spread in any order
def test_for_new_images_too_swap_and_order_change_signs_and_nothing(n, m, seed):
    generator = np.random.default_rng(seed)
    a, b = generator.random((2, n, m)) < 0.7
    interval = interval_for_new_images(a, b)
    assert interval_for_new_images(b, a) == swapped(interval)
    seeds, images = generator.permutation(n), generator.permutation(m)
    other = interval_for_new_images(a[seeds][:, images], b[seeds][:, images])
    assert (other is None) == (interval is None)
    if interval is not None:
        assert other == pytest.approx(interval, abs=1e-6)


def test_the_interval_for_new_images_is_never_narrower_than_that_for_these():
    generator = np.random.default_rng(0)
    for n in (2, 3, 5, 20):
        a, b = generator.random((2, n, 50)) < generator.random(50)
        wide = interval_for_new_images(a, b)
        narrow = Differences.of(100 * (~a).mean(1), 100 * (~b).mean(1)).interval()
        assert wide.low <= narrow.low + 1e-6
        assert wide.high >= narrow.high - 1e-6


def test_an_interval_for_new_images_by_hand():
    """A is wrong (1 0 0 1), (1 0 0 0), B never: in points, the seeds' means are 50 and 25, the
    images' 100, 0, 0, 50, the rest ±12.5 at three images and ±37.5 at the last, its variance
    (6·12.5² + 2·37.5²)/3."""
    wrong = np.array([[1, 0, 0, 1], [1, 0, 0, 0]], bool)
    seeds_part = 2 * 12.5**2 / 2
    rest = (6 * 12.5**2 + 2 * 37.5**2) / 3
    images_part = (np.var([100, 0, 0, 50], ddof=1) - rest / 2) / 4
    t, z = 12.706204736174698, 1.959963984540054
    half = math.sqrt(t**2 * seeds_part + z**2 * images_part)
    interval = interval_for_new_images(~wrong, np.ones_like(wrong))
    assert interval == pytest.approx((37.5 - half, 37.5 + half), rel=1e-5)


def test_seeds_that_are_all_the_same_say_nothing_of_other_images_either():
    wrong = np.zeros((2, 400), bool)
    wrong[:, :12] = True
    assert interval_for_new_images(~wrong, np.ones_like(wrong)) is None
    wrong[1, 12] = True
    assert interval_for_new_images(~wrong, np.ones_like(wrong)) is not None


def test_resampling_seeds_and_images_is_wider_by_what_owen_says():
    """The pigeonhole bootstrap, drawn: its variance has the rest three times in place of once."""
    generator = np.random.default_rng(1)
    n, m, draws = 8, 60, 4000
    image = generator.standard_normal(m)
    a, b = (
        generator.standard_normal((n, m)) + image + 0.3 * generator.standard_normal(m) > -0.5
        for _ in range(2)
    )
    d = 100.0 * (b.astype(float) - a)
    seeds = generator.multinomial(n, np.full(n, 1 / n), draws) / n
    images = generator.multinomial(m, np.full(m, 1 / m), draws) / m
    drawn = np.einsum("dn,nm,dm->d", seeds, d, images).var()
    rest = (d - d.mean(1, keepdims=True) - d.mean(0) + d.mean()).var() / (n * m)
    seeds_part, images_part = d.mean(1).var() / n, d.mean(0).var() / m
    assert drawn == pytest.approx(seeds_part + images_part + rest, rel=0.1)
    # ours, with the quantiles taken out, is less
    interval = interval_for_new_images(a, b)
    assert (interval.high - interval.low) / 2 < stats.t.ppf(0.975, n - 1) * math.sqrt(drawn)


def test_differences_that_are_all_the_same_decide_nothing():
    d = Differences.of([20.3, 20.3], [20.4, 20.4])
    assert (d.p, d.interval()) == (1, None)
    verdict = verdicts([d], FIXED)[0]
    assert (verdict.decision, verdict.smallest_gap, verdict.seeds_needed) == (UNDECIDED, None, None)


def test_the_probability_of_improvement_is_mann_and_whitneys():
    a, b = [5.0, 6.0, 7.0, 6.0], [6.0, 8.0, 7.5]
    u = stats.mannwhitneyu(b, a).statistic  # pairs in which b is larger
    assert Improvement.of(a, b).probability == pytest.approx(u / 12)
    assert Improvement.of([1.0], [2.0]).interval == (0, 1)
    assert Improvement.of([], [2.0]) is None


def test_newcombes_interval_solves_his_equation():
    better = Improvement.of([1.0, 2.0, 3.0, 4.0, 5.0, 9.0], [2.5, 3.5, 6.0, 7.0, 8.0])
    for theta in better.interval:
        rest = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) * (1 + 4.5 * rest) / 30
        distance = abs(better.probability - theta) / math.sqrt(variance)
        assert distance == pytest.approx(stats.norm.ppf(0.975), rel=1e-5)
    certain = Improvement.of([1.0] * 5, [2.0] * 5)
    assert certain.interval.high == 1
    assert 0.5 < certain.interval.low < 0.9


def test_holms_procedure_by_hand():
    """Four: 0.01 · 4, 0.04 · 1, 0.03 · 2, 0.005 · 4, in the order of their size 0.005, 0.01 (· 3),
    0.03 (· 2), 0.04, of which the last is below the one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis(p):
    adjusted = holm(p)
    for one, other in zip(p, adjusted, strict=True):
        assert one <= other <= min(1, len(p) * one) + 1e-12
    # the step-down itself: as long as the next is small enough for those that are left
    left, rejected = sorted(p), 0
    while left and left[0] <= 0.05 / len(left):
        left.pop(0)
        rejected += 1
    assert sum(other <= 0.05 for other in adjusted) == pytest.approx(rejected)


def test_verdicts_of_a_table_take_each_others_number_into_account():
    clear = Differences.of([10.0, 10.1, 10.2, 9.9], [12.0, 12.2, 12.1, 12.0])
    near = Differences.of([10.0, 10.1, 10.4, 9.9], [10.5, 10.3, 10.6, 10.2])
    assert near.p < 0.05
    assert [v.decision for v in verdicts([near], FIXED)] == [BELOW]
    higher = Differences((1.0, 1.1, 0.9, 1.0))
    assert clear.p < higher.p
    decided, last, above = verdicts([clear, near, higher], FIXED)
    assert (decided.decision, last.decision, above.decision) == (BELOW, BELOW, ABOVE)
    assert [v.p for v in (decided, above, last)] == pytest.approx(
        [3 * clear.p, 2 * higher.p, near.p]
    )
    several = verdicts([near, near, near], FIXED)
    assert {v.decision for v in several} == {UNDECIDED}
    assert several[0].smallest_gap == pytest.approx(smallest_gap(near.std, 4, 0.05 / 3))
    assert several[0].seeds_needed == seeds_needed(near.mean, near.std, lambda n: 0.05 / 3) > 4


@pytest.mark.parametrize("n", [2, 3, 5, 20, 400])
@pytest.mark.parametrize("level", [0.05, 0.001])
def test_power_is_scipys_noncentral_t(n, level):
    critical = stats.t.isf(level / 2, n - 1)
    for effect in (0.1, 0.5, 2.0):
        expected = stats.nct.sf(critical, n - 1, effect * math.sqrt(n))
        assert power(effect, n, level) == pytest.approx(expected, abs=1e-7)
    gap = smallest_gap(0.3, n, level)
    reached = stats.nct.sf(critical, n - 1, gap / 0.3 * math.sqrt(n))
    assert reached == pytest.approx(POWER, abs=1e-6)
    needed = seeds_needed(gap * 1.0001, 0.3, lambda _: level)
    assert needed == n


@pytest.mark.parametrize("level", [0.05 / 84, 1e-6, 5e-11])
def test_the_smallest_gap_of_two_seeds_among_many_comparisons_is_found_at_once(level):
    """Its noncentrality goes to 1e10, where scipy's own inverse does not return. There the t is
    the quotient of two normals, of which the mean's own error is as good as none."""
    gap = smallest_gap(1.0, 2, level)
    critical = stats.t.isf(level / 2, 1)
    assert stats.chi2.cdf((gap * math.sqrt(2) / critical) ** 2, 1) == pytest.approx(0.8, abs=1e-5)
    assert smallest_gap(1.0, 2, 1e-30) is None


def test_seeds_that_no_one_has_are_not_named():
    assert seeds_needed(0.0, 1.0, lambda _: 0.05) is None
    assert seeds_needed(0.001, 1.0, lambda _: 0.05) is None
    assert seeds_needed(1.0, 0.0, lambda _: 0.05) is None
    # Issue: with a spread of 0.5 a gap of 0.3 takes more than twenty seeds.
    assert seeds_needed(0.3, 0.5, lambda _: 0.05) == 24


def test_calibration_error_by_hand():
    """Two bins of 15: (0.6, 0.6667] with confidence 0.65, one of two right; (0.8667, 0.9333] with
    0.9, both right. ½ · 0.15 + ½ · 0.1. A confidence at a bin's end is in the lower one."""
    confidence = np.array([0.65, 0.65, 0.9, 0.9])
    correct = np.array([True, False, True, True])
    assert calibration_error(confidence, correct) == pytest.approx(100 * (0.075 + 0.05))
    edge = np.array([1 / 15, 1 / 15 + 1e-6])
    assert calibration_error(edge, np.array([True, False])) == pytest.approx(
        100 * (1 - 1 / 15 + 1 / 15) / 2, abs=1e-3
    )
    assert calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_perfect_probabilities_have_hardly_an_error():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.1, 1, 200_000)
    correct = generator.random(200_000) < confidence
    assert calibration_error(confidence, correct) < 0.5
    assert calibration_error(confidence, generator.random(200_000) < 0.55) > 15


def test_agreement_says_what_holds_for_every_number_of_published_runs():
    ours = Statistic(5.0, 0.1, 5)
    assert Agreement.of(ours, 5.05, 0.1).statement == "compatible"
    assert Agreement.of(ours, 5.2, 0.1).statement == "open"
    assert Agreement.of(ours, 6.5, 0.1).statement == "different"
    assert Agreement.of(ours, 5.2, None) is None
    assert Agreement.of(Statistic(5.0, 0.1, 2), 5.2, 0.1) is None
    assert Agreement.of(Statistic(5.0, None, 1), 5.2, 0.1) is None


def test_the_interval_of_agreement_is_scipys_welch_for_two_published_runs():
    ours, published = [5.0, 5.2, 5.3, 4.9], [5.5, 5.9]
    welch = stats.ttest_ind(ours, published, equal_var=False).confidence_interval(0.95)
    agreement = Agreement.of(Statistic.of(ours), 5.7, Statistic.of(published).std)
    assert agreement.interval == pytest.approx((welch.low, welch.high))


def test_a_sequential_verdict_waits_for_the_least_seeds_and_then_stands():
    rule = Sequential(min_seeds=5, max_seeds=30)
    clear = tuple(-2 + 0.05 * math.sin(i) for i in range(1, 13))
    assert rule.decided(Differences(clear[:4])).decision == UNDECIDED
    assert rule.decided(Differences(clear)).decision == BELOW
    p = [rule.p(Differences(clear[:n])) for n in range(4, 13)]
    assert p == sorted(p, reverse=True)
    then = Differences((*clear, 5.0, 5.0, 5.0, 5.0, 5.0))
    assert then.p > 0.05
    assert then.mean > 0
    assert rule.p(then) == p[-1]
    assert rule.decided(then).decision == BELOW  # as the look that decided it had it


def test_a_sequential_interval_is_wider_and_leaves_out_what_is_decided():
    rule = Sequential(5, 30)
    values = np.random.default_rng(0).standard_normal(12) - 1.2
    d = Differences(tuple(values))
    repeated, plain = rule.interval(d), d.interval()
    assert repeated.low < plain.low < plain.high < repeated.high
    assert (rule.p(d) <= 0.05) == (repeated.high < 0)
    assert rule.interval(Differences(d.values[:4])) is None


def test_the_direction_is_that_of_the_look_which_p_is_of():
    rule = Sequential(5, 30)
    below = [-0.1 + 0.001 * math.sin(i) for i in range(5)]
    above = [1 + 0.04 * math.sin(i) for i in range(25)]
    found = [rule.decided(Differences((*below, *above[:n]))) for n in range(26)]
    decisions = [verdict.decision for verdict in found]
    assert decisions[0] == BELOW
    assert decisions[-1] == ABOVE  # farther out on the other side
    changes = [n for n in range(25) if decisions[n] != decisions[n + 1]]
    assert len(changes) == 1
    assert found[changes[0] + 1].p < found[changes[0]].p
    assert UNDECIDED not in decisions


@pytest.mark.parametrize("limits", [(2, 60), (5, 140)])
def test_a_look_that_rules_nothing_out_has_no_interval(limits):
    rule = Sequential(*limits)
    first = Differences(tuple(math.sin(i) for i in range(rule.min_seeds)))
    assert rule.level(first.n, 0.05) < 1e-12
    assert rule.interval(first) is None
    assert informative(Interval(-100.0, 100.1)) is None
    assert informative(Interval(-99.0, 101.0)) == (-99.0, 101.0)


def test_seeds_beyond_the_last_look_are_not_looked_at():
    rule = Sequential(3, 6)
    values = (0.1, -0.2, 0.3, 0.05, 0.2, -0.1)
    assert rule.p(Differences((*values, 9.0, 9.1))) == rule.p(Differences(values))
    with pytest.raises(ValueError, match="min_seeds=7, max_seeds=6"):
        Sequential(7, 6)
    with pytest.raises(ValueError, match="expected 2 at least"):
        Sequential(1, 6)
