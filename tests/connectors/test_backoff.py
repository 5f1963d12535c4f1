"""When to try again."""

import pytest

from gobbler.connectors.backoff import LONGEST_SECONDS, Backoff


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 600), (10_000, 600)]
)
def test_it_doubles_up_to_a_limit(attempt: int, seconds: float) -> None:
    assert Backoff(10.0).wait(attempt, None, 0.0) == seconds


def test_chance_spreads_by_up_to_half() -> None:
    assert Backoff(10.0).wait(0, None, 0.5) == 12.5
    assert Backoff(10.0).wait(0, None, 0.999) < 15


def test_what_the_provider_asks_for_is_never_undercut_nor_limited() -> None:
    assert Backoff(10.0).wait(9, 3.0, 0.0) == 3.0
    assert Backoff(10.0).wait(0, 7200.0, 0.0) == 7200.0 > LONGEST_SECONDS
    assert 100 <= Backoff(10.0).wait(0, 100.0, 0.999) < 110
