"""How the tests write frames, and cut what they have written into bursts."""

from collections.abc import Iterable
from itertools import pairwise

from gobbler.websocket.frames import encode_masked

MASK = b"\x37\xfa\x21\x3d"
"""The mask of the examples of RFC 6455, section 5.7."""


def client(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    """Encode one frame of a client."""
    return encode_masked(payload, MASK, opcode, fin)


def bytewise(data: bytes) -> list[bytes]:
    """Cut into bursts of one byte."""
    return [data[i : i + 1] for i in range(len(data))]


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Cut at the positions, wherever they fall."""
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(borders)]
