"""Making an index from bytes, in pieces of any size, while the file grows."""

import logging

import pytest

from gobbler.protocol.block import Block, pack
from gobbler.protocol.run import Run
from gobbler.store.filelog.indexing import extend
from gobbler.store.live_index import LiveIndex
from tests.store.model import selector

SALT = 3
START = 30
PIECES = [1, 60, 100, 1000, 100_000]


def blocks(number: int = 10) -> list[Block]:
    runs = [Run(b"/foo/%d" % (at % 3), b"", b"", [b"\n" + b"x" * 20 * at]) for at in range(number)]
    return [next(iter(pack([run], id, 1))) for id, run in enumerate(runs, 1)]


def bytes_of(parts: list[Block]) -> bytes:
    return bytes(START) + b"".join(part for block in parts for part in block.encode(SALT))


def made(raw: bytes, piece: int) -> LiveIndex:
    index = LiveIndex(1, START)
    extend(index, lambda size, offset: raw[offset : offset + size], lambda: len(raw), SALT, "the file", piece)
    return index


def facts(index: LiveIndex) -> object:
    entries = index.between(selector("/foo/1"), 0, len(index) - 1)
    return index.end, index.messages, list(index.offsets), list(index.ids), entries


@pytest.mark.parametrize("piece", PIECES)
def test_the_size_of_the_pieces_does_not_matter(piece: int) -> None:
    raw = bytes_of(blocks())
    index = made(raw, piece)
    assert facts(index) == facts(made(raw, 1 << 20))
    assert (len(index), index.next_id, index.end) == (10, 11, len(raw))


@pytest.mark.parametrize("piece", PIECES)
def test_it_ends_before_a_torn_tail(piece: int) -> None:
    raw = bytes_of(blocks())
    whole = len(bytes_of(blocks()[:9]))
    for torn in (whole + 1, whole + 39, len(raw) - 1):
        index = made(raw[:torn], piece)
        assert (index.end, index.next_id) == (whole, 10)


@pytest.mark.parametrize("piece", PIECES)
def test_it_goes_over_damage_and_says_what_is_lost(piece: int, caplog: pytest.LogCaptureFixture) -> None:
    raw = bytearray(bytes_of(blocks()))
    bad = len(bytes_of(blocks()[:4])) + 50
    raw[bad] ^= 1
    index = made(bytes(raw), piece)
    assert (len(index), index.messages, index.next_id) == (9, 9, 11)
    assert [tuple(hole) for hole in index.holes(1, 10)] == [(5, 5)]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "the messages 5 to 5 are lost" in caplog.text


@pytest.mark.parametrize("piece", PIECES)
def test_a_file_that_grows_meanwhile_is_entered_to_its_end(piece: int) -> None:
    raw = bytes_of(blocks())
    ends = [len(bytes_of(blocks()[:number])) for number in range(1, 11)]
    now = [ends[0]]

    def read(size: int, offset: int) -> bytes:
        if ends[1:]:
            ends.pop(0)
            now[0] = ends[0]
        return raw[offset : offset + size]

    index = LiveIndex(1, START)
    extend(index, read, lambda: now[0], SALT, "the file", piece)
    assert index.end == now[0]
    assert facts(index) == facts(made(raw[: now[0]], piece))


def test_a_file_that_is_shorter_than_it_should_be_ends_the_work() -> None:
    raw = bytes_of(blocks())
    short = raw[: len(bytes_of(blocks()[:4])) + 7]
    index = LiveIndex(1, START)
    extend(index, lambda size, offset: short[offset : offset + size], lambda: len(raw), SALT, "f", 64)
    assert index.next_id == 5
