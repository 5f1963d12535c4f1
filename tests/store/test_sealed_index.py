"""The index as bytes: nothing but a whole one is used (its answers: test_index.py)."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import StoreCorrupt
from gobbler.store.sealed_index import SealedIndex, seal
from tests.store.test_index import Shape, bytes_of, live

SHAPE: Shape = [(0, [(b"/foo", 2), (b'/foo/a\0{"u":"m"}', 1)]), (0, [(b"/foo", 1)])]


@pytest.mark.skipif(sys.byteorder == "big", reason="the index is in the machine's byte order")
def test_an_index_byte_by_byte() -> None:
    raw = bytes_of(live(SHAPE)[0])
    assert raw[:4] == b"GDX1"
    assert raw[8:56].hex() == (
        "6400000000000000"  # base 100
        "4a00000000000000"  # end 74
        "e803000000000000"  # time 1,000
        "0400000000000000"  # 4 messages
        "0200000002000000"  # 2 blocks, 2 keys
        "0300000001000000"  # 3 entries, 1 key with filters
    )
    table = memoryview(raw[56:120]).cast("I").tolist()
    assert table == [50, 63, 0, 3, 3, 1, 4, 20, 2, 3, 0, 1, 0, 2, 1, 1]
    #                offsets ids  counts keys  entries blocks  counts
    assert raw[120:] == b'/foo/foo/a\0{"u":"m"}'


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    raw = bytes_of(live(SHAPE)[0])
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreCorrupt):
            SealedIndex(memoryview(bytes(damaged)))
    for size in range(len(raw)):
        with pytest.raises(StoreCorrupt):
            SealedIndex(memoryview(raw[:size]))


@given(st.binary(max_size=200))
def test_noise_is_no_index(noise: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        SealedIndex(memoryview(noise))


def test_sealing_many_keys_lets_others_run() -> None:
    index, _ = live([(0, [(b"/foo/%d" % number, 1) for number in range(9000)])])
    assert len(list(seal(index))) >= 4
