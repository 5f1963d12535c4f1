"""Batches: taking a send at a glance gives what parsing it gives."""

from hypothesis import given
from hypothesis import strategies as st

from gobbler.protocol.command import Send, parse
from gobbler.websocket.batch import Batch

PATH = b"/foo"
PIECES = st.sampled_from(
    [
        b">",
        b" ",
        b"/foo",
        b"/foo/",
        b"/foobar",
        b"\n",
        b"\n\n",
        b"42",
        b"a-b",
        b"a,b",
        b"%d",
        b'"',
        b'{"a":1}',
        b"k: v",
    ]
)
PAYLOADS = st.lists(PIECES, max_size=8).map(b"".join).map(lambda rest: b"> " + rest)


def glance(batch: Batch, payload: bytes) -> bool:
    """Do what a session does with a payload before it parses it."""
    if payload.startswith(batch.head):
        batch.tails.append(payload[len(batch.head) - 1 :])
        return True
    return batch.take(payload)


@given(payload=st.one_of(PAYLOADS, st.binary()))
def test_a_glance_never_differs_from_the_parser(payload: bytes) -> None:
    seen, parsed = Batch(PATH), Batch(PATH)
    if not glance(seen, payload):
        return
    command = parse(payload)
    assert isinstance(command, Send)
    assert parsed.add(command)
    one, other = seen.run(b"u", b"a"), parsed.run(b"u", b"a")
    assert one is not None
    assert other is not None
    assert (one.tails, one.message_ids or [b""]) == (other.tails, other.message_ids or [b""])


def test_usual_sends_are_seen_at_a_glance() -> None:
    batch = Batch(PATH)
    for payload in (b"> /foo\n\nx", b"> /foo 42\n\ny", b"> /foo\n\n", b"> /foo a-b_c.d:e\n\nz\n"):
        assert glance(batch, payload)
    run = batch.run(b"u", b"a")
    assert run is not None
    assert run.tails == [b"\nx", b"\ny", b"\n", b"\nz\n"]
    assert run.message_ids == [b"", b"42", b"", b"a-b_c.d:e"]
    assert batch.run(b"u", b"a") is None


def test_unusual_sends_are_left_to_the_parser() -> None:
    batch = Batch(PATH)
    unusual = (
        b"> /foo\nk: v\n\nx",
        b"> /foo 42\nk: v\n\nx",
        b"> /foo 42",
        b"> /foo a,b\n\nx",
        b"> /foo " + b"i" * 257 + b"\n\nx",
        b"> /foo/bar\n\nx",
        b"> /foobar\n\nx",
        b"+ /foo",
    )
    assert not any(glance(batch, payload) for payload in unusual)
    assert batch.run(b"u", b"a") is None


def test_only_sends_to_its_path_are_added() -> None:
    batch = Batch(PATH)
    assert batch.add(Send(PATH, b"7", b"{}", b"x"))
    assert not batch.add(Send(b"/bar"))
    assert not Batch().add(Send(PATH))


def test_a_batch_without_path_takes_nothing() -> None:
    assert not any(glance(Batch(), payload) for payload in (b"", b"> \n\n", b"> /foo\n\nx", b">  x\n\n"))
