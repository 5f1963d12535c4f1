"""The RFC 6455 codec: golden bytes, every rule with its close code, and properties."""

import os
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, ModuleSpec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import FrameError
from gobbler.websocket import frames
from gobbler.websocket.frames import (
    BINARY,
    CLOSE,
    CONT,
    HEADERS,
    PING,
    PONG,
    TEXT,
    CloseCode,
    Event,
    Parser,
    apply_mask,
    close_payload,
    encode,
    encode_masked,
    header,
    may_be_sent,
    parse_close,
    xor,
)
from tests.websocket.wire import MASK, bytewise, client, pieces

LIMIT = 1000
FIN = 0x80

PROTOCOL, PAYLOAD, TOO_BIG = CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_PAYLOAD, CloseCode.TOO_BIG

Outcome = tuple[list[Event], tuple[int, str] | None, bool, int]


def read(*bursts: bytes, limit: int = LIMIT, masked: bool = True) -> Outcome:
    """Feed the bursts to a new parser; return all events and how it stands then."""
    parser = Parser(limit, masked)
    events = [event for burst in bursts for event in parser.feed(burst)]
    error = None if parser.error is None else (parser.error.close_code, parser.error.reason)
    return events, error, parser.closed, parser.pending


# Golden bytes


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        ("81 05 48656c6c6f", [(TEXT, b"Hello")]),
        ("01 03 48656c 80 02 6c6f", [(TEXT, b"Hello")]),
        ("89 05 48656c6c6f", [(PING, b"Hello")]),
        ("8a 05 48656c6c6f", [(PONG, b"Hello")]),
        ("82 7e 0100" + "aa" * 256, [(BINARY, b"\xaa" * 256)]),
        ("82 7f 0000000000010000" + "aa" * 65536, [(BINARY, b"\xaa" * 65536)]),
        ("82 00 88 00", [(BINARY, b""), (CLOSE, b"")]),
        ("88 02 03e8", [(CLOSE, b"\x03\xe8")]),
    ],
)
def test_frames_of_a_server_as_in_the_examples_of_section_5_7(wire: str, events: list[Event]) -> None:
    data = bytes.fromhex(wire)
    assert read(data, limit=1 << 20, masked=False)[:2] == (events, None)
    if data[0] & FIN and len(events) == 1:
        assert encode(events[0][1], events[0][0]) == data


@pytest.mark.parametrize(
    ("wire", "event"),
    [
        ("81 85 37fa213d 7f9f4d5158", (TEXT, b"Hello")),
        ("8a 85 37fa213d 7f9f4d5158", (PONG, b"Hello")),
        ("82 80 37fa213d", (BINARY, b"")),
        ("82 fe 007e 37fa213d" + "37fa213d" * 31 + "37fa", (BINARY, bytes(126))),
        ("82 ff 0000000000010000 37fa213d" + "37fa213d" * 16384, (BINARY, bytes(65536))),
    ],
)
def test_frames_of_a_client_as_in_the_examples_of_section_5_7(wire: str, event: Event) -> None:
    data = bytes.fromhex(wire)
    assert encode_masked(event[1], MASK, event[0]) == data
    assert read(data, limit=1 << 20) == ([event], None, False, 0)


def test_an_unfinished_frame_is_encoded_without_fin() -> None:
    assert encode_masked(b"He", bytes(4), TEXT, fin=False) == b"\x01\x82\0\0\0\0He"
    assert encode_masked(b"llo", bytes(4), CONT) == b"\x80\x83\0\0\0\0llo"


@pytest.mark.parametrize("length", [0, 1, 125, 126, 4095, 4096, 65535, 65536, 1 << 40])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE])
def test_headers_have_the_shortest_length_field(length: int, opcode: int) -> None:
    head = header(length, opcode)
    assert head[0] == FIN | opcode
    assert len(head) == 2 if length < 126 else 4 if length < 65536 else 10
    assert (head[1] if len(head) == 2 else int.from_bytes(head[2:], "big")) == length


def test_the_table_of_headers_is_what_header_returns() -> None:
    assert [header(length) for length in range(4096)] == list(HEADERS)
    assert HEADERS[0] == b"\x82\x00"
    assert HEADERS[4095] == b"\x82\x7e\x0f\xff"


# Violations: what has been read before is returned, the close code is kept, the rest is ignored

LONG = b"\x82\xff"  # a header with a length of 64 bits to follow
BAD_TEXT = [
    b"\x80",  # a continuation of nothing
    b"\xc0\xaf",  # overlong
    b"\xed\xa0\x80",  # a surrogate
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    b"\xfe",
    "ß".encode()[:1],  # ends within a character
    "語".encode()[:2],
    "𝄞".encode()[:3],
]

VIOLATIONS = {
    # section 5.2
    **{f"RSV{n}": (bytes((0xC2 if n == 1 else FIN | 0x80 >> n | 2,)), PROTOCOL) for n in (1, 2, 3)},
    "RSV on a control frame": (b"\xd9", PROTOCOL),
    **{f"opcode {n:#x}": (bytes((FIN | n,)), PROTOCOL) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "64-bit length with its top bit": (LONG + b"\x80" + bytes(7), PROTOCOL),
    "64-bit length for 65535": (LONG + (65535).to_bytes(8, "big"), PROTOCOL),
    "64-bit length for 0": (LONG + bytes(8), PROTOCOL),
    "16-bit length for 125": (b"\x82\xfe\x00\x7d" + MASK + bytes(125), PROTOCOL),
    "16-bit length for 0": (b"\x82\xfe\x00\x00" + MASK, PROTOCOL),
    # section 5.1
    "not masked": (encode(b"x"), PROTOCOL),
    "control frame not masked": (encode(b"x", PING), PROTOCOL),
    "long frame not masked": (encode(bytes(200)), PROTOCOL),
    "not masked, the payload like a length of 16 bits": (encode(b"\x00\x80") + bytes(200), PROTOCOL),
    # section 5.4
    "continuation of nothing": (client(CONT, b"x"), PROTOCOL),
    "open continuation of nothing": (client(CONT, b"x", fin=False), PROTOCOL),
    "continuation after the end": (
        client(TEXT, b"a", fin=False) + client(CONT, b"b") + client(CONT, b"c"),
        PROTOCOL,
    ),
    "text in a fragmented message": (client(TEXT, b"a", fin=False) + client(TEXT, b"b"), PROTOCOL),
    "binary in a fragmented message": (client(BINARY, b"", fin=False) + client(BINARY, b"b"), PROTOCOL),
    # section 5.5
    **{f"control frame {n:#x} of 126 bytes": (bytes((FIN | n, 0xFE)), PROTOCOL) for n in (CLOSE, PING, PONG)},
    **{f"control frame {n:#x} without FIN": (client(n, b"", fin=False), PROTOCOL) for n in (8, 9, 10)},
    "control frame with a 64-bit length": (b"\x89\xff", PROTOCOL),
    # section 8.1
    **{f"text {bad.hex()}": (client(TEXT, b"ok" + bad), PAYLOAD) for bad in BAD_TEXT},
    **{
        f"fragments {bad.hex()}": (client(TEXT, bad, fin=False) + client(CONT, b"!"), PAYLOAD)
        for bad in BAD_TEXT
    },
    "a text that ends within a character, then nothing": (
        client(TEXT, b"\xe2\x82", fin=False) + client(CONT, b""),
        PAYLOAD,
    ),
    # sizes
    "one byte too many": (client(BINARY, bytes(LIMIT + 1)), TOO_BIG),
    "announced in 16 bits": (b"\x82\xfe" + (LIMIT + 1).to_bytes(2, "big"), TOO_BIG),
    "announced in 64 bits": (LONG + (1 << 62).to_bytes(8, "big"), TOO_BIG),
    "announced in 64 bits that begin like 16": (LONG + b"\x00\x80" + bytes(206), TOO_BIG),
    "sum of fragments": (client(TEXT, b"x" * LIMIT, fin=False) + client(CONT, b"y"), TOO_BIG),
}


@pytest.mark.parametrize("cut", [lambda wire: [wire], bytewise], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("wire", "code"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violations(wire: bytes, code: int, cut: Callable[[bytes], list[bytes]]) -> None:
    before = client(BINARY, b"before") + client(PING, b"")
    parser = Parser(LIMIT)
    events = [event for burst in cut(before + wire) for event in parser.feed(burst)]
    assert events[:2] == [(BINARY, b"before"), (PING, b"")]
    assert all(event[1] == b"ab" for event in events[2:])  # of "continuation after the end"
    assert parser.error is not None
    assert parser.error.close_code == code
    assert len(parser.error.reason.encode()) < 124
    assert (parser.closed, parser.pending) == (True, 0)
    assert parser.feed(client(BINARY, b"after")) == []


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (client(BINARY, b"x"), PROTOCOL),
        (client(PING, b"x"), PROTOCOL),
        (encode_masked(b"x", b"\x00\x80\x00\x00") + bytes(200), PROTOCOL),
        (encode(b"ok\xff", TEXT), PAYLOAD),
        (b"\x01\x01\xff", PAYLOAD),
        (encode(bytes(LIMIT + 1)), TOO_BIG),
        (b"\x82\x7e\x00\x7d" + bytes(125), PROTOCOL),
        (b"\x80\x00", PROTOCOL),
    ],
)
def test_violations_of_a_server(wire: bytes, code: int) -> None:
    events, error, closed, _pending = read(encode(b"before") + wire, masked=False)
    assert events == [(BINARY, b"before")]
    assert error is not None
    assert (error[0], closed) == (code, True)


@pytest.mark.parametrize(
    ("wire", "masked", "reason"),
    [
        (encode(b"x"), True, "frame is not masked"),
        (client(BINARY, b"x"), False, "frame is masked"),
        (LONG + bytes(8), True, "length is not in its shortest form"),
        (client(CONT, b"x"), True, "continuation of no message"),
        (client(BINARY, bytes(LIMIT + 1)), True, "message is larger than 1000 bytes"),
    ],
)
def test_reasons(wire: bytes, masked: bool, reason: str) -> None:
    error = read(wire, masked=masked)[1]
    assert error is not None
    assert error[1] == reason


@pytest.mark.parametrize("limit", [0, 1, 10, 125, 126, 127, 1000, 65535, 65536, 70000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("masked", [True, False])
def test_the_limit_is_the_last_size_that_passes(limit: int, opcode: int, masked: bool) -> None:
    pack: Callable[[int, bytes], bytes] = (
        client if masked else lambda opcode, payload: encode(payload, opcode)
    )
    fits, too_much = b"x" * limit, b"x" * (limit + 1)
    assert read(pack(opcode, fits), limit=limit, masked=masked) == ([(opcode, fits)], None, False, 0)
    events, error, _closed, _pending = read(pack(opcode, too_much), limit=limit, masked=masked)
    assert (events, error and error[0]) == ([], TOO_BIG)


def test_the_limit_is_not_for_control_frames() -> None:
    assert read(client(PING, bytes(125)), limit=0)[:2] == ([(PING, bytes(125))], None)


@pytest.mark.parametrize("bad", BAD_TEXT[:5])
def test_bad_text_fails_within_a_frame_that_is_not_whole(bad: bytes) -> None:
    """As Autobahn's 6.4.3 and 6.4.4: at the first byte that cannot be right."""
    wire = client(TEXT, "κόσμε".encode() + bad + b"edited")
    end = 6 + len("κόσμε".encode()) + min(len(bad), 2)
    assert read(wire[: end - 2])[1] is None
    assert read(wire[:end])[1] == (PAYLOAD, "text is not UTF-8")


# What is allowed


def test_control_frames_may_stand_between_fragments() -> None:
    wire = (
        client(TEXT, "zwölf ".encode()[:3], fin=False)
        + client(PING, b"1")
        + client(CONT, "zwölf ".encode()[3:], fin=False)
        + client(PONG, b"2")
        + client(CONT, b"", fin=False)
        + client(CONT, b"Boxer")
        + client(BINARY, b"\xff")
    )
    expected = [(PING, b"1"), (PONG, b"2"), (TEXT, "zwölf Boxer".encode()), (BINARY, b"\xff")]
    assert read(wire) == (expected, None, False, 0)
    assert read(*bytewise(wire)) == (expected, None, False, 0)


def test_a_character_may_be_cut_anywhere() -> None:
    text = "aß語𝄞".encode()
    wire = b"".join(client(TEXT if n == 0 else CONT, text[n : n + 1], fin=False) for n in range(len(text)))
    assert read(wire + client(CONT, b""))[0] == [(TEXT, text)]


def test_nothing_is_read_after_a_close_frame() -> None:
    parser = Parser(LIMIT)
    wire = client(BINARY, b"a") + client(CLOSE, b"\x03\xe8") + client(BINARY, b"b") + b"\xff"
    assert parser.feed(wire) == [(BINARY, b"a"), (CLOSE, b"\x03\xe8")]
    assert (parser.error, parser.closed, parser.pending) == (None, True, 0)
    assert parser.feed(client(BINARY, b"c")) == []


def test_a_close_frame_ends_a_message_that_is_not_whole() -> None:
    parser = Parser(LIMIT)
    assert parser.feed(client(TEXT, b"abc", fin=False) + client(CLOSE, b"")) == [(CLOSE, b"")]
    assert parser.pending == 0


@pytest.mark.parametrize(
    ("wire", "held"),
    [
        (b"", 0),
        (client(BINARY, b"abc"), 0),
        (client(BINARY, b"abc")[:1], 1),
        (client(BINARY, b"abc")[:5], 5),
        (client(PING, b"abc")[:8], 8),
        (client(BINARY, b"")[:5], 5),
        (client(BINARY, b"abc")[:6], 1),
        (client(BINARY, b"abc")[:8], 2),
        (client(BINARY, b"", fin=False), 1),
        (client(BINARY, b"abc", fin=False), 3),
        (client(BINARY, b"abc", fin=False) + b"\x80", 4),
    ],
)
def test_pending_counts_what_is_held(wire: bytes, held: int) -> None:
    assert read(wire)[3] == held


# Close payloads


def test_close_payloads() -> None:
    assert close_payload(1000) == b"\x03\xe8"
    assert close_payload(CloseCode.TOO_BIG, "zu groß") == b"\x03\xf1zu gro\xc3\x9f"
    assert close_payload(CloseCode.NO_STATUS, "ignored") == b""
    assert parse_close(b"") == (1005, "")
    assert parse_close(b"\x03\xe8") == (1000, "")
    assert parse_close(b"\x03\xf1zu gro\xc3\x9f") == (1009, "zu groß")


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("x" * 200, b"x" * 123),
        ("x" * 122 + "ß", b"x" * 122),
        ("x" * 121 + "ß", b"x" * 121 + "ß".encode()),
        ("𝄞" * 40, "𝄞".encode() * 30),
        ("lone \udc80 surrogate", b"lone ? surrogate"),
    ],
)
def test_a_reason_is_cut_between_characters(reason: str, sent: bytes) -> None:
    payload = close_payload(1000, reason)
    assert payload == b"\x03\xe8" + sent
    assert parse_close(payload) == (1000, sent.decode())


SENDABLE = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


def test_codes_that_may_be_sent() -> None:
    assert {code for code in range(1 << 16) if may_be_sent(code)} == SENDABLE


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_codes_that_must_not_be_sent(code: int) -> None:
    """Autobahn's 7.9 and 7.13."""
    with pytest.raises(FrameError) as caught:
        parse_close(code.to_bytes(2, "big") + b"why")
    assert caught.value.close_code == PROTOCOL
    if code != CloseCode.NO_STATUS:
        with pytest.raises(ValueError, match=str(code)):
            close_payload(code)


@pytest.mark.parametrize(("payload", "code"), [(b"\x03", PROTOCOL), (b"\x03\xe8\xff", PAYLOAD)])
def test_bad_close_payloads(payload: bytes, code: int) -> None:
    with pytest.raises(FrameError, match=r"invalid close code|close reason is not UTF-8") as caught:
        parse_close(payload)
    assert caught.value.close_code == code


@given(st.binary(max_size=125))
def test_a_close_payload_is_parsed_or_refused(payload: bytes) -> None:
    try:
        code, reason = parse_close(payload)
    except FrameError as error:
        assert error.close_code in (PROTOCOL, PAYLOAD)  # noqa: PT017 - not every payload is refused
    else:
        assert close_payload(code, reason) == payload


# Masking


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_both_ways_to_mask_agree(data: bytes, mask: bytes) -> None:
    plain = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
    assert xor(data, mask) == plain
    assert apply_mask(data, mask) == plain


def test_the_extension_is_used_where_it_is_built() -> None:
    assert apply_mask is not xor
    assert frames._load_apply_mask() is not xor


def test_without_the_package_the_xor_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "find_spec", lambda name: None)
    assert frames._load_apply_mask() is xor


class NoExtension:
    """Finds nothing, as where `websockets` was installed without a compiler."""

    @staticmethod
    def find_spec(name: str, path: list[str]) -> ModuleSpec | None:
        assert path  # the folder of the package
        return None


class BrokenExtension:
    """Finds a file that is no library, as one that was built for another machine."""

    @staticmethod
    def find_spec(name: str, path: list[str]) -> ModuleSpec | None:
        loader = ExtensionFileLoader(name, os.devnull)
        return ModuleSpec(name, loader, origin=os.devnull)


def test_without_the_extension_the_xor_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{frames.__name__}.PathFinder", NoExtension)
    assert frames._load_apply_mask() is xor


def test_with_a_broken_extension_the_xor_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{frames.__name__}.PathFinder", BrokenExtension)
    assert frames._load_apply_mask() is xor


# Properties

masks = st.binary(min_size=4, max_size=4)
texts = st.text(max_size=60).map(str.encode)
bodies = st.one_of(texts, st.binary(max_size=140), st.integers(0, LIMIT).map(bytes))
messages = st.one_of(st.tuples(st.just(TEXT), texts), st.tuples(st.just(BINARY), bodies))
controls = st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125))
cuts = st.lists(st.integers(0, 1 << 16), max_size=8)

# Mostly right, sometimes anything: a frame whose parts were each chosen freely, or plain junk.
free_frames = st.builds(
    encode_masked,
    bodies,
    masks,
    st.sampled_from((CONT, CONT, TEXT, BINARY, PING, PONG, CLOSE, 3)),
    st.booleans(),
)
junk = st.binary(max_size=30)
streams = st.lists(st.one_of(free_frames, messages.map(lambda m: client(*m)), junk), max_size=10).map(
    b"".join
)


@given(st.one_of(streams, st.binary(max_size=200)), cuts, st.booleans())
def test_bursts_do_not_matter(stream: bytes, where: list[int], masked: bool) -> None:
    whole = read(stream, masked=masked)
    assert read(*pieces(stream, where), masked=masked) == whole
    assert read(*bytewise(stream), masked=masked) == whole


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Event], bytes]:
    """Draw events and one way of writing them: fragmented, with control frames between fragments."""
    events: list[Event] = []
    wire = b""
    for opcode, payload in draw(st.lists(messages, max_size=6)):
        parts = pieces(payload, draw(st.lists(st.integers(0, 1000), max_size=3)))
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            wire += encode_masked(part, draw(masks), CONT if number else opcode, last)
            if last:
                events.append((opcode, payload))
            if draw(st.booleans()):
                events.append(draw(controls))
                wire += encode_masked(events[-1][1], draw(masks), events[-1][0])
    return events, wire


@given(conversations(), cuts)
def test_what_was_written_is_read(conversation: tuple[list[Event], bytes], where: list[int]) -> None:
    events, wire = conversation
    assert read(*pieces(wire, where)) == (events, None, False, 0)


@given(st.lists(st.one_of(messages, controls), max_size=10), cuts)
def test_what_a_server_writes_is_read(events: list[Event], where: list[int]) -> None:
    wire = b"".join(encode(payload, opcode) for opcode, payload in events)
    assert read(*pieces(wire, where), masked=False) == (events, None, False, 0)
