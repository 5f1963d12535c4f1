"""A mutational fuzzer: valid inputs, changed at random, into every target in turn.

A run is repeated exactly by its seed. It ends with the first finding, or when its time is over.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from random import Random

from tests.fuzz.targets import Target

MAX_CHANGES = 8
MAX_BYTES = 256 << 10
BLOW_UP = 1 / 500  # how often an input is made large, to see what it costs


def _slowness() -> float:
    """Return how many times slower this machine is than one that the limits were chosen on; at least 1."""
    taken = []
    for _ in range(5):
        begun = time.process_time()
        sum(range(100_000))
        taken.append(time.process_time() - begun)
    return max(1.0, min(taken) / 3e-3)


# Processor time that an input may take: far above what is usual, far below the square of its size.
SLOWNESS = _slowness()
ALLOWED = 5e-3 * SLOWNESS  # seconds
ALLOWED_PER_BYTE = 4e-6 * SLOWNESS
HANG = 10.0
TRIES = 5  # an input that takes too long is timed so many times: the machine may have been busy


class Finding(Exception):
    """An input that a target does not stand."""

    def __init__(self, name: str, data: bytes, seed: int | None, cause: BaseException) -> None:
        """Say everything that is needed to see it again."""
        origin = "" if seed is None else f" with --seed {seed}"
        super().__init__(f"{name}{origin}: {cause!r}\n--replay '{name}' {data.hex()}")
        self.name = name
        self.data = data
        self.cause = cause


class TooSlow(Exception):
    """An input took more time than its size allows."""


def fuzz(targets: Mapping[str, Target], seconds: float, seed: int) -> Counter[str]:
    """Feed all targets for so many seconds; return how many inputs each was given.

    Raises:
        Finding: a check failed, raised something undocumented, or took too long.
    """
    chance = Random(seed)
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for name, target in cycle(targets.items()):
        if time.monotonic() >= end:
            return counts
        try_one(name, target, mutate(target, chance), seed)
        counts[name] += 1
    raise ValueError("no targets")


def try_one(name: str, target: Target, data: bytes, seed: int | None = None) -> None:
    """Check one input, and the time it takes.

    Raises:
        Finding: see `fuzz`.
    """
    try:
        _check_time(target, data)
    except Exception as cause:
        raise Finding(name, data, seed, cause) from cause


def _check_time(target: Target, data: bytes) -> None:
    """Run the check; raise TooSlow if it always takes longer than allowed."""
    allowed = ALLOWED + ALLOWED_PER_BYTE * len(data)
    taken = 0.0
    with _no_hang():
        for _ in range(TRIES):
            start = time.process_time()
            target.check(data)
            taken = time.process_time() - start
            if taken <= allowed:
                return
    raise TooSlow(f"{taken:.3f} s for {len(data)} bytes")


@contextmanager
def _no_hang() -> Iterator[None]:
    """Interrupt what runs for ever. Counts processor time, and leaves SIGALRM to pytest."""

    def interrupt(_number: int, _frame: object) -> None:
        raise TooSlow(f"no end after {HANG} s")

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def mutate(target: Target, chance: Random) -> bytes:
    """Return a changed valid input; now and then a large one, made of repetitions."""
    data = chance.choice(target.seeds)
    for _ in range(chance.randint(0, MAX_CHANGES)):
        data = chance.choice(_CHANGES)(data, target, chance)
    if chance.random() < BLOW_UP:
        data = _blow_up(data, target, chance)
    return data[:MAX_BYTES]


def _span(data: bytes, chance: Random) -> tuple[int, int]:
    """Choose where something begins and ends; often it is short."""
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.choice((1, 2, 4, 8, 64, len(data))))


def _flip(data: bytes, _target: Target, chance: Random) -> bytes:
    """Flip a bit."""
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def _overwrite(data: bytes, target: Target, chance: Random) -> bytes:
    """Put a word or random bytes over what is there."""
    new = _word(target, chance)
    at = chance.randint(0, len(data))
    return data[:at] + new + data[at + len(new) :]


def _insert(data: bytes, target: Target, chance: Random) -> bytes:
    """Put a word or random bytes in between."""
    at = chance.randint(0, len(data))
    return data[:at] + _word(target, chance) + data[at:]


def _remove(data: bytes, _target: Target, chance: Random) -> bytes:
    """Take some bytes away."""
    start, stop = _span(data, chance)
    return data[:start] + data[stop:]


def _double(data: bytes, _target: Target, chance: Random) -> bytes:
    """Say some bytes again."""
    start, stop = _span(data, chance)
    return data[:stop] + data[start:]


def _cut(data: bytes, _target: Target, chance: Random) -> bytes:
    """End early."""
    return data[: chance.randint(0, len(data))]


def _join(data: bytes, target: Target, chance: Random) -> bytes:
    """Go on with another valid input."""
    return data[: chance.choice((len(data), chance.randint(0, len(data))))] + chance.choice(target.seeds)


def _word(target: Target, chance: Random) -> bytes:
    """Choose something that means something to the target, or nothing to anyone."""
    return chance.choice(target.words) if chance.random() < 0.5 else chance.randbytes(chance.randint(1, 9))


def _blow_up(data: bytes, target: Target, chance: Random) -> bytes:
    """Repeat a part, or a word, until the input is large."""
    start, stop = _span(data, chance)
    unit = chance.choice((data[start:stop], _word(target, chance))) or b"\0"
    return data[:stop] + unit * (chance.randint(1, MAX_BYTES) // len(unit)) + data[stop:]


_CHANGES: tuple[Callable[[bytes, Target, Random], bytes], ...] = (
    _flip,
    _overwrite,
    _insert,
    _remove,
    _double,
    _cut,
    _join,
)
