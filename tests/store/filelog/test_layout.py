"""Names and heads: golden bytes, and no name that leads anywhere else."""

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import StoreCorrupt, StoreUnavailable
from gobbler.store.filelog.layout import (
    HEAD_LIMIT,
    base_of,
    decode_head,
    encode_head,
    folder_name,
    index_name,
    log_name,
    partition_name,
)

HEAD = bytes.fromhex(
    "474c4f47"  # "GLOG"
    "01000000"  # version 1
    "2a00000000000000"  # first id 42
    "04030201"  # salt
    "0500"  # five bytes of name
    "666fc3bc6f"  # "foüo"
    "13c212c7"  # crc-32 of all before
)

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300).filter(
    lambda name: len(name.encode()) <= 1023
)


def test_a_head_byte_by_byte() -> None:
    assert encode_head("foüo", 42, 0x01020304) == HEAD
    assert int.from_bytes(HEAD[-4:], "little") == crc32(HEAD[:-4])


@given(names, st.integers(1, 1 << 53), st.integers(0, (1 << 32) - 1), st.binary(max_size=9))
def test_decoding_a_head_gives_what_was_encoded(name: str, base: int, salt: int, behind: bytes) -> None:
    raw = encode_head(name, base, salt)
    assert len(raw) <= HEAD_LIMIT
    assert decode_head(raw + behind) == (name, base, salt, len(raw))


def test_every_flipped_bit_and_every_cut_of_a_head_is_noticed() -> None:
    for bit in range(8 * len(HEAD)):
        damaged = bytearray(HEAD)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreCorrupt):
            decode_head(bytes(damaged))
    for size in range(len(HEAD)):
        with pytest.raises(StoreCorrupt):
            decode_head(HEAD[:size])


def test_a_newer_version_is_not_damage() -> None:
    newer = HEAD[:4] + b"\x02" + HEAD[5:-4]
    with pytest.raises(StoreUnavailable, match="version 2"):
        decode_head(newer + crc32(newer).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("partition", "folder"),
    [
        ("foo", "foo"),
        ("a-b_9", "a-b_9"),
        ("Foo", "%46oo"),
        ("..", "%2E%2E"),
        ("a/../b", "a%2F%2E%2E%2Fb"),
        ("%46", "%2546"),
        ("=", "%3D"),
        ("é", "%C3%A9"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "=84a0678c90937f5dcf9994d5866668da6b995109c8ad845410559b48a4ecafed"),
    ],
)
def test_the_name_of_a_folder(partition: str, folder: str) -> None:
    assert folder_name(partition) == folder
    assert partition_name(folder) == (None if folder.startswith("=") else partition)


@given(names, names)
def test_folders_are_safe_reversible_and_never_shared(one: str, other: str) -> None:
    folder = folder_name(one)
    assert set(folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_%=ABCDEF")
    assert 0 < len(folder) <= 200
    assert partition_name(folder) == (None if folder.startswith("=") else one)
    assert (folder.lower() == folder_name(other).lower()) == (one == other)  # where the case is folded, too


@pytest.mark.parametrize("folder", ["lost+found", "%zz", "%2e", "%41%", "%", "%C3", "Foo", "%66oo", ".."])
def test_a_folder_of_no_partition_has_no_name(folder: str) -> None:
    assert partition_name(folder) is None


def test_the_names_of_files() -> None:
    assert log_name(42) == "00000000000000000042.log"
    assert index_name(42) == "00000000000000000042.index"
    assert base_of(log_name(1 << 53)) == 1 << 53


@pytest.mark.parametrize(
    "name",
    [
        "00000000000000000042.index",
        "00000000000000000042.log.damaged",
        "00000000000000000042.log.new",
        "42.log",
        "0000000000000000004x.log",
        "-0000000000000000042.log",
        "0000000000000000004².log",
        "",
    ],
)
def test_other_files_are_no_segments(name: str) -> None:
    assert base_of(name) is None
