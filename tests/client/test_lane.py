"""Lanes, with a server that does what the test says: connections come and go."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gobbler.client import (
    Client,
    ClientError,
    ConnectionLost,
    Gap,
    MessageTooLarge,
    NotConnected,
    PublishUnknown,
    Settings,
    SubscribeFailed,
    Subscription,
    Timeout,
)
from gobbler.protocol import notification
from gobbler.protocol.message import Message
from tests.client.scripted import Background, Hung, Peer, Scripted
from tests.system.server import eventually

QUICK = Settings(first_delay=0.001, longest_delay=0.01)


def message(path: bytes, id: int) -> bytes:
    return Message(path, id, b"", b"", b"", 1).encode()


class Seen(list[ClientError | None]):
    """What a client was told of its connection."""

    def wait(self, count: int) -> None:
        deadline = eventually()
        while len(self) < count:
            deadline.again()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def client(scripted: Scripted, seen: Seen) -> Iterator[Client]:
    made = Client(scripted.url, settings=QUICK, on_connection=seen.append, timeout=20)
    yield made
    made.close(0)


def connected(client: Client, scripted: Scripted) -> Peer:
    """Connect for the first time; return the server's side."""
    connecting = Background(client.connect)
    peer = scripted.greeted()
    connecting.result()
    return peer


def begins(peer: Peer, path: bytes, first: int, *more: bytes) -> None:
    """Confirm a subscription that begins with an id, and send more."""
    peer.hear(b"+ %b %d" % (path, first))
    peer.say(notification.fetch_start(path, 0), *more)


def subscribed(client: Client, peer: Peer, *more: bytes) -> Subscription:
    """Subscribe to /a from the beginning."""
    subscribing = Background(client.subscribe, "/a", 0)
    begins(peer, b"/a", 0, *more)
    result = subscribing.result()
    assert isinstance(result, Subscription)
    return result


class TestConnections:
    def test_a_new_connection_goes_on_behind_the_last_message(
        self, client: Client, scripted: Scripted, seen: Seen
    ) -> None:
        peer = connected(client, scripted)
        reading = subscribed(client, peer, message(b"/a", 3), message(b"/a/b", 7))
        assert [next(reading).id, next(reading).id] == [3, 7]
        peer.socket.close()
        again = scripted.greeted()
        begins(again, b"/a", 8, message(b"/a", 8))
        assert next(reading).id == 8
        seen.wait(3)
        assert seen[0] is seen[2] is None
        assert isinstance(seen[1], ConnectionLost)

    def test_one_that_is_lost_while_a_subscription_begins(self, client: Client, scripted: Scripted) -> None:
        peer = connected(client, scripted)
        subscribing = Background(client.subscribe, "/a", 5)
        peer.hear(b"+ /a -1 1")
        peer.say(notification.fetch_start(b"/a", 1), message(b"/a", 9))
        peer.socket.close()
        peer = scripted.greeted()
        peer.hear(b"+ /a -1 1")
        peer.say(notification.fetch_start(b"/a", 1), message(b"/a", 9), notification.fetch_done(b"/a"))
        peer.hear(b"+ /a 5")
        peer.socket.close()
        begins(scripted.greeted(), b"/a", 5)
        assert isinstance(subscribing.result(), Subscription)

    def test_it_is_closed_with_1000(self, client: Client, scripted: Scripted) -> None:
        peer = connected(client, scripted)
        closing = Background(client.close)
        with pytest.raises(Hung):
            peer.next()
        closing.result()
        assert peer.close_code == 1000

    def test_a_server_that_stops_is_waited_for(self, client: Client, scripted: Scripted, seen: Seen) -> None:
        peer = connected(client, scripted)
        peer.close(1001, "stopping")
        scripted.greeted()
        seen.wait(3)
        assert isinstance(seen[1], ConnectionLost)
        assert seen[1].close_code == 1001

    def test_a_server_that_is_not_understood_is_left(
        self, client: Client, scripted: Scripted, caplog: pytest.LogCaptureFixture
    ) -> None:
        peer = connected(client, scripted)
        with caplog.at_level(logging.INFO):
            peer.say(b"how do you do?")
            scripted.greeted()
        assert "no message and no notification" in caplog.text

    def test_an_error_of_the_client_is_logged_and_mended(
        self,
        client: Client,
        scripted: Scripted,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        peer = connected(client, scripted)
        reading = subscribed(client, peer)
        with monkeypatch.context() as patch:
            patch.setattr("gobbler.client.traffic.Message.decode", None)
            peer.say(message(b"/a", 1))
            peer = scripted.greeted()
        begins(peer, b"/a", 0, message(b"/a", 1))
        assert next(reading).id == 1
        assert "the connection to ws://127.0.0.1" in caplog.text


class TestFirst:
    def test_a_server_that_hangs_up(self, scripted: Scripted) -> None:
        # It does not try again by itself before it is asked to.
        client = Client(scripted.url, settings=Settings(first_delay=20.0), timeout=20)
        connecting = Background(client.connect)
        scripted.connection().close()
        with pytest.raises(NotConnected):
            connecting.result()
        before = client.connected, client.application_id
        peer = connected(client, scripted)
        assert before == (False, "")
        assert (client.connected, client.application_id) == (True, "app")
        client.connect()
        peer.socket.close()
        client.close(0)

    def test_it_can_be_tried_until_it_works(self, client: Client, scripted: Scripted, seen: Seen) -> None:
        connecting = Background(lambda: client.connect(20, retry=True))
        for _ in range(3):
            scripted.connection().close()
        scripted.greeted()
        connecting.result()
        seen.wait(1)
        assert seen == [None], "of attempts that fail, nothing is told"

    def test_it_is_not_tried_for_longer_than_it_may(self, client: Client, scripted: Scripted) -> None:
        with pytest.raises(NotConnected, match="no answer in time"):
            client.connect(0.05, retry=True)

    def test_what_is_used_first_connects(self, client: Client, scripted: Scripted) -> None:
        publishing = Background(lambda: client.publish("/a", "x", message_id="m"))
        peer = scripted.greeted()
        peer.hear(b"> /a m\n\nx")
        peer.say(notification.send_ok(b"m", b"/a", 1, 2))
        publishing.result()

    def test_a_server_that_never_greets(self, scripted: Scripted) -> None:
        client = Client(scripted.url, settings=Settings(ping_interval=0.02, ping_timeout=0.02))
        connecting = Background(client.connect)
        scripted.accept()
        with pytest.raises(ConnectionLost, match="does not answer"):
            connecting.result()
        client.close(0)


class TestSilence:
    SETTINGS = Settings(ping_interval=0.05, ping_timeout=0.5, first_delay=0.001)

    def test_a_server_that_does_not_answer_pings_is_left(self, scripted: Scripted, seen: Seen) -> None:
        client = Client(scripted.url, settings=self.SETTINGS, on_connection=seen.append)
        connected(client, scripted)  # and reads nothing
        scripted.greeted()
        seen.wait(3)
        assert "does not answer" in str(seen[1])
        client.close(0)

    def test_one_that_does_is_kept(self, scripted: Scripted, seen: Seen) -> None:
        settings = replace(self.SETTINGS, ping_timeout=5.0)
        client = Client(scripted.url, settings=settings, on_connection=seen.append)
        peer = connected(client, scripted)
        reading = Background(peer.next)
        deadline = eventually()
        while peer.pings < 5:
            deadline.again()
        assert seen == [None]
        client.close()
        with pytest.raises(Hung):
            reading.result()

    def test_pings_of_the_server_are_answered(self, client: Client, scripted: Scripted) -> None:
        peer = connected(client, scripted)
        peer.socket.sendall(b"\x89\x01x")
        assert peer.socket.recv(100)[:2] == b"\x8a\x81"


class TestPublishing:
    def test_what_was_not_answered_is_unknown(self, client: Client, scripted: Scripted) -> None:
        peer = connected(client, scripted)
        sent = [client.publish_nowait("/a", "x", message_id=name) for name in ("1", "2")]
        peer.hear(b"> /a 1\n\nx")
        peer.hear(b"> /a 2\n\nx")
        peer.say(notification.send_ok(b"1", b"/a", 1, 2))
        sent[0].result(20)
        peer.socket.close()
        with pytest.raises(PublishUnknown, match="not answered: "):
            sent[1].result(20)
        with pytest.raises(PublishUnknown):
            client.flush(20)

    def test_with_resend_it_is_sent_again(self, scripted: Scripted) -> None:
        client = Client(scripted.url, resend=True, settings=QUICK)
        peer = connected(client, scripted)
        sent = client.publish_nowait("/a", "x", message_id="1")
        peer.hear(b"> /a 1\n\nx")
        peer.socket.close()
        again = scripted.greeted()
        again.hear(b"> /a 1\n\nx")
        again.say(notification.send_ok(b"1", b"/a", 1, 2))
        assert sent.result(20).id == 1
        client.close(0)

    def test_what_is_published_without_a_connection_waits_for_one(
        self, client: Client, scripted: Scripted, seen: Seen
    ) -> None:
        connected(client, scripted).socket.close()
        seen.wait(2)
        client.publish_nowait("/a", "x", message_id="1")
        scripted.greeted().hear(b"> /a 1\n\nx")

    def test_what_could_not_be_sent_in_time_never_is(
        self, client: Client, scripted: Scripted, seen: Seen
    ) -> None:
        connected(client, scripted).socket.close()
        seen.wait(2)
        with pytest.raises(NotConnected, match=r"not connected to ws://127\.0\.0\.1"):
            client.publish("/a", "x", message_id="1", timeout=0)
        client.publish_nowait("/a", "x", message_id="2")
        scripted.greeted().hear(b"> /a 2\n\nx")

    def test_an_answer_that_does_not_come_in_time_is_unknown(
        self, client: Client, scripted: Scripted
    ) -> None:
        peer = connected(client, scripted)
        publishing = Background(lambda: client.publish("/a", "x", message_id="1", timeout=1))
        peer.hear(b"> /a 1\n\nx")
        with pytest.raises(PublishUnknown, match="not answered in time"):
            publishing.result()

    def test_a_message_that_closes_the_connection_is_not_sent_again(self, scripted: Scripted) -> None:
        client = Client(scripted.url, resend=True, settings=QUICK)
        peer = connected(client, scripted)
        small, large = (client.publish_nowait("/a", "x" * size, message_id="m") for size in (1, 100))
        for _ in (small, large):
            peer.next()
        peer.close(1009)
        with pytest.raises(MessageTooLarge):
            large.result(20)
        again = scripted.greeted()
        again.hear(b"> /a m\n\nx")
        again.say(notification.send_ok(b"m", b"/a", 1, 2))
        small.result(20)
        client.close(0)


class TestSubscriptions:
    def test_one_that_the_server_does_not_take(self, client: Client, scripted: Scripted) -> None:
        peer = connected(client, scripted)
        subscribing = Background(client.subscribe, "/a", 0)
        peer.hear(b"+ /a 0")
        peer.say(notification.error_subscribed_to(b"/a", "more than 10000 subscriptions"))
        with pytest.raises(SubscribeFailed, match="more than 10000 subscriptions"):
            subscribing.result()

    def test_one_that_the_server_had_to_end_is_begun_again(self, client: Client, scripted: Scripted) -> None:
        peer = connected(client, scripted)
        reading = subscribed(client, peer, message(b"/a", 1))
        peer.say(notification.error_subscribed_to(b"/a", "the message store cannot be read now"))
        begins(peer, b"/a", 2, message(b"/a", 2))
        assert [next(reading).id, next(reading).id] == [1, 2]

    def test_a_gap_is_told_in_its_place(self, client: Client, scripted: Scripted) -> None:
        peer = connected(client, scripted)
        gaps: list[Gap] = []
        ids: list[int] = []
        subscribing = Background(
            lambda: client.subscribe("/a", 0, callback=lambda each: ids.append(each.id), on_gap=gaps.append)
        )
        begins(peer, b"/a", 0, message(b"/a", 1), notification.error_gap(b"/a", 2, 5), message(b"/a", 6))
        subscribing.result()
        deadline = eventually()
        while len(ids) < 2:
            deadline.again()
        assert (ids, gaps) == ([1, 6], [Gap("/a", 2, 5)])

    def test_one_that_ends_without_a_connection_is_not_set_up_again(
        self, client: Client, scripted: Scripted, seen: Seen
    ) -> None:
        peer = connected(client, scripted)
        reading = subscribed(client, peer)
        peer.socket.close()
        seen.wait(2)
        reading.close()
        client.publish_nowait("/b", "x", message_id="m")
        scripted.greeted().hear(b"> /b m\n\nx")


def test_a_fetch_that_was_given_up_leaves_nothing(client: Client, scripted: Scripted) -> None:
    peer = connected(client, scripted)
    with pytest.raises(Timeout, match="not answered in time"):
        client.fetch("/a", 0, 7, timeout=0.05)
    peer.hear(b"+ /a 0 7")
    peer.hear(b"- /a")
    peer.say(notification.fetch_start(b"/a", 7), message(b"/a", 1))
    again = Background(client.fetch, "/a", 0, 2)
    peer.say(message(b"/a", 2), notification.canceled(b"/a"))
    peer.hear(b"+ /a 0 2")
    peer.say(notification.fetch_start(b"/a", 1), message(b"/a", 3), notification.fetch_done(b"/a"))
    found = again.result()
    assert isinstance(found, list)
    assert [each.id for each in found] == [3]
