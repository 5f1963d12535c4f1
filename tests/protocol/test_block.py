"""Blocks: golden bytes, round trips, and no damage that goes unnoticed."""

from array import array
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import StoreCorrupt
from gobbler.protocol.block import BLOCK_BYTES, HEAD_BYTES, Block, Chunk, decode, first_frames, pack, size_at
from gobbler.protocol.run import Run
from gobbler.protocol.selector import Selector
from tests.protocol.costs import seconds

SALT = 0x01020304
FILTERED = b'/foo/bar\0{"user_id":"m"}'

FIELDS = bytes.fromhex(
    "2a00000000000000"  # first id 42
    "00f1536500000000"  # unix seconds 1,700,000,000
    "03000000"  # three messages
    "28000000"  # 40 bytes of runs
    "09000000"  # 9 bytes of frames
)
RUNS = b"\x02\0\0\0\x04\0/foo" + b"\x01\0\0\0\x18\0" + FILTERED
SIZES = bytes.fromhex("040000000300000002000000")
FRAMES = b"\x82\x02aa\x82\x01b\x82\x00"


def block_of(*runs: tuple[bytes, list[bytes]], first_id: int = 42, time: int = 1_700_000_000) -> Block:
    frames = [frame for _, frames in runs for frame in frames]
    keys = tuple((key, len(frames)) for key, frames in runs)
    return Block(first_id, time, keys, array("I", map(len, frames)), b"".join(frames))


def golden() -> Block:
    return block_of((b"/foo", [b"\x82\x02aa", b"\x82\x01b"]), (FILTERED, [b"\x82\x00"]))


def encoded(one: Block, salt: int = SALT) -> bytes:
    return b"".join(one.encode(salt))


def facts(one: Block) -> tuple[object, ...]:
    return one.first_id, one.time, one.runs, list(one.sizes), one.frames


blocks = st.builds(
    lambda runs, first_id, time: block_of(*runs, first_id=first_id, time=time),
    st.lists(
        st.tuples(st.binary(max_size=40), st.lists(st.binary(max_size=60), min_size=1, max_size=5)),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 1 << 53),
    st.integers(0, 1 << 40),
)


def test_a_block_byte_by_byte() -> None:
    body = crc32(FIELDS + RUNS + SIZES + FRAMES, SALT).to_bytes(4, "little")
    head = crc32(body + FIELDS, SALT).to_bytes(4, "little")
    assert encoded(golden()) == b"GBLK" + head + body + FIELDS + RUNS + SIZES + FRAMES
    assert (head.hex(), body.hex()) == ("fb6620b4", "488e4f2d")
    assert len(FIELDS) + 12 == HEAD_BYTES


@given(blocks, st.integers(0, (1 << 32) - 1), st.binary(max_size=20), st.binary(max_size=20))
def test_decoding_gives_what_was_encoded(one: Block, salt: int, before: bytes, behind: bytes) -> None:
    raw = encoded(one, salt)
    found, end = decode(memoryview(before + raw + behind), len(before), salt)
    assert facts(found) == facts(one)
    assert end == len(before) + len(raw)
    assert size_at(before + raw, len(before)) == len(raw)


def test_every_flipped_bit_is_noticed() -> None:
    raw = encoded(golden())
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreCorrupt):
            decode(memoryview(damaged), 0, SALT)


def test_a_block_that_is_cut_anywhere_is_noticed() -> None:
    raw = encoded(golden())
    for size in range(len(raw)):
        with pytest.raises(StoreCorrupt):
            decode(memoryview(raw[:size]), 0, SALT)


def test_a_block_of_another_segment_is_none() -> None:
    with pytest.raises(StoreCorrupt):
        decode(memoryview(encoded(golden(), SALT)), 0, SALT + 1)


@given(st.binary(max_size=100), st.sampled_from([b"", b"GBLK"]))
def test_noise_is_no_block(noise: bytes, magic: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        decode(memoryview(magic + noise), 0, SALT)


@pytest.mark.parametrize(
    "runs", [b"\x04\0\0\0\x01\0/", b"\x03\0\0\0\x02\0/", b"\x03\0\0\0\x01\0/x", b"\x03\0"]
)
def test_a_table_of_runs_that_does_not_add_up_is_refused(runs: bytes) -> None:
    fields = FIELDS[:20] + len(runs).to_bytes(4, "little") + FIELDS[24:]
    body = crc32(fields + runs + SIZES + FRAMES, SALT).to_bytes(4, "little")
    head = crc32(body + fields, SALT).to_bytes(4, "little")
    with pytest.raises(StoreCorrupt, match="runs"):
        decode(memoryview(b"GBLK" + head + body + fields + runs + SIZES + FRAMES), 0, SALT)


@given(blocks, st.data())
def test_a_cut_is_a_slice(one: Block, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(one)))
    stop = data.draw(st.integers(start, len(one)))
    frames = one.frames[sum(one.sizes[:start]) : sum(one.sizes[:stop])]
    assert one.cut(start, stop) == Chunk(one.first_id + start, stop - start, frames)
    assert one.whole() == one.cut(0, len(one))
    assert one.last_id == one.first_id + len(one) - 1


def test_select_keeps_what_matches_in_the_range() -> None:
    one = block_of(
        (b"/foo", [b"0", b"1"]),
        (b"/foo/a", [b"2"]),
        (FILTERED, [b"3"]),
        (b"/foo/a", [b"4", b"5"]),
        first_id=10,
    )
    everything, nothing = Selector((b"/foo",), {"user_id": "m"}), Selector((b"/bar",), {})
    assert one.select(everything, 1, 99) == (6, b"012345")
    assert one.spans(everything, 1, 99) == [(0, 6)]
    assert one.select(Selector((b"/foo",), {}), 11, 14) == (3, b"124")
    assert one.select(Selector((b"/foo/a",), {}), 1, 14) == (2, b"24")
    assert one.select(nothing, 1, 99) == (0, b"")
    assert one.select(everything, 16, 99) == (0, b"")


def test_cutting_a_block_at_every_run_takes_linear_time() -> None:
    def every_run(payload: bytes) -> None:
        one = block_of(*[(b"/foo", [b"x"])] * len(payload))
        for at in range(len(payload)):
            one.cut(at, at + 1)

    small, large = seconds(every_run, bytes(2000)), seconds(every_run, bytes(16_000))
    assert large < 24 * small + 0.02


def test_pack_numbers_messages_and_closes_blocks() -> None:
    runs = [Run(b"/foo", b"", b"", [b"\n" + b"x" * 1000] * 40), Run(b"/foo/a", b"", b"", [b"\ny"])] * 3
    packed = list(pack(runs, 95, 7))
    assert [(one.first_id, len(one)) for one in packed] == [(95, 81), (176, 42)]
    assert packed[0].runs == ((b"/foo", 40), (b"/foo/a", 1), (b"/foo", 40))
    messages = [message for one in packed for message in one.whole().messages()]
    assert [message.id for message in messages] == list(range(95, 218))
    assert {message.time for message in messages} == {7}
    assert len(packed[0].frames) >= BLOCK_BYTES


def test_a_run_is_never_divided() -> None:
    [one] = pack([Run(b"/foo", b"", b"", [b"\n" + b"x" * BLOCK_BYTES] * 3)], 1, 1)
    assert len(one) == 3
    assert list(pack([], 1, 1)) == []


@pytest.mark.parametrize("size", [0, 1, 100, 125, 126, 5000, 1 << 16, 70_000])
def test_first_frames_knows_every_length(size: int) -> None:
    frames = Run(b"/foo", b"", b"", [b"\n" + b"x" * size] * 3).frames(1, 1)
    for number in range(4):
        assert first_frames(b"".join(frames), number) == b"".join(frames[:number])


def test_the_byte_order_of_the_file_is_little_endian_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a big-endian machine the array's bytes are swapped, and swapped back."""
    one = golden()
    monkeypatch.setattr("sys.byteorder", "big")
    swapped = encoded(one)
    assert swapped[HEAD_BYTES + len(RUNS) :].startswith(bytes.fromhex("00000004"))
    assert facts(decode(memoryview(swapped), 0, SALT)[0]) == facts(one)
    assert list(one.sizes) == [4, 3, 2]  # the block's own are left alone


def test_a_block_shows_its_ids() -> None:
    assert repr(golden()) == "<Block 42-44, 9 bytes>"
