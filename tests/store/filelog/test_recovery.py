"""Walking over damage: whatever is sound is found, and nothing else."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.protocol.block import MAGIC, Block, pack
from gobbler.protocol.run import Run
from gobbler.store.filelog.recovery import Damage, Found, walk
from tests.protocol.costs import seconds

SALT = 7


def blocks(number: int, first_id: int = 1, body: bytes = b"body") -> list[Block]:
    made = []
    for _ in range(number):
        [block] = pack([Run(b"/foo", b"", b"", [b"\n" + body] * 2)], first_id, 1)
        made.append(block)
        first_id += 2
    return made


def raw_of(block: Block, salt: int = SALT) -> bytes:
    return b"".join(block.encode(salt))


def ids(found: list[Found | Damage]) -> list[int]:
    return [item.block.first_id for item in found if isinstance(item, Found)]


def damages(found: list[Found | Damage]) -> list[tuple[int, int, bool]]:
    return [tuple(item) for item in found if isinstance(item, Damage)]  # type: ignore[misc]


def test_sound_blocks_are_found_where_they_are() -> None:
    parts = [raw_of(block) for block in blocks(3)]
    found = list(walk(b"".join(parts), SALT, 1))
    assert [(item.offset, item.size) for item in found] == [
        (0, len(parts[0])),
        (len(parts[0]), len(parts[1])),
        (len(parts[0]) + len(parts[1]), len(parts[2])),
    ]
    assert ids(found) == [1, 3, 5]
    assert list(walk(b"", SALT, 1)) == []


def test_a_tail_that_is_torn_at_any_byte() -> None:
    first, second = (raw_of(block) for block in blocks(2))
    for size in range(1, len(second)):
        found = list(walk(first + second[:size], SALT, 1))
        assert ids(found) == [1]
        assert damages(found) == [(len(first), size, True)]


@pytest.mark.parametrize("noise", [b"", b"\0" * 50, b"GBLK", MAGIC * 20])
def test_damage_in_the_middle_costs_the_damaged_block(noise: bytes) -> None:
    first, second, third = (raw_of(block) for block in blocks(3))
    for at in range(len(second)):
        bad = bytearray(second)
        bad[at] ^= 1
        found = list(walk(first + bytes(bad) + noise + third, SALT, 1))
        assert ids(found) == [1, 5]
        assert damages(found) == [(len(first), len(second) + len(noise), False)]


def test_damage_at_the_beginning() -> None:
    first, second = (raw_of(block) for block in blocks(2))
    found = list(walk(b"x" + first[1:] + second, SALT, 1))
    assert ids(found) == [3]
    assert damages(found) == [(0, len(first), False)]


@pytest.mark.parametrize("salt", [0, SALT + 1])
def test_a_block_inside_a_message_is_never_taken_for_one(salt: int) -> None:
    """A client that knows the format, but not the salt, publishes blocks with the ids that come next."""
    inner = b"".join(raw_of(block, salt) for block in blocks(3, first_id=3))
    [carrier] = blocks(1, body=inner)
    behind = blocks(1, first_id=3)[0]
    whole = raw_of(carrier)
    assert ids(list(walk(whole + raw_of(behind), SALT, 1))) == [1, 3]
    for at in (8, 30, 60):
        bad = bytearray(whole)
        bad[at] ^= 1
        found = list(walk(bytes(bad) + raw_of(behind), SALT, 1))
        assert ids(found) == [3]
        assert damages(found) == [(0, len(whole), False)]


def test_a_block_with_ids_that_were_there_is_damage() -> None:
    """Leftovers of an earlier write: sound, but not in order."""
    first, second = (raw_of(block) for block in blocks(2))
    found = list(walk(second + first + first, SALT, 1))
    assert ids(found) == [3]
    assert damages(found) == [(len(second), 2 * len(first), True)]


@given(st.binary(max_size=200), st.lists(st.booleans(), min_size=1, max_size=6), st.randoms())
def test_every_sound_block_is_found_among_noise(
    noise: bytes, sound: list[bool], chance: random.Random
) -> None:
    made = blocks(len(sound))
    raw = b""
    for block, keep in zip(made, sound, strict=True):
        part = bytearray(raw_of(block))
        if not keep:
            part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
        raw += bytes(part) + (b"" if keep else noise)
    found = list(walk(raw, SALT, 1))
    assert ids(found) == [block.first_id for block, keep in zip(made, sound, strict=True) if keep]
    assert sum(item.size for item in found) == len(raw)


def test_heads_that_somebody_published_do_not_make_the_search_slow() -> None:
    """Each claims to be the head of a block of nearly all that follows."""

    def fakes(size: int) -> bytes:
        number = size // 40
        return b"".join(
            MAGIC
            + bytes(8)
            + (100).to_bytes(8, "little")
            + bytes(8)
            + (1).to_bytes(4, "little")
            + bytes(4)
            + max(0, (number - at - 2) * 40).to_bytes(4, "little")
            for at in range(number)
        )

    def search(raw: bytes) -> list[Found | Damage]:
        return list(walk(raw, SALT, 1))

    small, large = fakes(100_000), fakes(1_600_000)
    assert damages(search(small)) == [(0, len(small), True)]
    assert seconds(search, large) < 16 * 3 * seconds(search, small) + 0.05
