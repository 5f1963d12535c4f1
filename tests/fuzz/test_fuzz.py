"""Seconds of fuzzing in every run of the tests, and that the fuzzer finds what there is to find."""

import random
import subprocess
import sys
import time

import pytest

from tests.fuzz import fuzzer
from tests.fuzz.fuzzer import Finding, TooSlow, fuzz, mutate, try_one
from tests.fuzz.targets import TARGETS, Target
from tests.websocket.conformance import ROOT

SECONDS = 1.5
FIXED_SEED = 2


@pytest.mark.parametrize("seed", [FIXED_SEED, None], ids=["fixed", "random"])
def test_nothing_is_found(seed: int | None) -> None:
    """A finding names the seed and the input; `python -m tests.fuzz --replay` shows it again."""
    counts = fuzz(TARGETS, SECONDS, random.randrange(1 << 32) if seed is None else seed)
    assert counts.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_pass(name: str) -> None:
    for seed in TARGETS[name].seeds:
        try_one(name, TARGETS[name], seed)


def refuse(data: bytes) -> None:
    """Stand for a decoder that fails at a zero byte with an error that it does not document."""
    if 0 in data:
        raise KeyError(0)


def test_a_finding_says_how_to_see_it_again() -> None:
    with pytest.raises(Finding) as caught:
        fuzz({"refuse": Target((b"abc",), (b"\0",), refuse)}, 60, 7)
    assert str(caught.value) == (
        f"refuse with --seed 7: KeyError(0)\n--replay 'refuse' {caught.value.data.hex()}"
    )
    assert 0 in caught.value.data
    with pytest.raises(Finding, match="KeyError"):
        try_one("refuse", Target((), (), refuse), caught.value.data)


def test_a_seed_repeats_a_run() -> None:
    target = TARGETS["client frames"]
    first, second = random.Random(1), random.Random(1)
    assert [mutate(target, first) for _ in range(1000)] == [mutate(target, second) for _ in range(1000)]


def burn(data: bytes) -> None:
    """Stand for a decoder whose time does not fit the size of its input."""
    end = time.process_time() + 2 * (fuzzer.ALLOWED + fuzzer.ALLOWED_PER_BYTE * len(data))
    while time.process_time() < end:
        pass


def hang(_data: bytes) -> None:
    """Stand for a decoder that does not end."""
    while True:
        pass


def test_too_much_time_is_a_finding() -> None:
    with pytest.raises(Finding, match="for 3 bytes") as caught:
        try_one("burn", Target((), (), burn), b"abc")
    assert isinstance(caught.value.cause, TooSlow)


def test_no_end_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzer, "HANG", 0.05)
    with pytest.raises(Finding, match="no end"):
        try_one("hang", Target((), (), hang), b"abc")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--seconds", "0.2", "--seed", "5", "--target", "close"), 0, "--seed 5\nclose: "),
        (("--replay", "close", "03e8"), 0, ""),
    ],
)
def test_the_command_line(arguments: tuple[str, ...], status: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout.startswith(said)
