"""Where a device stands in a partition, as it is kept. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

from gobbler.connectors.subscription import Device, hashed
from gobbler.errors import KVError


class Position(NamedTuple):
    """All of a device's messages up to the id `done` are sent or finally refused.

    `trying` is the id of the next one where it was tried already, else 0: it has failed
    `attempts` times, first at `since`, and is due at `due` (unix seconds). `sending`: it was
    handed to a provider that must not get it twice, and what came of that is not known.
    """

    partition: str
    device: Device
    done: int
    trying: int = 0
    attempts: int = 0
    since: float = 0.0
    due: float = 0.0
    sending: bool = False

    @property
    def key(self) -> str:
        """Return the key in the key-value store."""
        return hashed(self.partition, *self.device)

    def encode(self) -> bytes:
        """Return the value in the key-value store."""
        fields = [self.partition, *self.device, *self[2:]]
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, value: bytes) -> Position:
        """Return what `encode` was given. Raises: KVError: these bytes are none of its."""
        try:
            partition, token, user_id, *rest = json.loads(value)
            return cls(partition, Device(token, user_id), *rest)
        except (ValueError, TypeError):
            raise KVError("a position in the key-value store cannot be read") from None
