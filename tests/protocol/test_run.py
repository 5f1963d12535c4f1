"""Runs: what a publisher's burst becomes on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.protocol.message import Message
from gobbler.protocol.notification import send_ok
from gobbler.protocol.run import Run
from gobbler.websocket.frames import Parser, encode

FIELD = st.text(st.characters(exclude_characters=",", exclude_categories=("C", "Z")), max_size=8).map(
    str.encode
)
NAMES = st.one_of(FIELD, st.sampled_from([b"", b"42", b'"', b"%d", b"\\", b'{"sequenceId": "0"']))
PATHS = st.sampled_from([b"/foo", b"/f%d/\xc3\xbc", b'/"q"', b"/" + b"x" * 1000])


def payloads(raw: bytes) -> list[bytes]:
    """Return the payloads of a server's frames."""
    parser = Parser(1 << 24, masked=False)
    found = [payload for _, payload in parser.feed(raw)]
    assert parser.error is None
    assert not parser.pending
    return found


def run(tails: list[bytes], names: list[bytes] | None = None, path: bytes = b"/foo") -> Run:
    return Run(path, b"marvin", b"phone", tails, names)


def test_a_frame_and_its_answer_byte_by_byte() -> None:
    one = run([b'{"a":1}\nhello'])
    assert one.frames(42, 1420110000) == [b'\x82\x2e/foo,42,marvin,phone,,1420110000\n{"a":1}\nhello']
    assert payloads(one.answers(42, 1420110000)) == [
        b'#send \n{"sequenceId": "42", "path": "/foo", "publisherMessageId": "", '
        b'"messagePublishingTime": "1420110000"}'
    ]


@given(
    path=PATHS,
    bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=30),
    first_id=st.sampled_from([1, 8, 9, 10, 95, 99, 9_990, 2**53 - 40]),
    time=st.integers(0, 2**32),
    data=st.data(),
)
def test_frames_decode_to_the_messages(
    path: bytes, bodies: list[bytes], first_id: int, time: int, data: st.DataObject
) -> None:
    size = len(bodies)
    names = data.draw(st.none() | st.lists(NAMES, min_size=size, max_size=size))
    made = run([b"\n" + body for body in bodies], names, path)
    frames = made.frames(first_id, time)
    expected = [
        Message(path, id, b"marvin", b"phone", name, time, b"", body)
        for id, (name, body) in enumerate(zip(names or [b""] * size, bodies, strict=True), first_id)
    ]
    assert [Message.decode(payload) for payload in payloads(b"".join(frames))] == expected
    assert [encode(message.encode()) for message in expected] == frames


@given(path=PATHS, first_id=st.sampled_from([1, 9, 10, 99, 2**53 - 40]), names=st.lists(NAMES, min_size=1))
def test_answers_are_those_of_each_message(path: bytes, first_id: int, names: list[bytes]) -> None:
    made = run([b"\n"] * len(names), names, path)
    expected = b"".join(encode(send_ok(name, path, id, 17)) for id, name in enumerate(names, first_id))
    assert made.answers(first_id, 17) == expected


@pytest.mark.parametrize("number", [1, 2, 12, 120])
def test_answers_without_ids(number: int) -> None:
    expected = b"".join(encode(send_ok(b"", b"/foo", id, 17)) for id in range(95, 95 + number))
    assert run([b"\nx"] * number).answers(95, 17) == expected


def test_a_body_too_long_for_the_table_of_headers() -> None:
    tails = [b"\n" + b"x" * 5000, b"\n" + b"y" * 70000, b"\nz"]
    found = payloads(b"".join(run(tails).frames(1, 17)))
    assert [Message.decode(payload).body for payload in found] == [tail[1:] for tail in tails]


def test_the_key_has_the_filters() -> None:
    assert run([b"\n"]).key == b"/foo"
    assert Run(b"/foo", b"", b"", [b"\n"], filters=b'{"a":"b"}').key == b'/foo\0{"a":"b"}'


def test_singles_are_the_run_one_by_one() -> None:
    made = Run(b"/foo", b"u", b"a", [b"\nx", b"\ny"], [b"", b"7"], b"{}")
    whole = made.frames(9, 17)
    assert [single.frames(id, 17)[0] for id, single in enumerate(made.singles(), 9)] == whole
    assert {single.filters for single in made.singles()} == {b"{}"}
