"""RFC 6455 frames as a pure codec: bytes in, events out; no socket, no clock.

A frame on the wire (RFC 6455, section 5.2):

     0               1               2               3
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R|R|R| opcode|M| length (7)  | length (16 or 64), if the     |
    |I|S|S|S|  (4)  |A|             | 7 bits are 126 or 127         |
    |N|V|V|V|       |S|             |                               |
    | |1|2|3|       |K|             |                               |
    +-+-+-+-+-------+-+-------------+-------------------------------+
    | masking key (32), if MASK is set: client to server, always    |
    +---------------------------------------------------------------+
    | payload                                                       |
    +---------------------------------------------------------------+

`Parser.feed` takes a whole read burst and returns everything that became complete in it. Almost all
frames are final, small and whole: a tight loop reads those. Whatever it does not know (fragments,
control frames, large or cut frames, violations) it leaves to the slow path, which knows every rule;
so a rule is written down once.
"""

import codecs
from collections.abc import Callable
from enum import IntEnum
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec

from gobbler.errors import FrameError

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
"""The opcodes of RFC 6455, section 5.2; all others are reserved."""

MAX_CONTROL = 125
"""The most bytes that the payload of a control frame may have (section 5.5)."""

Event = tuple[int, bytes]
"""An opcode and an unmasked payload: a whole message (TEXT, BINARY) or a control frame."""

_FIN = 0x80
_RSV = 0x70
_CONTROL = 0x08  # the bit that control frames have in their opcode
_MASK = 0x80
_FINAL_TEXT, _FINAL_BINARY = _FIN | TEXT, _FIN | BINARY
_LENGTH_16, _LENGTH_64 = 126, 127  # in place of a length: it follows in so many bits
_SHORTEST = {2: 126, 8: 1 << 16}  # the least length that needs a field of so many bytes
_OPCODES = frozenset((CONT, TEXT, BINARY, CLOSE, PING, PONG))


class CloseCode(IntEnum):
    """Close codes of RFC 6455, section 7.4.1, and of IANA's registry."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005  # never on the wire: stands for a close frame without a code
    ABNORMAL = 1006  # never on the wire: stands for a connection that ended without a close frame
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014


_SENDABLE = frozenset(CloseCode) - {CloseCode.NO_STATUS, CloseCode.ABNORMAL}


def xor(data: bytes, mask: bytes) -> bytes:
    """Mask or unmask (section 5.3) without the C extension: one XOR of two big integers."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def _load_apply_mask() -> Callable[[bytes, bytes], bytes]:
    """Take the XOR from the C extension of the package `websockets`, or ours where it was not built.

    The extension is loaded without its package: `websockets/__init__` imports importlib.metadata,
    email and with it socket, which is 45 ms of every start and would end the purity of this module.
    It goes by a name of ours, since an extension enters itself into `sys.modules`, and whoever imports
    `websockets` later must find that package whole.
    """
    package = find_spec("websockets")
    folders = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec("gobbler.websocket.speedups", folders) if folders is not None else None
    if spec is None or spec.loader is None:
        return xor
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:  # built for another machine
        return xor
    found: Callable[[bytes, bytes], bytes] = module.apply_mask
    return found


apply_mask = _load_apply_mask()
"""`apply_mask(data, mask) -> bytes`: XOR with the four bytes of `mask`, repeated (section 5.3)."""


# Writing


def _head(first: int, length: int, mask_bit: int) -> bytes:
    """Pack the first byte and the length, in the fewest bytes as section 5.2 demands."""
    if length < _SHORTEST[2]:
        return bytes((first, mask_bit | length))
    if length < _SHORTEST[8]:
        return bytes((first, mask_bit | _LENGTH_16)) + length.to_bytes(2, "big")
    return bytes((first, mask_bit | _LENGTH_64)) + length.to_bytes(8, "big")


HEADERS = tuple(_head(_FIN | BINARY, length, 0) for length in range(4096))
"""The headers of a server's binary frames, by payload length; for loops that encode many."""


def header(length: int, opcode: int = BINARY) -> bytes:
    """Return the header of a server's frame: final, not masked, `length` payload bytes to follow."""
    if opcode == BINARY and length < len(HEADERS):
        return HEADERS[length]
    return _head(_FIN | opcode, length, 0)


def encode(payload: bytes, opcode: int = BINARY) -> bytes:
    """Return a server's frame: final and not masked (section 5.1)."""
    return header(len(payload), opcode) + payload


def encode_masked(payload: bytes, mask: bytes, opcode: int = BINARY, fin: bool = True) -> bytes:
    """Return a client's frame, masked with the four bytes of `mask` (section 5.3).

    Section 10.3 wants a fresh, unpredictable mask for every frame; choosing it is the caller's part.
    """
    first = opcode | _FIN if fin else opcode
    return _head(first, len(payload), _MASK) + mask + apply_mask(payload, mask)


def may_be_sent(code: int) -> bool:
    """Tell whether a close frame may carry `code` (section 7.4).

    1004 to 1006 and 1015 are reserved, the rest of 1000 to 2999 waits for a registration, 3000 to
    4999 belong to frameworks and applications.
    """
    return code in _SENDABLE or code in range(3000, 5000)


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame (section 5.5.1); no bytes for `CloseCode.NO_STATUS`.

    The reason is cut between two characters so that the payload fits a control frame.

    Raises:
        ValueError: `code` must never be sent.
    """
    if code == CloseCode.NO_STATUS:
        return b""
    if not may_be_sent(code):
        raise ValueError(f"close code {code} must never be sent")
    text = reason.encode("utf-8", "replace")[: MAX_CONTROL - 2].decode("utf-8", "ignore")
    return code.to_bytes(2, "big") + text.encode()


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a close frame; 1005 and no reason when it is empty (section 7.1.5).

    Raises:
        FrameError: 1002 for half a code or one that may not be sent, 1007 for a reason that is not
            UTF-8.
    """
    if not payload:
        return int(CloseCode.NO_STATUS), ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not may_be_sent(code):
        raise FrameError(CloseCode.PROTOCOL_ERROR, "invalid close code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(CloseCode.INVALID_PAYLOAD, "close reason is not UTF-8") from None


# Reading: the fast loops


def _is_text(payload: bytes) -> bool:
    """Tell whether the bytes are whole UTF-8."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_masked(data: bytes, pos: int, max_size: int, events: list[Event]) -> int:
    """Read simple frames of a client from `pos` on; return where the first other one begins.

    Simple: whole, final, masked, TEXT or BINARY, no extension bits, at most 65,535 bytes and
    `max_size`, valid. Only called between messages. This is the hot path: local names, one exit for
    everything unusual, and no test that the slow path can make as well.
    """
    end = len(data)
    last = end - 3  # so that the four bytes looked at below are there
    small = min(_LENGTH_16 - 1, max_size)
    unmask, append = apply_mask, events.append
    while pos < last:
        first = data[pos]
        length = data[pos + 1] - 128  # negative when not masked
        if 0 <= length <= small:
            start = pos + 6
        elif length == _LENGTH_16:
            length = data[pos + 2] << 8 | data[pos + 3]
            if not _LENGTH_16 <= length <= max_size:
                break
            start = pos + 8
        else:
            break
        stop = start + length
        if stop > end:
            break
        if first == _FINAL_BINARY:
            append((BINARY, unmask(data[start:stop], data[start - 4 : start])))
        elif first == _FINAL_TEXT:
            payload = unmask(data[start:stop], data[start - 4 : start])
            if not payload.isascii() and not _is_text(payload):
                break
            append((TEXT, payload))
        else:
            break
        pos = stop
    return pos


def _read_plain(data: bytes, pos: int, max_size: int, events: list[Event]) -> int:
    """Do what `_read_masked` does with the unmasked frames of a server."""
    end = len(data)
    last = end - 3
    small = min(_LENGTH_16 - 1, max_size)
    while pos < last:
        length = data[pos + 1]
        if length <= small:
            start = pos + 2
        elif length == _LENGTH_16:
            length = data[pos + 2] << 8 | data[pos + 3]
            if not _LENGTH_16 <= length <= max_size:
                break
            start = pos + 4
        else:
            break
        stop = start + length
        first = data[pos]
        if stop > end or first not in (_FINAL_BINARY, _FINAL_TEXT):
            break
        payload = data[start:stop]
        if first == _FINAL_TEXT and not _is_text(payload):
            break
        events.append((first & 0xF, payload))
        pos = stop
    return pos


# Reading: the slow path


class _Message:
    """A data message that has begun: its bytes so far, and what is left of the current frame.

    `body` grows with what arrives, never by what a header announces, and holds a million one-byte
    fragments in little more than a million bytes.
    """

    __slots__ = ("body", "final", "left", "mask", "opcode", "tail")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.body = bytearray()
        self.tail = b""  # TEXT: the bytes of a character whose end has not arrived, at most three
        self.final = False  # of the current frame
        self.left = 0  # payload bytes of the current frame that have not arrived
        self.mask = b""  # empty when the frame is not masked

    @property
    def whole(self) -> bool:
        """Whether the last byte of the last frame has arrived."""
        return self.final and self.left == 0

    def add(self, chunk: bytes) -> bool:
        """Take a piece of the current frame as it was on the wire; False when it breaks UTF-8."""
        self.left -= len(chunk)
        if self.mask:
            turn = len(chunk) & 3
            chunk, self.mask = apply_mask(chunk, self.mask), self.mask[turn:] + self.mask[:turn]
        self.body += chunk
        return self.opcode == BINARY or self._check_text(chunk)

    def _check_text(self, chunk: bytes) -> bool:
        """Check the piece at once, so that bad text fails before its frame is whole (section 8.1)."""
        text = self.tail + chunk
        try:
            used = codecs.utf_8_decode(text, "strict", self.whole)[1]
        except UnicodeDecodeError:
            return False
        self.tail = text[used:]
        # The codec waits for the third byte of a surrogate, but there is no right one.
        return not (self.tail[:1] == b"\xed" and self.tail[1:] >= b"\xa0")


class Parser:
    """Turns the bytes of one connection into messages and control frames.

    `max_size` is the most bytes a message may have, all fragments together. `masked` tells the
    role of the peer: True reads a client's frames, False a server's (section 5.1). An idle parser
    holds no buffers. After a violation `error` says what to close the connection with; after that,
    or after a CLOSE frame, `closed` is True and further input is ignored (sections 7.1.7 and 5.5.1).
    """

    __slots__ = ("_message", "_rest", "closed", "error", "masked", "max_size")

    def __init__(self, max_size: int, masked: bool = True) -> None:
        """Start between two messages."""
        self.max_size = max_size
        self.masked = masked
        self.error: FrameError | None = None
        self.closed = False
        self._rest = b""  # the begin of a frame of which the header, or a control frame, is cut
        self._message: _Message | None = None

    @property
    def pending(self) -> int:
        """Bytes held of a frame or message that is not whole; at least 1 while there is one."""
        message = self._message
        return len(self._rest) + (0 if message is None else max(1, len(message.body)))

    def feed(self, data: bytes) -> list[Event]:
        """Return what became complete with this burst, in order, payloads unmasked.

        Never raises: a violation ends the list and is left in `error`, with the close code 1002
        (protocol), 1007 (not UTF-8) or 1009 (larger than `max_size`). Takes time in proportion to
        the burst, however the peer cuts it.
        """
        events: list[Event] = []
        if self.closed:
            return events
        if self._rest:
            data, self._rest = self._rest + data, b""
        try:
            self._read(data, events)
        except FrameError as error:
            # The traceback would keep this burst alive as long as the error.
            self.error = error.with_traceback(None)
            self.closed = True
        if self.closed:
            self._rest, self._message = b"", None
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        """Alternate between the fast loop and one frame of the slow path."""
        simple = _read_masked if self.masked else _read_plain
        pos, end = 0, len(data)
        while pos < end and not self.closed:
            if self._message is None:
                pos = simple(data, pos, self.max_size, events)
            elif self._message.left:
                pos = self._continue(self._message, data, pos, events)
                continue
            if pos < end:
                pos = self._frame(data, pos, events)

    def _frame(self, data: bytes, pos: int, events: list[Event]) -> int:
        """Begin the frame at `pos`; return where to go on. An incomplete header is put aside."""
        head = self._header(data, pos)
        if head is None:
            return self._keep(data, pos)
        length, start = head
        mask = data[start - 4 : start] if self.masked else b""
        if data[pos] & _CONTROL:
            return self._control(data, pos, start, start + length, events)
        message = self._message
        if message is None:
            self._message = message = _Message(data[pos] & 0x0F)
        message.final, message.left, message.mask = bool(data[pos] & _FIN), length, mask
        return self._continue(message, data, start, events)

    def _continue(self, message: _Message, data: bytes, pos: int, events: list[Event]) -> int:
        """Add what has arrived of the current data frame; emit the message when it is whole."""
        stop = min(pos + message.left, len(data))
        if not message.add(data[pos:stop]):
            raise FrameError(CloseCode.INVALID_PAYLOAD, "text is not UTF-8")
        if message.whole:
            events.append((message.opcode, bytes(message.body)))
            self._message = None
        return stop

    def _control(self, data: bytes, pos: int, start: int, stop: int, events: list[Event]) -> int:
        """Emit the control frame at `pos`, or put it aside: it is small and may be read again."""
        if stop > len(data):
            return self._keep(data, pos)
        payload = data[start:stop]
        if self.masked:
            payload = apply_mask(payload, data[start - 4 : start])
        opcode = data[pos] & 0x0F
        events.append((opcode, payload))
        self.closed = opcode == CLOSE
        return stop

    def _keep(self, data: bytes, pos: int) -> int:
        """Put the begin of a frame aside until more arrives: at most 130 bytes."""
        self._rest = data[pos:]
        return len(data)

    def _header(self, data: bytes, pos: int) -> tuple[int, int] | None:
        """Check the header at `pos`; return payload length and where the payload starts.

        None when it is cut. The checks go from the first byte to the last and each is made as soon as
        its bytes are there, so the verdict does not depend on how the stream was cut into bursts.
        """
        first = data[pos]
        self._check_first(first)
        if len(data) < pos + 2:
            return None
        second = data[pos + 1]
        if (second & _MASK != 0) is not self.masked:
            raise _violation("frame is not masked" if self.masked else "frame is masked")
        length, start = second & 0x7F, pos + 2
        if length > MAX_CONTROL:
            if first & _CONTROL:
                raise _violation("control frame is longer than 125 bytes")
            start += 2 if length == _LENGTH_16 else 8
            if start > len(data):
                return None
            length = _long_length(data[pos + 2 : start])
        if not first & _CONTROL:
            self._check_size(length)
        start += 4 if self.masked else 0
        return None if start > len(data) else (length, start)

    def _check_first(self, first: int) -> None:
        """Check bits and opcode (section 5.2), and their order among fragments (section 5.4)."""
        opcode = first & 0x0F
        if first & _RSV:
            raise _violation("reserved bits are set")
        if opcode not in _OPCODES:
            raise _violation("unknown opcode")
        if opcode & _CONTROL:
            if not first & _FIN:
                raise _violation("control frame is fragmented")
        elif opcode == CONT and self._message is None:
            raise _violation("continuation of no message")
        elif opcode != CONT and self._message is not None:
            raise _violation("new message inside a fragmented one")

    def _check_size(self, length: int) -> None:
        """Refuse a message when the header of a fragment announces too much, before its bytes come."""
        held = 0 if self._message is None else len(self._message.body)
        if held + length > self.max_size:
            raise FrameError(CloseCode.TOO_BIG, f"message is larger than {self.max_size} bytes")


def _long_length(field: bytes) -> int:
    """Return a length of 16 or 64 bits, refusing a longer form than needed (section 5.2)."""
    length = int.from_bytes(field, "big")
    if length >> 63:
        raise _violation("length has its top bit set")
    if length < _SHORTEST[len(field)]:
        raise _violation("length is not in its shortest form")
    return length


def _violation(reason: str) -> FrameError:
    """Return the error for a broken rule of the framing itself."""
    return FrameError(CloseCode.PROTOCOL_ERROR, reason)
