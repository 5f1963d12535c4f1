"""h2's connection, as a client wants it that has many requests under way on one connection."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.events import Event
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hpack.hpack import encode_integer

# hpack logs every header at debug: provider tokens and the tokens of devices among them.
logging.getLogger("hpack").setLevel(logging.WARNING)

_INDEXED: Final = 0x80  # the first bit of a header that stands in the table (RFC 7541, section 6.1)

_CONFIGURATION: Final = H2Configuration(
    client_side=True,
    header_encoding=None,
    # The headers are ours and right; of the answer's, three are looked at.
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
)


class ClientConnection(H2Connection):
    """Leaves to `Streams` what h2 would do at a cost that grows with the number of open streams."""

    def __init__(self) -> None:
        """Begin without a peer."""
        super().__init__(_CONFIGURATION)
        self.state_machine = _Patient()
        self.encoder = _Encoder()
        self.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})

    @property
    def open_outbound_streams(self) -> int:
        """Return 0: `Streams` counts the slots itself; h2 would look at every stream for each request."""
        return 0

    def forget_closed(self) -> None:
        """Drop what h2 keeps of closed streams; it does so when it counts."""
        _ = super().open_outbound_streams

    def clear_outbound_data_buffer(self) -> None:
        """Keep what is not sent yet when a GOAWAY comes: it may belong to streams that are still served."""


class _Patient(H2ConnectionStateMachine):
    """Takes frames after a GOAWAY: the answers to what the peer has seen (RFC 9113, section 6.8)."""

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        """Do nothing at a GOAWAY, where h2 would take the connection for closed."""
        if input_ is ConnectionInputs.RECV_GOAWAY:
            return []
        return super().process_input(input_)


class _Encoder(Encoder):
    """Writes headers as Apple asks for, and plainly: Huffman coding takes more time than all the rest.

    What differs from request to request stays out of the small table of headers. Apple names
    the fields ("Sending notification requests to APNs", about HPACK).
    """

    _VARYING: Final[Mapping[bytes, bytes]] = {
        # A literal that is never indexed, with a new name (RFC 7541, section 6.2.3).
        name: b"\x10" + bytes([len(name)]) + name
        for name in (b":path", b"authorization", b"apns-id", b"apns-expiration", b"apns-collapse-id")
    }

    def __init__(self) -> None:
        super().__init__()
        self._indexed: dict[tuple[bytes, bytes], bytes] = {}

    def encode(self, headers: Iterable[tuple[bytes, bytes]], huffman: bool = False) -> bytes:  # type: ignore[override]
        """Return the header block."""
        block: list[bytes | bytearray] = []
        if self.header_table.resized:
            self._indexed.clear()
            block.append(super().encode(()))
        for header in headers:
            name, value = header
            literal = self._VARYING.get(name)
            if literal is None:
                block.append(self._indexed.get(header) or self._index(header))
            else:
                block += literal, encode_integer(len(value), 7), value
        return b"".join(block)

    def _index(self, header: tuple[bytes, bytes]) -> bytes:
        """Write a header, and remember how if it is by its place; each new header moves the others."""
        encoded = self.add(header, sensitive=False)
        if encoded[0] & _INDEXED:
            self._indexed[header] = encoded
        else:
            self._indexed.clear()
        return encoded
