"""Autobahn's cases, strictly: behavior and closing behavior (`../shared/spec/test-servers.md`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.websocket.conformance import Verdict, echo_server, failures, run_cases


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Run the echo server for this module."""
    with echo_server() as number:
        yield number


def test_all_cases(port: int, tmp_path: Path) -> None:
    verdicts = run_cases(port, tmp_path)
    assert len(verdicts) == 517
    assert failures(verdicts) == []


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("1.1.1", Verdict("FAILED", "OK", 1000)),
        ("1.1.1", Verdict("OK", "WRONG CODE", 1002)),
        ("1.1.1", Verdict("OK", "INFORMATIONAL", 1000)),
        ("6.4.3", Verdict("NON-STRICT", "OK", 1007)),
        ("7.1.6", Verdict("FAILED", "INFORMATIONAL", 1000)),
        ("12.1.1", Verdict("FAILED", "OK", 1002)),
        ("9.1.1", Verdict("UNIMPLEMENTED", "OK", 1000)),
    ],
)
def test_the_judge_takes_nothing_less(name: str, verdict: Verdict) -> None:
    (line,) = failures({name: verdict, "1.1.2": Verdict("OK", "OK", 1000)})
    assert line.startswith(f"{name}: {verdict.behavior}")


def test_a_server_that_does_not_start_is_told_apart() -> None:
    with pytest.raises(RuntimeError, match="ended with 1"), echo_server("tests.websocket.nothing"):
        pass
