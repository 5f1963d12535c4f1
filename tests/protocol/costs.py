"""What parsing costs: time in proportion to the input."""

import time
from collections.abc import Callable
from contextlib import suppress

from gobbler.errors import BadRequest

TIMES = 8


def seconds(parse: Callable[[bytes], object], payload: bytes) -> float:
    """Return the processor time that parsing takes, refused or not, the best of five."""

    def once() -> float:
        start = time.process_time()
        with suppress(BadRequest):
            parse(payload)
        return time.process_time() - start

    return min(once() for _ in range(5))


def expect_linear(
    parse: Callable[[bytes], object], shape: Callable[[int], bytes], size: int = 10_000
) -> None:
    """Eight times the bytes take about 8 times as long; were it quadratic, 64 times."""
    small, large = seconds(parse, shape(size)), seconds(parse, shape(TIMES * size))
    assert large < 3 * TIMES * small + 0.005
