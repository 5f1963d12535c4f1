"""The publisher: its window, its answers, and what becomes of what is not answered."""

import pytest

from gobbler.client import (
    BadAnswer,
    Closed,
    ConnectionLost,
    MessageTooLarge,
    PublishFailed,
    PublishUnknown,
    Receipt,
    Timeout,
)
from gobbler.client.publishing import Publication, Publisher
from gobbler.client.waiting import Deadline
from gobbler.protocol import notification
from tests.client.scripted import Background

NOW = Deadline(0)
LOST = ConnectionLost("the cable is cut")


def publisher(window: int = 100, window_bytes: int = 1000, resend: bool = False) -> Publisher:
    return Publisher(window, window_bytes, resend)


def submit(to: Publisher, *names: str, payload: bytes = b"") -> list[Publication]:
    return [to.submit(payload or b"> /a %b\n\n" % name.encode(), name, False, NOW) for name in names]


def ok(name: str, id: int) -> bytes:
    return notification.send_ok(name.encode(), b"/a", id, 9)


def failed(name: str, text: str) -> bytes:
    return notification.send_error(name.encode(), b"/a", text, 9)


class TestAnswers:
    def test_they_come_in_the_order_of_the_sends(self) -> None:
        publishing = publisher()
        one, two, three = submit(publishing, "1", "2", "3")
        assert publishing.take(1000) == [b"> /a 1\n\n", b"> /a 2\n\n", b"> /a 3\n\n"]
        publishing.answered([ok("1", 7), failed("2", "topic holds a comma")])
        assert one.result(0) == Receipt(7, "/a", "1", 9)
        with pytest.raises(PublishFailed, match=r"^topic holds a comma$"):
            two.result(0)
        assert not three.done
        with pytest.raises(Timeout):
            three.result(0)
        publishing.answered([ok("3", 8)])
        assert three.result(0).id == 8
        assert not publishing.pending

    def test_whoever_waits_is_woken(self) -> None:
        publishing = publisher()
        (one,) = submit(publishing, "1")
        waiting = [Background(one.result, 20) for _ in range(3)]
        publishing.take(1)
        publishing.answered([ok("1", 7)])
        assert [each.result() for each in waiting] == [Receipt(7, "/a", "1", 9)] * 3

    @pytest.mark.parametrize("answer", [ok("2", 1), ok("", 1), ok("11", 1), failed("2", "no"), b"#send"])
    def test_one_that_fits_no_message(self, answer: bytes) -> None:
        publishing = publisher()
        submit(publishing, "1")
        publishing.take(1)
        with pytest.raises(BadAnswer):
            publishing.answered([answer])

    def test_those_before_a_wrong_one_count(self) -> None:
        publishing = publisher(window_bytes=100)
        one, _two = submit(publishing, "1", "2", payload=b"x" * 50)
        publishing.take(1000)
        with pytest.raises(BadAnswer):
            publishing.answered([ok("1", 1), ok("3", 2)])
        assert one.result(0).id == 1
        submit(publishing, "3", payload=b"x" * 50)

    def test_one_that_nobody_waits_for(self) -> None:
        with pytest.raises(BadAnswer):
            publisher().answered([ok("1", 1)])

    def test_a_publication_shows_how_far_it_is(self) -> None:
        publishing = publisher()
        one, two = submit(publishing, "1", "2")
        publishing.take(1000)
        publishing.answered([ok("1", 1), failed("2", "no")])
        (three,) = submit(publishing, "3")
        shown = [repr(each) for each in (one, two, three)]
        assert shown == ["<Publication 1 stored>", "<Publication 2 failed>", "<Publication 3 waiting>"]


class TestWindow:
    def test_it_has_room_for_so_many_messages(self) -> None:
        publishing = publisher(window=2)
        submit(publishing, "1", "2")
        with pytest.raises(Timeout, match="window is full"):
            submit(publishing, "3")
        waiting = Background(publishing.submit, b"", "3", False, Deadline(20))
        publishing.take(1)
        publishing.answered([ok("1", 1)])
        assert isinstance(waiting.result(), Publication)

    def test_it_has_room_for_so_many_bytes(self) -> None:
        publishing = publisher(window_bytes=100)
        submit(publishing, "1", payload=b"x" * 60)
        with pytest.raises(Timeout):
            submit(publishing, "2", payload=b"x" * 60)
        submit(publishing, "3", payload=b"x" * 40)

    def test_one_message_always_has_room(self) -> None:
        submit(publisher(window_bytes=100), "1", payload=b"x" * 1000)

    def test_what_is_taken_at_once_has_a_limit(self) -> None:
        publishing = publisher()
        submit(publishing, "1", "2", "3", payload=b"x" * 100)
        assert [len(publishing.take(150)), len(publishing.take(150)), len(publishing.take(150))] == [2, 1, 0]

    @pytest.mark.parametrize("resend", [False, True])
    def test_nothing_of_it_is_lost(self, resend: bool) -> None:
        """After all that can happen to messages, the window is empty."""
        publishing = publisher(window_bytes=100, resend=resend)
        for _ in range(3):
            submit(publishing, "1", "2", payload=b"x" * 20)
            publishing.take(1)
            publishing.lost(LOST)
            (third,) = submit(publishing, "3", payload=b"x" * 20)
            assert publishing.withdraw(third)
            payloads = publishing.take(1000)
            publishing.answered([ok(name, 1) for name in ("1", "2")[-len(payloads) :]])
            assert not publishing.pending
            (large,) = submit(publishing, "4", payload=b"x" * 100)
            publishing.withdraw(large)


class TestLoss:
    def test_what_was_sent_is_unknown_and_what_was_not_waits(self) -> None:
        publishing = publisher()
        one, two = submit(publishing, "1", "2")
        publishing.take(1)
        publishing.lost(LOST)
        with pytest.raises(PublishUnknown, match="the cable is cut"):
            one.result(0)
        assert not two.done
        assert publishing.take(1000) == [b"> /a 2\n\n"]

    def test_with_resend_all_is_sent_again_in_order(self) -> None:
        publishing = publisher(resend=True)
        one, two, three = submit(publishing, "1", "2", "3")
        publishing.take(9)
        publishing.lost(LOST)
        publishing.lost(LOST)
        assert publishing.take(1000) == [b"> /a 1\n\n", b"> /a 2\n\n", b"> /a 3\n\n"]
        publishing.answered([ok("1", 1), ok("2", 2), ok("3", 3)])
        assert [each.result(0).id for each in (one, two, three)] == [1, 2, 3]

    def test_with_resend_what_its_publisher_gave_up_is_not(self) -> None:
        publishing = publisher(resend=True)
        one, _two = submit(publishing, "1", "2")
        publishing.take(1000)
        assert not publishing.withdraw(one)
        publishing.lost(LOST)
        assert publishing.take(1000) == [b"> /a 2\n\n"]
        with pytest.raises(PublishUnknown):
            one.result(0)

    @pytest.mark.parametrize("resend", [False, True])
    def test_one_that_is_too_large_is_not_sent_again(self, resend: bool) -> None:
        publishing = publisher(resend=resend)
        (small,) = submit(publishing, "1")
        (large,) = submit(publishing, "2", payload=b"x" * 500)
        publishing.take(1000)
        publishing.lost(ConnectionLost("closed", 1009))
        with pytest.raises(MessageTooLarge):
            large.result(0)
        assert small.done is not resend
        assert len(publishing.take(1000)) == resend

    def test_one_that_was_not_sent_can_be_withdrawn(self) -> None:
        publishing = publisher()
        (one,) = submit(publishing, "1")
        assert publishing.withdraw(one)
        assert publishing.take(1000) == []
        assert one.done


class TestFlush:
    def test_it_waits_for_the_last(self) -> None:
        publishing = publisher()
        publishing.flush(NOW)
        submit(publishing, "1", "2")
        publishing.take(1)
        with pytest.raises(Timeout, match="2 messages"):
            publishing.flush(NOW)
        publishing.answered([ok("1", 1)])
        waiting = Background(publishing.flush, Deadline(20))
        publishing.take(1)
        publishing.answered([ok("2", 2)])
        assert waiting.result() is None

    def test_it_tells_of_failures_once(self) -> None:
        publishing = publisher()
        submit(publishing, "1", "2", "3")
        publishing.take(9)
        publishing.answered([failed("1", "disk full")])
        publishing.lost(LOST)
        publishing.take(1000)
        publishing.answered([ok("3", 3)])
        with pytest.raises(PublishFailed, match=r"^2 of the messages: disk full$"):
            publishing.flush(NOW)
        publishing.flush(NOW)

    def test_it_does_not_repeat_what_somebody_was_told(self) -> None:
        publishing = publisher()
        publishing.submit(b"x", "1", True, NOW)
        publishing.take(1)
        publishing.answered([failed("1", "disk full")])
        publishing.flush(NOW)


def test_the_end() -> None:
    publishing = publisher(window=2)
    one, two = submit(publishing, "1", "2")
    publishing.take(1)
    waiting = Background(publishing.submit, b"", "3", False, Deadline(20))
    publishing.close()
    with pytest.raises(PublishUnknown):
        one.result(0)
    with pytest.raises(Closed):
        two.result(0)
    with pytest.raises(Closed):
        waiting.result()
    publishing.close()
