"""A session: every command and every answer, to the byte."""

from pathlib import Path

import gevent
import pytest

from gobbler.errors import StoreUnavailable
from gobbler.protocol import filters
from gobbler.store.base import Group, MessageStore
from gobbler.websocket import session as module
from gobbler.websocket.frames import BINARY, CLOSE, PING, TEXT
from tests.websocket.rig import (
    APP,
    TIME,
    Client,
    World,
    memory_store,
    message,
    wait_until,
    world,
)
from tests.websocket.wire import client as frame


@pytest.fixture
def marvin(there: World) -> Client:
    return there.connect("marvin")[0]


def sent(id: int, path: str, name: str = "") -> bytes:
    """Return the answer to a send."""
    return (
        f'#send {name}\n{{"sequenceId": "{id}", "path": "{path}", '
        f'"publisherMessageId": "{name}", "messagePublishingTime": "{TIME}"}}'
    ).encode()


def not_sent(text: str, path: str = "", name: str = "") -> bytes:
    return (
        f'!error-send {name} {text}\n{{"sequenceId": "", "path": "{path}", '
        f'"publisherMessageId": "{name}", "messagePublishingTime": "{TIME}"}}'
    ).encode()


def bad(text: str) -> bytes:
    return b"!error-bad-request " + text.encode()


# Greeting


def test_the_greeting(there: World) -> None:
    client, session = there.connect("käthe")
    session.greet()
    client.expect(
        b"#connected You are connected to the server.\n"
        b'{"ApplicationId": "app", "UserId": "k\xc3\xa4the", "Time": "1400000000"}'
    )
    there.metrics.sessions.dec()  # the rig has counted it as well
    assert there.metric("sessions_opened_total") == 1
    assert repr(session).startswith("<Session käthe app <Connection ")


# Send


def test_sends_and_their_answers(there: World, marvin: Client) -> None:
    marvin.send(
        b"> /foo\n\nhello", b"> /foo m1\n\nbinary \xff\x00\n\n", b"> /foo/bar/\n\n", b"> /foo", b"> /bar"
    )
    marvin.expect(
        sent(1, "/foo"), sent(2, "/foo", "m1"), sent(3, "/foo/bar"), sent(4, "/foo"), sent(1, "/bar")
    )
    marvin.send(b"+ /foo 0 9")
    marvin.expect(
        b"#fetch-start /foo 4",
        b"/foo,1,marvin,app,,1400000000\n\nhello",
        b"/foo,2,marvin,app,m1,1400000000\n\nbinary \xff\x00\n\n",
        b"/foo/bar,3,marvin,app,,1400000000\n\n",
        b"/foo,4,marvin,app,,1400000000\n\n",
        b"#fetch-done /foo",
    )


@pytest.mark.parametrize(
    ("rest", "headers", "body"),
    [
        (b"\n\n\nbody", b"", b"\nbody"),
        (b'\n{"a": 1}\n\nbody', b'{"a": 1}', b"body"),
        (b'\n{"a": 1}\nbody', b'{"a": 1}', b"body"),
        (b'\n{"a": 1}', b'{"a": 1}', b""),
        (b"\nA: 1\nb-C:  zwei \n\nbody\n", b'{"A":"1","b-C":"zwei"}', b"body\n"),
        (b"\r\nA: 1\r\n\r\nbody", b'{"A":"1"}', b"body"),
        (b"\n\n{no json", b"", b"{no json"),
    ],
)
def test_headers(marvin: Client, rest: bytes, headers: bytes, body: bytes) -> None:
    marvin.send(b"+ /foo", b"> /foo" + rest, b"> /foo" + rest)
    marvin.expect(b"#subscribed-to /foo")
    received = sorted(marvin.receive() for _ in range(4))
    assert received[:2] == [sent(1, "/foo"), sent(2, "/foo")]
    wanted = [b"/foo,%d,marvin,app,,1400000000\n%b\n%b" % (id, headers, body) for id in (1, 2)]
    assert received[2:] == wanted


def test_a_text_frame_is_a_command_like_a_binary_one(marvin: Client) -> None:
    marvin.send("> /foo\n\nfünf".encode(), opcode=TEXT)
    marvin.expect(sent(1, "/foo"))


def test_a_client_finds_its_own_message(marvin: Client) -> None:
    one, two = (message(b"/a", id, b"%d" % id, b"marvin", b"app") for id in (1, 2))
    marvin.send(b"> /a\n\n1", b"+ /a 0 1", b"> /a\n\n2", b"+ /a/x", b"+ /a 2 9")
    got = [marvin.receive() for _ in range(9)]
    assert got[0] == sent(1, "/a")
    assert [each for each in got if each.startswith(b"#fetch-start")] == [b"#fetch-start /a 1"] * 2
    assert got.index(one) < got.index(two)
    assert got.index(sent(2, "/a")) < got.index(b"#subscribed-to /a/x")


def test_answers_come_in_the_order_of_the_sends(there: World, marvin: Client) -> None:
    """Across partitions, which are committed one after the other, and errors, which need no commit."""
    commands, answers = [], []
    for id in range(1, 101):
        for path in ("/a", "/b/x"):
            commands.append(f"> {path} m{id}\n\nx".encode())
            answers.append(sent(id, path, f"m{id}"))
        commands.append(b"> nonsense\n\nx")
        answers.append(not_sent("topic must begin with '/'", "nonsense"))
    marvin.send(*commands)
    marvin.expect(*answers)


def test_ids_and_plain_sends_mixed(marvin: Client) -> None:
    marvin.send(b"> /a\n\n1", b"> /a x\n\n2", b"> /a\n\n3", b"> /a y%d\n\n4", b"+ /a 0 4")
    marvin.expect(
        sent(1, "/a"), sent(2, "/a", "x"), sent(3, "/a"), sent(4, "/a", "y%d"), b"#fetch-start /a 4"
    )
    assert [marvin.receive().split(b",")[4] for _ in range(4)] == [b"", b"x", b"", b"y%d"]


def test_what_the_store_refuses(there: World, marvin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    append = there.store.append

    def refuse(groups: list[Group]) -> object:
        return [
            StoreUnavailable("/var/secret: disk full") if group.partition == "full" else append([group])[0]
            for group in groups
        ]

    monkeypatch.setattr(there.store, "append", refuse)
    marvin.send(b"> /full m1\n\n1", b"> /full\n\n1", b"> /a\n\n1", b"> /full/x\n\n1", b"+ /full", b"+ /a 0 1")
    text = "the message could not be stored"
    marvin.expect(
        not_sent(text, "/full", "m1"),
        not_sent(text, "/full"),
        sent(1, "/a"),
        not_sent(text, "/full/x"),
        b"#subscribed-to /full",
        b"#fetch-start /a 1",
    )


def test_a_server_that_is_stopping(there: World, marvin: Client) -> None:
    there.intake.stop(1)
    marvin.send(b"> /a m1\n\n1", b"> /a\n\n2", b"> /b\n\n3", b"- /a")
    text = "the server is stopping"
    marvin.expect(
        not_sent(text, "/a", "m1"), not_sent(text, "/a"), not_sent(text, "/b"), bad("not subscribed to /a")
    )


# What is refused

LONG = "x" * 1024
TOPIC = "topic "
REFUSED_SENDS: list[tuple[bytes, bytes]] = [
    (b">", not_sent("expected: > <path> [<message id>]")),
    (b"> ", not_sent("expected: > <path> [<message id>]")),
    (b">/foo\n\nx", not_sent("expected: > <path> [<message id>]", "/foo")),
    (b"> /foo a b\n\nx", not_sent("expected: > <path> [<message id>]", "/foo", "a")),
    (b"> foo m1\n\nx", not_sent("topic must begin with '/'", "foo", "m1")),
    (b"> /\n\nx", not_sent("topic has no segment", "/")),
    (b"> //\n\nx", not_sent("topic has an empty segment", "//")),
    (b"> /a//b\n\nx", not_sent("topic has an empty segment", "/a//b")),
    (b"> /a,b m1\n\nx", not_sent("topic holds a comma", "", "m1")),
    (b"> /a\x01b\n\nx", not_sent("topic holds a control character")),
    (b"> /a\xc2\xa0b\n\nx", not_sent("topic holds white space", "/a\N{NO-BREAK SPACE}b")),
    (b"> /a\xff\n\nx", not_sent("topic is not valid UTF-8")),
    (f"> /{LONG} m1\n\nx".encode(), not_sent("topic is longer than 1024 bytes", "", "m1")),
    (b"> /foo a,b\n\nx", not_sent("message id holds a comma", "/foo")),
    (b"> /foo a\x00b\n\nx", not_sent("message id holds a control character", "/foo")),
    (b"> /foo \xff\n\nx", not_sent("message id is not valid UTF-8", "/foo")),
    (b"> /foo " + b"m" * 257, not_sent("message id is longer than 256 bytes", "/foo")),
    (b"> /foo m1\n{no json}\n\nx", not_sent("header is not valid JSON", "/foo", "m1")),
    (b'> /foo m1\n{"a": 1\n\nx', not_sent("header is not valid JSON", "/foo", "m1")),
    (b'> /foo m1\n{"a": NaN}\n\nx', not_sent("header is not valid JSON", "/foo", "m1")),
    (b'> /foo m1\n{"a": "\xff"}\n\nx', not_sent("header is not valid JSON", "/foo", "m1")),
    (b"> /foo m1\n" + b'{"a":' * 10_000, not_sent("headers are longer than 16384 bytes", "/foo", "m1")),
    (b"> /foo\n" + b'{"a":' * 3_000, not_sent("header is not valid JSON", "/foo")),
    (b"> /foo\nA: \xff\n\nx", not_sent("header is not valid UTF-8", "/foo")),
    (
        b"> /foo\nbody without an empty line",
        not_sent("expected a header as 'Name: value' or one JSON object, then an empty line", "/foo"),
    ),
    (b"> /foo m1\n" + b"A: 1\n" * 101 + b"\nx", not_sent("more than 100 header lines", "/foo", "m1")),
    (b"> /foo\n" + b"A: 1\n" * 10_000 + b"\nx", not_sent("more than 100 header lines", "/foo")),
]
NUMBER = "is not a whole number of at most 2^53-1"
REFUSED_COMMANDS: list[tuple[bytes, bytes]] = [
    (b"", bad("empty command")),
    (b" \r\n", bad("empty command")),
    (b" + /foo", bad("a command must not begin with white space")),
    (b"? /foo", bad("unknown command '?'")),
    (b"hello\xff\x00 there", bad("unknown command 'hello\N{REPLACEMENT CHARACTER}?'")),
    (b"x" * 100, bad(f"unknown command '{'x' * 40}'")),
    (b"+", bad("expected: + <path> [<startId> [<maxCount>]]")),
    (b"+/foo", bad("expected: + <path> [<startId> [<maxCount>]]")),
    (b"+ /foo 1 2 3", bad("expected: + <path> [<startId> [<maxCount>]]")),
    (b"+ foo", bad("topic must begin with '/'")),
    (b"+ /foo,bar", bad("topic holds a comma")),
    (b"+ /foo x", bad(f"start id {NUMBER}: 'x'")),
    (b"+ /foo 1.5", bad(f"start id {NUMBER}: '1.5'")),
    (b"+ /foo 9007199254740992", bad(f"start id {NUMBER}: '9007199254740992'")),
    (b"+ /foo 12345678901234567890", bad(f"start id {NUMBER}: '12345678901234567890'")),
    (b"+ /foo 0 0", bad("maximum count must be at least 1")),
    (b"+ /foo 0 -1", bad("maximum count must be at least 1")),
    (b"+ /foo 0,", bad(f"maximum count {NUMBER}: ''")),
    (b"+ /foo ,5", bad(f"start id {NUMBER}: ''")),
    (b"-", bad("expected: - <path>")),
    (b"- /foo bar", bad("expected: - <path>")),
    (b"- foo", bad("topic must begin with '/'")),
    (b"- /foo", bad("not subscribed to /foo")),
]


@pytest.mark.parametrize(("command", "answer"), REFUSED_SENDS + REFUSED_COMMANDS)
def test_what_is_refused_is_told_and_nothing_else_happens(
    there: World, marvin: Client, command: bytes, answer: bytes
) -> None:
    marvin.send(command)
    marvin.expect(answer)
    marvin.send(command, b"> /ok\n\nx", command)
    marvin.expect(answer, sent(1, "/ok"), answer)
    assert there.store.partitions() == ["ok"]
    kind = "send-refused" if command[:1] == b">" else "invalid-command"
    assert f'gobbler_errors_total{{kind="{kind}"}} 3.0' in there.metrics.render()[0].decode()


def test_the_largest_message_and_one_byte_more(store: MessageStore) -> None:
    limit = 1000
    with world(store, limit) as there:
        client, _ = there.connect()
        most, more = bytes(limit), bytes(limit + 1)
        header = b'{"a":1}'
        client.send(
            b"> /a\n\n" + most,
            b"> /a\n\n" + more,
            b"> /a m1\n\n" + more,
            b"> /a\n" + header + b"\n\n" + most[len(header) :],
            b"> /a\n" + header + b"\n\n" + more[len(header) :],
            b"> /a\n\n",
        )
        text = "message is larger than 1000 bytes"
        client.expect(
            sent(1, "/a"),
            not_sent(text, "/a"),
            not_sent(text, "/a", "m1"),
            sent(2, "/a"),
            not_sent(text, "/a"),
            sent(3, "/a"),
        )
        assert 'kind="too-large"} 3.0' in there.metrics.render()[0].decode()
        assert there.metric("received_bytes_total") == 2 * limit


def test_a_frame_that_no_message_can_need_closes_with_1009_when_the_rest_is_answered(
    store: MessageStore,
) -> None:
    with world(store, 1000) as there:
        client, _ = there.connect()
        client.raw(frame(BINARY, b"> /a\n\nx") + frame(BINARY, bytes(40_000)) + frame(BINARY, b"> /a\n\ny"))
        client.expect(sent(1, "/a"))
        opcode, payload = client.event()
        assert (opcode, payload[:2]) == (CLOSE, b"\x03\xf1")
        client.expect_end()
        assert there.store.bounds("a").last == 1


def test_a_text_frame_that_is_not_utf_8_closes_with_1007(marvin: Client) -> None:
    marvin.send(b"> /a\n\n\xff", opcode=TEXT)
    opcode, payload = marvin.event()
    assert (opcode, payload[:2]) == (CLOSE, b"\x03\xef")


def test_half_a_frame_stores_nothing(there: World, marvin: Client) -> None:
    whole = frame(BINARY, b"> /a\n\nwhole")
    marvin.raw(whole + whole[:-1])
    marvin.expect(sent(1, "/a"))
    marvin.sock.close()
    wait_until(lambda: there.metric("sessions") == 0)
    assert there.store.bounds("a").last == 1


# Receive and cancel


def test_live_messages_come_once_and_after_the_store_has_them(there: World) -> None:
    publisher, _ = there.connect("p", app="other")
    client, _ = there.connect("c")
    client.send(b"+ /foo", b"+ /foo/bar", b"+ /foo")
    client.expect(b"#subscribed-to /foo", b"#subscribed-to /foo/bar", b"#subscribed-to /foo")
    publisher.send(b"> /foo/bar\n\n1", b"> /foobar\n\n2", b"> /foo\n\n3")
    publisher.expect(sent(1, "/foo/bar"), sent(1, "/foobar"), sent(2, "/foo"))
    client.expect(message(b"/foo/bar", 1, b"1", b"p", b"other"), message(b"/foo", 2, b"3", b"p", b"other"))
    client.send(b"- /foo", b"- /foo")
    client.expect(b"#canceled /foo", bad("not subscribed to /foo"))
    publisher.send(b"> /foo/bar\n\n4", b"> /foo\n\n5")
    client.expect(message(b"/foo/bar", 3, b"4", b"p", b"other"))
    client.expect_nothing()


@pytest.mark.parametrize(
    ("command", "ids"),
    [
        (b"+ /a 0 2", [1, 2]),
        (b"+ /a 0,2", [1, 2]),
        (b"+ /a 0, 2", [1, 2]),
        (b"+ /a 3 9", [3, 4, 5]),
        (b"+ /a 9 9", []),
        (b"+ /a -2 9", [4, 5]),
        (b"+ /a -3 2", [3, 4]),
        (b"+ /a -99 2", [1, 2]),
        (b"+ /a/x 0 9", [2, 4]),
        (b"+ /a/x -1 9", [4]),
        (b"+ /a/y 0 9", []),
        (b"+ /nothing 0 9", []),
    ],
)
def test_fetches(there: World, marvin: Client, command: bytes, ids: list[int]) -> None:
    for id in range(1, 6):
        there.store_messages(b"/a/x" if id in (2, 4) else b"/a", b"%d" % id)
    marvin.send(command, b"- /other")
    path = command.split()[1]
    got = [marvin.receive() for _ in range(len(ids) + 3)]
    got.remove(bad("not subscribed to /other"))
    assert got == [
        b"#fetch-start %b %d" % (path, len(ids)),
        *(message(b"/a/x" if id in (2, 4) else b"/a", id, b"%d" % id) for id in ids),
        b"#fetch-done " + path,
    ]


def test_a_fetch_has_filters_as_a_subscription_has(there: World) -> None:
    client, _ = there.connect("marvin")
    other, _ = there.connect("other")
    for each in (client, other):
        each.send(b"+ /a")
        each.expect(b"#subscribed-to /a")
    there.store_messages(b"/a", b"1", filters=filters.encode({"user_id": "marvin"}))
    there.store_messages(b"/a", b"2", filters=filters.encode({"user_id": "marvin", "connector": "fcm"}))
    there.store_messages(b"/a", b"3")
    live = [message(b"/a", 1, b"1"), message(b"/a", 3, b"3")]
    client.expect(*live)
    other.expect(live[1])
    for command in (b"+ /a 0 9", b"+ /a -2 9"):
        client.send(command)
        client.expect(b"#fetch-start /a 2", *live, b"#fetch-done /a")
        other.send(command)
        other.expect(b"#fetch-start /a 1", live[1], b"#fetch-done /a")


def test_a_fetch_beside_a_subscription_is_independent(there: World, marvin: Client) -> None:
    there.store_messages(b"/a", b"1")
    marvin.send(b"+ /a", b"+ /a 0 20")
    marvin.expect(b"#subscribed-to /a", b"#fetch-start /a 1", message(b"/a", 1, b"1"), b"#fetch-done /a")
    there.store_messages(b"/a", b"2")
    marvin.expect(message(b"/a", 2, b"2"))


def test_a_fetch_of_what_is_gone(tmp_path: Path) -> None:
    with world(memory_store(64_000)) as there:
        for _ in range(100):
            there.store_messages(b"/a", bytes(1000))
        first, last = there.store.bounds("a")
        client, _ = there.connect()
        client.send(b"+ /a 1 %d" % (last - first + 1))
        client.expect(
            b"#fetch-start /a %d" % (last - first + 1),
            b"!error-gap /a 1 %d" % (first - 1),
            *(message(b"/a", id, bytes(1000)) for id in range(first, last + 1)),
            b"#fetch-done /a",
        )
        client.send(b"+ /a 0 1")
        client.expect(b"#fetch-start /a 1", message(b"/a", first, bytes(1000)), b"#fetch-done /a")


def test_a_fetch_that_cannot_read(
    there: World, marvin: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise StoreUnavailable("/var/secret: input/output error")

    there.store_messages(b"/a", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(there.store, "count", fail)
        marvin.send(b"+ /a 0 9")
        marvin.expect(b"!error-server-internal /a: the message store cannot be read now")
    assert "secret" in caplog.text
    marvin.send(b"+ /a 0 9")
    marvin.expect(b"#fetch-start /a 1", message(b"/a", 1, b"1"), b"#fetch-done /a")


def test_more_fetches_than_run_at_once(there: World, marvin: Client) -> None:
    number = 3 * module.MAX_FETCHES
    for id in range(number):
        there.store_messages(b"/a/%d" % id, b"%d" % id)
    most = 0

    def watch() -> None:
        nonlocal most
        while there.clients:
            most = max(most, int(there.metric("fetches")))
            gevent.sleep(0)

    watching = gevent.spawn(watch)
    marvin.send(*(b"+ /a/%d 0 1" % id for id in range(number)), b"> /b\n\nlast", b"- /a")
    got = [marvin.receive() for _ in range(3 * number + 2)]
    watching.kill()
    assert most <= module.MAX_FETCHES
    assert got[-2:] == [sent(1, "/b"), bad("not subscribed to /a")] or sent(1, "/b") in got
    for id in range(number):
        places = [
            got.index(each)
            for each in (
                b"#fetch-start /a/%d 1" % id,
                message(b"/a/%d" % id, id + 1, b"%d" % id),
                b"#fetch-done /a/%d" % id,
            )
        ]
        assert places == sorted(places)


def test_too_many_subscriptions(there: World, marvin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SUBSCRIPTIONS", 3)
    marvin.send(b"+ /a", b"+ /b/x", b"+ /b/y 0")
    marvin.expect(
        b"#subscribed-to /a",
        b"#subscribed-to /b/x",
        b"#fetch-start /b/y 0",
        b"#fetch-done /b/y",
        b"#subscribed-to /b/y",
    )
    marvin.send(b"+ /c", b"+ /a", b"- /a", b"+ /c", b"+ /a 0")
    refused = b"!error-subscribed-to %b more than 3 subscriptions"
    marvin.expect(
        refused % b"/c", b"#subscribed-to /a", b"#canceled /a", b"#subscribed-to /c", refused % b"/a"
    )


def test_canceling_a_fetch(there: World) -> None:
    client, _ = there.connect(send_buffer=4096)
    for _ in range(5):
        there.store_messages(b"/a", *[bytes(1000)] * 1000)
    there.store_messages(b"/b", b"x")
    client.send(b"+ /a 0 5000", b"+ /b 0 1")
    assert client.receive() == b"#fetch-start /a 5000"
    client.send(b"- /a", b"- /a")
    got = client.until(b"#canceled /a")
    client.expect(bad("not subscribed to /a"))
    wait_until(lambda: there.metric("fetches") == 0)
    left = client.until_pong()
    assert not any(b"/a" in each for each in left)
    assert 1 <= len(got) < 3000
    assert b"#fetch-done /a" not in got
    beside = [each for each in got + left if b"/b" in each]
    assert beside == [b"#fetch-start /b 1", message(b"/b", 1, b"x"), b"#fetch-done /b"]


# The end


def test_the_close_comes_behind_the_answers(there: World, marvin: Client) -> None:
    """Refusals in between are answered at once, and must not be taken for the last answer."""
    marvin.raw(
        b"".join(
            frame(BINARY, each)
            for each in (
                b"> /a\n\n1",
                b"+ /a -1",
                b"> x\n\n",
                b"> /b\n\n2",
                b"> y\n\n",
                b"> /c\n\n3",
                b"- /b",
            )
        )
        + frame(CLOSE, b"\x03\xe9bye")
    )
    got, closing = [], (0, b"")
    while closing[0] != CLOSE:
        closing = marvin.event()
        got.append(closing[1])
    assert closing == (CLOSE, b"\x03\xe9")
    answers = [each for each in got if b"send" in each]
    topic = "topic must begin with '/'"
    assert answers == [
        sent(1, "/a"), not_sent(topic, "x"), sent(1, "/b"), not_sent(topic, "y"), sent(1, "/c")
    ]  # fmt: skip
    assert bad("not subscribed to /b") in got
    marvin.expect_end()


def test_finishing_answers_first_and_takes_no_more(there: World) -> None:
    client, session = there.connect()
    append, groups = there.store.append, []

    def finish(group: list[Group]) -> object:
        groups.append(group)
        session.finishing(1001, "going away")
        client.raw(frame(BINARY, b"> /late\n\nx"))
        return append(group)

    there.store.append = finish  # type: ignore[method-assign, assignment]
    client.send(b"> /a\n\n1", b"- /x", b"> /a\n\n2")
    client.expect(sent(1, "/a"), bad("not subscribed to /x"), sent(2, "/a"))
    client.expect_close(b"\x03\xe9going away")
    client.expect_end()
    assert there.store.bounds("late").last == 0


def test_a_client_that_is_gone_leaves_nothing(there: World) -> None:
    client, session = there.connect(send_buffer=4096)
    for _ in range(10):
        there.store_messages(b"/a", *[bytes(1000)] * 1000)
    client.send(b"+ /a", b"+ /b/c 0", b"+ /a 0 9999", b"+ /a 0", b"> /x\n\n", b"+ /x")
    client.receive()
    client.sock.close()
    wait_until(lambda: there.metric("sessions") == 0)
    wait_until(lambda: there.metric("fetches") == 0)
    assert there.router.describe() == {}
    assert (session.subscriptions, session.requests) == (0, 0)
    assert there.metric("subscriptions") == 0


def test_a_client_that_goes_while_its_message_is_stored(there: World, marvin: Client) -> None:
    append = there.store.append

    def leave(groups: list[Group]) -> object:
        marvin.sock.close()
        wait_until(lambda: there.metric("sessions") == 0)
        return append(groups)

    there.store.append = leave  # type: ignore[method-assign, assignment]
    marvin.send(b"> /a\n\n1", b"+ /a", b"> /a\n\n2")
    marvin.send(b"ping", opcode=PING)
    wait_until(lambda: there.store.bounds("a").last == 1)
    gevent.sleep(0)
    assert there.router.describe() == {}


def test_what_the_ids_are(there: World) -> None:
    _, session = there.connect("käthe")
    assert session.params == {"user_id": "käthe", "application_id": APP}
