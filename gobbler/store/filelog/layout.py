"""How the log is laid out in files: names of folders and segments, and a segment's head.

    <storage path>/messages/<partition folder>/<first id, 20 digits>.log    blocks
                                              /<first id, 20 digits>.index  see store/index.py

A segment begins with a head, little-endian; blocks (protocol/block.py) follow:

     0        4         5    8             16       20            22
    +--------+---------+----+-------------+--------+-------------+----------------+--------+
    | "GLOG" | version | 0  | first id    | salt   | name length | partition name | crc-32 |
    +--------+---------+----+-------------+--------+-------------+----------------+--------+

The salt is random and starts the checksum of every block of the segment.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import unquote
from zlib import crc32

from gobbler.errors import StoreCorrupt, StoreUnavailable

MAGIC: Final = b"GLOG"
VERSION: Final = 1
_HEAD = struct.Struct("<4sB3xQIH")
_CHECKSUM = struct.Struct("<I")
HEAD_LIMIT: Final = _HEAD.size + 1024 + _CHECKSUM.size
"""No head is longer: a partition's name is at most 1,023 bytes."""

LOG_SUFFIX: Final = ".log"
INDEX_SUFFIX: Final = ".index"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_NAME_LIMIT = 200
_HASHED = "="


class Head(NamedTuple):
    """A segment's head; `size` is its length in bytes, and so the offset of the first block."""

    partition: str
    base: int
    salt: int
    size: int


def encode_head(partition: str, base: int, salt: int) -> bytes:
    """Return the head of a segment whose first id is `base`."""
    name = partition.encode()
    head = _HEAD.pack(MAGIC, VERSION, base, salt, len(name)) + name
    return head + _CHECKSUM.pack(crc32(head))


def decode_head(raw: bytes) -> Head:
    """Decode a segment's head from the first `HEAD_LIMIT` bytes (or fewer) of its file.

    Raises:
        StoreCorrupt: it is not a whole, sound head.
        StoreUnavailable: it is sound, but a newer version wrote the segment.
    """
    if len(raw) < _HEAD.size:
        raise StoreCorrupt("a segment ends inside its head")
    magic, version, base, salt, length = _HEAD.unpack_from(raw)
    end = _HEAD.size + length
    if magic != MAGIC or len(raw) < end + _CHECKSUM.size or crc32(raw[:end]) != _checksum(raw, end):
        raise StoreCorrupt("a segment's head is damaged")
    if version != VERSION:
        raise StoreUnavailable(f"a segment has the format version {version}; this server reads {VERSION}")
    return Head(raw[_HEAD.size : end].decode(), base, salt, end + _CHECKSUM.size)


def _checksum(raw: bytes, offset: int) -> int:
    checksum: int = _CHECKSUM.unpack_from(raw, offset)[0]
    return checksum


def folder_name(partition: str) -> str:
    """Return the name of a partition's folder: safe on any file system, and never the same for two.

    Lower-case letters, digits, `-` and `_` stay; other bytes become `%XX`. What
    would get too long is named by its hash (the real name is in every head).
    """
    raw = partition.encode()
    name = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)
    return name if len(name) <= _NAME_LIMIT else _HASHED + sha256(raw).hexdigest()


def partition_name(folder: str) -> str | None:
    """Return the partition of a folder; None where only a segment's head can tell, or no partition has it."""
    try:
        name = unquote(folder, errors="strict")
        return name if folder_name(name) == folder else None
    except UnicodeError:
        return None


def log_name(base: int) -> str:
    """Return a segment's file name; names sort like ids."""
    return f"{base:020d}{LOG_SUFFIX}"


def index_name(base: int) -> str:
    """Return the name of a segment's index."""
    return f"{base:020d}{INDEX_SUFFIX}"


def base_of(name: str) -> int | None:
    """Return the first id of the segment with this file name; None for any other file."""
    stem, suffix = name[:20], name[20:]
    return (
        int(stem) if suffix == LOG_SUFFIX and len(stem) == 20 and stem.isascii() and stem.isdigit() else None
    )
