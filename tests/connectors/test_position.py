"""Positions as they are kept."""

import pytest

from gobbler.connectors.position import Position
from gobbler.connectors.subscription import Device
from gobbler.errors import KVError

FULL = Position("foo", Device("token", "user"), 7, 9, 2, 1.5, 2.5, True)


@pytest.mark.parametrize("position", [FULL, Position("foo", Device("", "9"), 0)])
def test_what_is_kept_comes_back(position: Position) -> None:
    assert Position.decode(position.encode()) == position


def test_the_layout_is_this_one() -> None:
    assert FULL.encode() == b'["foo","token","user",7,9,2,1.5,2.5,true]'


def test_a_key_says_whose_it_is_and_nothing_else() -> None:
    other = FULL._replace(done=1, trying=0, sending=False)
    assert other.key == FULL.key
    assert (
        len({FULL.key, FULL._replace(partition="bar").key, FULL._replace(device=Device("t", "u")).key}) == 3
    )


@pytest.mark.parametrize("value", [b"", b"[]", b"7", b'["a"]', b'["p","t","u",1,2,3,4,5,6,7,8]'])
def test_what_cannot_be_read_is_an_error(value: bytes) -> None:
    with pytest.raises(KVError, match=r"^a position in the key-value store cannot be read$"):
        Position.decode(value)
