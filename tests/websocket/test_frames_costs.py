"""What reading frames costs: memory for what a peer sent, not announced, and time in proportion to it."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterable

import pytest

from gobbler.websocket.frames import BINARY, CONT, PING, TEXT, Parser
from tests.websocket.wire import bytewise, client, pieces


def grown(action: Callable[[], object]) -> tuple[int, int]:
    """Return the bytes that the action's result holds, and the most that were held on the way."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = action()
        gc.collect()  # which empties the interpreter's store of unused tuples too
        now, peak = tracemalloc.get_traced_memory()
        del kept
        return now - before, peak - before
    finally:
        tracemalloc.stop()


def fed(bursts: Iterable[bytes], limit: int = 1 << 20) -> Parser:
    """Return a parser that has read the bursts, its events dropped."""
    parser = Parser(limit)
    for burst in bursts:
        parser.feed(burst)
    return parser


def test_an_idle_parser_is_tiny() -> None:
    burst = client(BINARY, bytes(60)) * 100
    assert grown(lambda: [fed([burst]) for _ in range(100)])[0] < 100 * 128


def test_an_announced_size_takes_no_memory() -> None:
    announcement = client(BINARY, bytes(1 << 20))[:15]
    held, peak = grown(lambda: fed([announcement]))
    assert max(held, peak) < 8 << 10


def test_tiny_fragments_take_little_more_than_their_bytes() -> None:
    count = 100_000
    burst = client(TEXT, b"x", fin=False) + client(CONT, b"x", fin=False) * count
    assert grown(lambda: fed([burst]))[0] < count * 1.25


def test_a_message_does_not_keep_its_burst_alive() -> None:
    burst = client(BINARY, b"small") + client(BINARY, bytes(60)) * 10_000
    assert grown(lambda: Parser(1000).feed(bytes(bytearray(burst)))[0])[0] < 1 << 10


def test_an_error_does_not_keep_its_burst_alive() -> None:
    burst = client(BINARY, bytes(60)) * 10_000 + client(TEXT, b"\xff")
    assert grown(lambda: fed([bytes(bytearray(burst))]).error)[0] < 2 << 10


SHAPES: dict[str, Callable[[int], list[bytes]]] = {
    "small frames": lambda n: [client(BINARY, b"x" * 20) * (n // 26)],
    "small frames, odd bursts": lambda n: pieces(client(TEXT, b"x" * 20) * (n // 26), range(0, n, 1009)),
    "a frame byte by byte": lambda n: bytewise(client(TEXT, b"x" * n)),
    "a frame in bursts": lambda n: pieces(client(BINARY, b"x" * n * 100), range(0, n * 100, 4096)),
    "fragments of one byte": lambda n: [
        client(TEXT, b"", fin=False) + client(CONT, b"x", fin=False) * (n // 7)
    ],
    "empty fragments": lambda n: [client(TEXT, b"", fin=False) + client(CONT, b"", fin=False) * (n // 6)],
    "empty fragments byte by byte": lambda n: bytewise(
        client(TEXT, b"", fin=False) + client(CONT, b"", fin=False) * (n // 6)
    ),
    "pings byte by byte": lambda n: bytewise(client(PING, bytes(125)) * (n // 131)),
    "cut characters": lambda n: bytewise(client(TEXT, "𝄞".encode() * (n // 4))),
    "after an error": lambda n: [b"\xff" * n] * 10,
}


def seconds(bursts: list[bytes]) -> float:
    """Return the processor time that reading takes, the best of three."""

    def once() -> float:
        start = time.process_time()
        fed(bursts, limit=1 << 30)
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_time_is_linear(shape: Callable[[int], list[bytes]]) -> None:
    """Eight times the bytes take about 8 times as long; were it quadratic, 64 times."""
    small, large = seconds(shape(10_000)), seconds(shape(80_000))
    assert large < 24 * small + 0.002
