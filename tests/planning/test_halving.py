"""ASHA's decisions, with Ray's own scheduler as the oracle."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tests.records.made import history
from tune_distill.planning.halving import Halving
from tune_distill.spec.study import Asha

ASHA = Asha(type="asha", grace_fraction=0.25, reduction_factor=2)
GOOD = (2.0, 1.5, 1.0, 0.9)


def halving_after(*losses: tuple[float | None, ...]) -> Halving:
    """Return a Halving that has judged runs with these losses at steps 5, 10, 15 and 20.

    It has rungs at 5, 10 and 20.
    """
    halving = Halving(ASHA, "min", 20)
    for number, row in enumerate(losses):
        halving.know(f"earlier {number}", history(*row, step=5))
    return halving


def test_earlier_trials_prune_a_bad_newcomer_at_its_first_rung():
    halving = halving_after(GOOD, GOOD)
    assert not halving.stops("new", 4, 9.0)
    assert halving.stops("new", 5, 9.0)


def test_a_good_newcomer_goes_on():
    halving = halving_after(GOOD, (5.0, 5.0, 5.0, 5.0))
    reports = ((5, 1.9), (10, 1.4), (15, 1.0), (20, 0.5))
    assert not any(halving.stops("new", step, loss) for step, loss in reports)


def test_without_earlier_trials_the_first_goes_on():
    assert not halving_after().stops("new", 5, 9.0)


def test_rows_between_evaluations_are_skipped():
    halving = halving_after((None, 1.5, None, 0.9))
    # Other runs are known at step 10, but not at step 5.
    assert not halving.stops("new", 5, 9.0)
    assert halving.stops("new", 10, 9.0)


def test_a_pruned_trial_counts_at_the_rungs_it_reached():
    halving = halving_after((2.0,), (1.0,))
    assert halving.stops("new", 5, 9.0)
    assert not halving.stops("other", 10, 9.0)


def test_a_trial_that_passed_its_rung_is_not_judged_there_again():
    halving = halving_after(GOOD)
    assert not halving.stops("new", 5, 1.0)
    assert not halving.stops("new", 8, 9.0)


@pytest.mark.parametrize("num_steps", [1, 2, 8, 9, 1000])
def test_any_length_of_training_has_a_first_rung(num_steps):
    assert not Halving(ASHA, "min", num_steps).stops("new", 1, 9.0)


def test_the_baseline_is_judged_and_spared():
    halving = Halving(ASHA, "min", 20, spared={"baseline"})
    halving.know("earlier", history(*GOOD, step=5))
    assert not halving.stops("baseline", 5, 9.0)
    assert halving.stops("other", 5, 9.5)
    # The baseline's loss counts at the rung, so a run that is better than the median goes on.
    assert not halving.stops("third", 5, 5.0)


def test_low_values_are_pruned_if_larger_is_better():
    halving = Halving(ASHA, "max", 20)
    for name, value in (("a", 0.8), ("b", 0.9)):
        halving.stops(name, 5, value)
    assert halving.stops("c", 5, 0.1)
    assert not halving.stops("d", 5, 0.95)


def test_another_trial_of_a_pruned_run_is_stopped_at_the_same_rung():
    halving = halving_after(GOOD)
    assert halving.stops("new", 5, 9.0)
    assert halving.stops("new", 6, 9.0)
    # Another trial of a run that went on goes on too.
    assert not halving.stops("good", 5, 0.5)
    assert not halving.stops("good", 6, 9.0)


REPORTS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(1, 40), st.sampled_from([0.5, 1.0, 1.5, 9.0])),
    max_size=60,
)


@given(
    REPORTS,
    st.integers(2, 5),
    st.floats(0.01, 0.99),
    st.integers(1, 40),
    st.sampled_from(["min", "max"]),
)
def test_it_decides_like_rays_own_scheduler(reports, factor, share, num_steps, mode):
    asha = Asha(type="asha", grace_fraction=share, reduction_factor=factor)
    halving = Halving(asha, mode, num_steps)
    oracle = ASHAScheduler(
        time_attr="step",
        metric="loss",
        mode=mode,
        max_t=max(2, num_steps),
        grace_period=max(1, round(num_steps * share)),
        reduction_factor=factor,
        stop_last_trials=False,
    )
    trials, stopped = {}, set()
    for name, step, value in reports:
        if name in stopped:
            # A stopped trial makes no further reports.
            continue
        if name not in trials:
            trials[name] = SimpleNamespace(trial_id=name)
            oracle.on_trial_add(None, trials[name])
        decision = oracle.on_trial_result(None, trials[name], {"step": step, "loss": value})
        stops = halving.stops(name, step, value)
        assert stops == (decision == TrialScheduler.STOP)
        if stops:
            stopped.add(name)
