"""The client against a real server, as its users see it."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from gobbler.client import (
    BadRequest,
    Client,
    ClientError,
    Gap,
    InvalidTopic,
    Message,
    MessagesLost,
    MessageTooLarge,
    NotConnected,
    PublishFailed,
    Refused,
    Settings,
    Timeout,
)
from tests.client.proxy import Proxy
from tests.system.server import ROOT, ServerProcess, eventually

UNICODE = "/größe/日本/🙂"


def texts(messages: Iterator[Message], count: int) -> list[str]:
    return [message.text for message in islice(messages, count)]


class TestPublish:
    def test_the_receipt_and_the_message_agree(self, client: Client, topic: str) -> None:
        receipt = client.publish(topic + UNICODE, "hello", headers={"Color": "blue"}, message_id="m-1")
        (message,) = client.fetch(topic)
        assert (receipt.id, receipt.topic, receipt.message_id) == (1, topic + UNICODE, "m-1")
        assert message == Message(
            topic + UNICODE,
            1,
            "zaphod",
            client.application_id,
            "m-1",
            receipt.time,
            b'{"Color":"blue"}',
            b"hello",
        )

    def test_what_can_be_published(self, client: Client, topic: str) -> None:
        bodies: list[bytes | str] = [
            "",
            b"",
            b"\0\xff\n\n",
            "\n\nü",
            b"> /x\n\n",
            b"x" * 1_000_000,
            "🙂" * 1000,
        ]
        headers: list[dict[str, object] | None] = [None, {}, {"a": [1, {"b": None}], "ü\n": "x\r\ny"}]
        for body in bodies:
            for header in headers:
                name = client.publish_nowait(topic, body, headers=header).message_id
                assert name
        client.flush()
        found = client.fetch(topic)
        expected = [body.encode() if isinstance(body, str) else body for body in bodies]
        assert [each.body for each in found[::3]] == expected
        assert [each.headers for each in found[:3]] == [{}, {}, headers[2]]
        assert len({each.message_id for each in found}) == len(found)

    def test_one_with_headers_and_the_largest_body(self, client: Client, topic: str) -> None:
        with pytest.raises(PublishFailed, match="larger than 1048576 bytes"):
            client.publish(topic, b"x" * (1 << 20) + b"x")
        assert client.publish(topic, b"x" * (1 << 20)).id == 1

    def test_one_that_is_much_too_large(self, client: Client, topic: str) -> None:
        with pytest.raises(MessageTooLarge):
            client.publish(topic, b"x" * (2 << 20))
        assert client.publish(topic, "x").id == 1

    def test_in_a_pipeline(self, client: Client, topic: str) -> None:
        sent = [client.publish_nowait(topic, str(number)) for number in range(10_000)]
        client.flush(60)
        assert [each.result(0).id for each in sent] == list(range(1, 10_001))

    def test_whatever_the_topic_breaks_nothing_is_sent(self, client: Client, topic: str) -> None:
        for wrong in ("", "x", f"{topic} ", f"{topic}//a", f"{topic},a"):
            with pytest.raises(InvalidTopic):
                client.publish(wrong, "x")
        assert client.fetch(topic) == []

    def test_from_many_threads(self, client: Client, topic: str) -> None:
        receipts: list[int] = []

        def publish() -> None:
            receipts.extend(client.publish(topic, "x").id for _ in range(50))
            client.publish_nowait(topic, "y")

        threads = [threading.Thread(target=publish) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        client.flush()
        assert len(set(receipts)) == 400
        assert len(client.fetch(topic)) == 408


class TestFetch:
    @pytest.fixture(autouse=True)
    def some(self, client: Client, topic: str) -> None:
        for number in range(1, 31):
            client.publish_nowait(topic if number % 2 else f"{topic}/even", str(number))
        client.flush()

    @pytest.mark.parametrize(
        ("start", "count", "expected"),
        [
            (0, 1000, range(1, 31)),
            (0, 3, range(1, 4)),
            (28, 1000, range(28, 31)),
            (-4, 1000, range(27, 31)),
            (-4, 2, range(27, 29)),
            (-1000, 1000, range(1, 31)),
            (31, 1, ()),
            (2**53 - 1, 1, ()),
        ],
    )
    def test_exactly_what_was_asked_for(
        self, client: Client, topic: str, start: int, count: int, expected: range
    ) -> None:
        assert [int(each.text) for each in client.fetch(topic, start, count)] == list(expected)

    def test_of_what_is_below(self, client: Client, topic: str) -> None:
        assert [each.id for each in client.fetch(f"{topic}/even", -3)] == [26, 28, 30]
        assert client.fetch(f"{topic}/ev") == []

    def test_what_was_published_before_is_found(self, client: Client, topic: str) -> None:
        client.subscribe(topic, callback=lambda each: None)  # so that the fetch takes another connection
        for number in range(1, 11):
            for _ in range(100):
                client.publish_nowait(f"{topic}/more", "x")
            assert len(client.fetch(f"{topic}/more", 0, 10_000)) == number * 100

    def test_numbers_that_are_not_allowed(self, client: Client, topic: str) -> None:
        for start, count in ((2**53, 1), (0, 0), (0, -1)):
            with pytest.raises(BadRequest):
                client.fetch(topic, start, count)


class TestSubscribe:
    def test_from_now_on(self, client: Client, topic: str) -> None:
        client.publish(topic, "old")
        with client.subscribe(topic) as reading:
            client.publish(topic, "new")
            client.publish(f"{topic}/below", "newer")
            client.publish(f"{topic}beside", "other")
            client.publish(topic, "newest")
            assert texts(reading, 3) == ["new", "newer", "newest"]

    @pytest.mark.parametrize(
        ("from_", "expected"),
        [
            (0, ["1", "2", "3", "new"]),
            (1, ["1", "2", "3", "new"]),
            (3, ["3", "new"]),
            (4, ["new"]),
            (1000, ["new"]),
            (-2, ["2", "3", "new"]),
            (-1000, ["1", "2", "3", "new"]),
        ],
    )
    def test_from_an_id(self, client: Client, topic: str, from_: int, expected: list[str]) -> None:
        for text in ("1", "2", "3"):
            client.publish(topic, text)
        reading = client.subscribe(topic, from_)
        client.publish(topic, "new")
        assert texts(reading, len(expected)) == expected

    @pytest.mark.parametrize("from_", [None, 0, -5, 5])
    def test_to_what_does_not_exist_yet(self, client: Client, topic: str, from_: int | None) -> None:
        reading = client.subscribe(topic, from_)
        client.publish(topic, "first")
        assert texts(reading, 1) == ["first"]

    def test_to_a_quiet_path_of_a_busy_partition(self, client: Client, topic: str) -> None:
        client.publish(f"{topic}/quiet", "old")
        for _ in range(10):
            client.publish_nowait(topic, "noise")
        client.flush()
        live, newest = client.subscribe(f"{topic}/quiet"), client.subscribe(f"{topic}/quiet/", -1)
        client.publish(f"{topic}/quiet", "new")
        assert texts(live, 1) == ["new"]
        assert texts(newest, 2) == ["old", "new"]

    def test_with_a_callback(self, client: Client, topic: str) -> None:
        seen: list[tuple[str, str]] = []
        client.publish(topic, "old")
        one = client.subscribe(topic, callback=lambda each: seen.append(("one", each.text)))
        client.subscribe(topic, 0, callback=lambda each: seen.append(("two", each.text)))
        client.publish(topic, "new")
        deadline = eventually()
        while len(seen) < 3:
            deadline.again()
        assert sorted(seen) == [("one", "new"), ("two", "new"), ("two", "old")]
        one.close()
        client.publish(topic, "newer")
        while len(seen) < 4:
            deadline.again()
        assert seen[3] == ("two", "newer")

    def test_many_topics(self, client: Client, topic: str) -> None:
        names = [f"{topic}-{number}" for number in range(200)]
        readers = [client.subscribe(name) for name in names]
        for name in names:
            client.publish_nowait(name, name)
        assert [texts(reading, 1) for reading in readers] == [[name] for name in names]
        for reading in readers:
            reading.close()

    def test_nothing_comes_after_the_end_and_it_can_be_begun_anew(self, client: Client, topic: str) -> None:
        for _ in range(20):
            reading = client.subscribe(topic)
            client.publish(topic, "x")
            assert texts(reading, 1) == ["x"]
            reading.close()
            assert list(reading) == []
        deadline = eventually()
        while client.rest.subscribers(topic):
            deadline.again()

    def test_nothing_comes_in_time(self, client: Client, topic: str) -> None:
        reading = client.subscribe(topic)
        with pytest.raises(Timeout):
            reading.get(timeout=0.01)
        client.publish(topic, "x")
        message = reading.get(timeout=20)
        assert message is not None
        assert message.text == "x"

    @pytest.mark.parametrize("wrong", ["", "x", "/", "/a b"])
    def test_to_what_is_no_topic(self, client: Client, wrong: str) -> None:
        with pytest.raises(InvalidTopic):
            client.subscribe(wrong)
        with pytest.raises(BadRequest):
            client.subscribe("/a", 2**53)

    def test_everyone_who_shares_a_client_gets_everything(self, client: Client, topic: str) -> None:
        readers = [client.subscribe(path, 0) for path in (topic, f"{topic}/a", topic, f"{topic}/a/b")]
        for number in range(300):
            client.publish_nowait(f"{topic}/a/b", str(number))
        client.flush()
        expected = [str(number) for number in range(300)]
        assert [texts(reading, 300) for reading in readers] == [expected] * 4


class TestLost:
    """What the server does not keep any more."""

    @pytest.fixture
    def forgetful(self, tmp_path: Path) -> Iterator[tuple[Client, int]]:
        """A client, and the first id that its server has kept of /foo."""
        options = ("--segment-bytes", "64KiB", "--retention-bytes", "130KiB")
        with (
            ServerProcess(tmp_path / "data", *options) as server,
            Client(f"http://127.0.0.1:{server.port}") as client,
        ):
            for number in range(500):
                client.publish_nowait("/foo", b"x" * 1000)
                if number % 10 == 0:  # what is committed together shares a segment
                    client.flush()
            client.flush()
            deadline = eventually()
            before, kept = -1, 0
            while kept < 100 or kept != before:
                if kept < 100:  # what retention looks at is the next segment
                    client.publish("/foo", b"x" * 1000)
                before, kept = kept, client.fetch("/foo", 0, 1)[0].id
                deadline.again()
            yield client, kept

    def test_is_told_to_who_subscribes(self, forgetful: tuple[Client, int]) -> None:
        client, kept = forgetful
        gaps: list[Gap] = []
        told = client.subscribe("/foo", 10, on_gap=gaps.append)
        raised = client.subscribe("/foo", 10)
        assert next(told).id == kept
        assert gaps == [Gap("/foo", 10, kept - 1)]
        with pytest.raises(MessagesLost, match=f"messages 10 to {kept - 1} of /foo are lost"):
            next(raised)
        assert [message.id for message in islice(raised, 3)] == [kept, kept + 1, kept + 2]
        assert next(client.subscribe("/foo", 0)).id == kept, "the oldest there is: nothing is missing"

    def test_is_told_to_who_fetches(self, forgetful: tuple[Client, int]) -> None:
        client, kept = forgetful
        gaps: list[Gap] = []
        assert [each.id for each in client.fetch("/foo", 10, 2, on_gap=gaps.append)] == [kept, kept + 1]
        assert gaps == [Gap("/foo", 10, kept - 1)]
        with pytest.raises(MessagesLost):
            client.fetch("/foo", 10, 2)
        assert client.fetch("/foo", 0, 1)[0].id == kept

    def test_is_nothing_to_who_begins_now(self, forgetful: tuple[Client, int]) -> None:
        client, _ = forgetful
        reading = client.subscribe("/foo/quiet")
        client.publish("/foo/quiet", "x")
        assert texts(reading, 1) == ["x"]


class TestClient:
    def test_ctrl_c_ends_what_waits(self, url: str, topic: str) -> None:
        program = (
            "import sys; from gobbler.client import Client\n"
            "with Client(sys.argv[1]) as client, client.subscribe(sys.argv[2]) as reading:\n"
            "    print('waiting', flush=True)\n"
            "    next(reading)\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, url, topic],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert errors.rstrip().endswith("KeyboardInterrupt")

    def test_it_says_who_and_where_it_is(self, client: Client, url: str) -> None:
        assert client.connected
        assert len(client.application_id) == 16
        assert repr(client) == f"<Client ws{url[4:]}/stream/user/zaphod connected>"
        assert repr(Client("http://h")) == "<Client ws://h/stream/ not connected>"

    def test_a_server_that_does_not_want_us(self, url: str) -> None:
        client = Client(url, settings=Settings(ws_prefix="/elsewhere/"))
        with pytest.raises(Refused) as refused:
            client.connect()
        assert refused.value.status == 404
        client.close()

    def test_who_was_never_connected_can_be_closed(self, url: str) -> None:
        with pytest.raises(NotConnected):
            Client("http://127.0.0.1:1").publish("/a", "x")
        Client(url).close()

    def test_its_threads_end_with_it(self, url: str, topic: str) -> None:
        before = set(threading.enumerate())
        with Client(url) as client:
            client.subscribe(topic, callback=print)
            client.subscribe(topic)
            client.fetch(topic)
            assert len(set(threading.enumerate()) - before) == 3
        assert set(threading.enumerate()) <= before
        assert not client.connected

    def test_closing_waits_for_what_was_published(self, url: str, client: Client, topic: str) -> None:
        with Client(url) as publisher:
            for number in range(2000):
                publisher.publish_nowait(topic, str(number))
        assert [each.text for each in client.fetch(topic, 0, 5000)] == [str(number) for number in range(2000)]

    def test_closing_waits_for_the_next_connection_where_something_waits_for_that(
        self, server: ServerProcess, client: Client, topic: str
    ) -> None:
        with Proxy(server.port) as proxy:
            with Client(proxy.url, settings=Settings(first_delay=0.3)) as publisher:
                proxy.cut()
                deadline = eventually()
                while publisher.connected:
                    deadline.again()
                for number in range(10):
                    publisher.publish_nowait(topic, str(number))
            assert [each.text for each in client.fetch(topic)] == [str(number) for number in range(10)]

    def test_closing_says_what_has_come_to_nothing(
        self, server: ServerProcess, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Proxy(server.port) as proxy:
            client = Client(proxy.url)
            client.connect()
            proxy.open = False
            proxy.cut()
            deadline = eventually()
            while client.connected:
                deadline.again()
            client.publish_nowait(topic, "x")
            client.close(0.05)
        assert "1 messages are not answered in time" in caplog.text

    def test_a_fork_does_not_take_it_along(self, url: str, topic: str) -> None:
        program = """
import os, sys
from gobbler.client import Client, Closed
client = Client(sys.argv[1])
client.connect()
child = os.fork()
if child:
    status = os.waitpid(child, 0)[1]
    client.publish(sys.argv[2], "x")
    client.close()
    sys.exit(status)
topic = sys.argv[2]
for call in client.connect, lambda: client.publish(topic, "x"), lambda: client.fetch(topic):
    try:
        call()
    except Closed as error:
        assert "fork" in str(error)
    else:
        sys.exit("it went through")
client.close()
with Client(sys.argv[1]) as other:
    other.publish(topic, "x")
"""
        command = [sys.executable, "-c", program, url, topic]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_callback_may_close_it(self, url: str, topic: str) -> None:
        client = Client(url)
        closed = threading.Event()

        def callback(message: Message) -> None:
            client.close()
            closed.set()

        client.subscribe(topic, callback=callback)
        client.publish(topic, "x")
        assert closed.wait(20)

    def test_a_reader_in_another_thread_is_told(self, url: str, topic: str) -> None:
        client = Client(url)
        reading = client.subscribe(topic)
        found: list[Message] = []
        thread = threading.Thread(target=lambda: found.extend(reading))
        thread.start()
        client.publish(topic, "x")
        deadline = eventually()
        while not found:
            deadline.again()
        client.close()
        thread.join(20)
        assert not thread.is_alive()

    def test_who_connects_is_told(self, url: str) -> None:
        told: list[ClientError | None] = []
        with Client(url, on_connection=told.append):
            deadline = eventually()
            while not told:
                deadline.again()
        assert told == [None]
