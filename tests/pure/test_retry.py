"""Whether a failed attempt is followed by another one, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import RetryPolicy
from durable_graph.decisions.retry import retry_in, time_left

STEADY = RetryPolicy(initial_interval=1.0, backoff_factor=2.0, jitter=False, retry_on=Exception)
times = st.floats(0, 1e10)


def half() -> float:
    return 0.5


@pytest.mark.parametrize(("attempt", "wait"), [(1, 1.0), (2, 2.0), (3, None), (4, None)])
def test_waits_grow_until_the_attempts_are_used_up(attempt: int, wait: float | None) -> None:
    """Also if there have been more than the policy allows, as after it was changed."""
    assert retry_in((STEADY,), ValueError(), attempt, half) == wait


def test_the_first_policy_that_matches_decides() -> None:
    """Even if it says no, and one behind it would say yes."""
    never = STEADY._replace(retry_on=KeyError, max_attempts=1)
    assert retry_in((never, STEADY), KeyError(), 1, half) is None
    assert retry_in((never, STEADY), ValueError(), 1, half) == 1.0
    assert retry_in((), ValueError(), 1, half) is None


@given(
    st.integers(1, 10**6),
    st.floats(0, 1e300),
    st.floats(0, 1e300),
    st.floats(0, 1e6),
    st.booleans(),
)
def test_no_wait_is_beyond_its_bounds(
    attempt: int, first: float, factor: float, longest: float, jitter: bool
) -> None:
    """Whatever the numbers: never negative, never longer than the longest and the jitter."""
    policy = RetryPolicy(first, factor, longest, 10**7, jitter, Exception)
    wait = retry_in((policy,), ValueError(), attempt, half)
    assert wait is not None
    assert 0 <= wait <= longest + (0.5 if jitter else 0)


@given(times, times, st.none() | st.floats(0, 1e6))
def test_a_changed_clock_makes_no_wait_longer(at: float, now: float, wait: float | None) -> None:
    """What is left of a wait is never negative and never more than the wait."""
    left = time_left(at, wait, now)
    assert 0 <= left <= (wait or 0.0)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_time_that_passes_shortens_the_wait(wait: float, passed: float) -> None:
    """By itself, as long as the clock is right."""
    assert time_left(1000.0 + wait, wait, 1000.0 + passed) == pytest.approx(max(0, wait - passed))
