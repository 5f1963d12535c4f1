"""Lanes and feeds: what is held, what is left in the log, what is finished."""

import pytest

from gobbler.connectors.lane import QUEUE_MESSAGES, Feed, Lane, weight
from gobbler.connectors.position import Position
from gobbler.connectors.subscription import Device
from gobbler.protocol.message import Message

A, B = Device("a", "u"), Device("b", "u")


def message(id: int) -> Message:
    return Message(b"/foo", id, b"", b"", b"", 0, b"", b"body")


def lane_of(feed: Feed, device: Device, *ids: int) -> Lane:
    lane = feed.lane(device, ids[0])
    assert lane is not None
    for id in ids:
        lane.offer(message(id))
    return lane


def test_a_lane_holds_a_few_and_leaves_the_rest_in_the_log() -> None:
    lane = Lane(Feed("foo", 0), A, 0)
    taken = [lane.offer(message(id)) for id in range(1, QUEUE_MESSAGES + 5)]
    assert taken == [True] * QUEUE_MESSAGES + [False] * 4
    assert (lane.first, lane.unread, lane.taken) == (1, QUEUE_MESSAGES + 1, QUEUE_MESSAGES)
    assert lane.weight == QUEUE_MESSAGES * weight(message(1))


def test_a_lane_takes_nothing_twice() -> None:
    lane = lane_of(Feed("foo", 0), A, 1, 2)
    assert not lane.offer(message(2))
    assert [one.id for one in lane.queue] == [1, 2]


def test_a_lane_that_waits_holds_nothing() -> None:
    lane = lane_of(Feed("foo", 0), A, 3, 4)
    assert lane.release() == 2 * weight(message(3))
    assert (lane.first, lane.unread, lane.weight) == (3, 3, 0)
    assert lane.release() == 0
    assert not lane.offer(message(5)), "it is in the log"
    lane.take([message(3)], 4, more=True)
    assert (lane.first, lane.unread) == (3, 4)


def test_a_position_tells_of_what_was_tried() -> None:
    lane = lane_of(Feed("foo", 0), A, 3, 5)
    assert lane.position() == Position("foo", A, 2)
    assert lane.position(sending=True) == Position("foo", A, 2, 3, sending=True)
    lane.attempts, lane.since, lane.due = 1, 10.0, 20.0
    assert lane.position() == Position("foo", A, 2, 3, 1, 10.0, 20.0)
    lane.finish(3)
    lane.queue.popleft()
    assert lane.position() == Position("foo", A, 3)


def test_a_feed_is_finished_up_to_its_slowest_lane() -> None:
    feed = Feed("foo", 4)
    assert feed.unfinished() == 5
    slow, fast = lane_of(feed, A, 5, 7), lane_of(feed, B, 6)
    feed.read(8)
    assert feed.unfinished() == 5
    slow.finish(5)
    slow.queue.popleft()
    assert feed.unfinished() == 6
    feed.end(fast)
    assert feed.unfinished() == 7
    feed.end(slow)
    assert feed.unfinished() == 8


def test_nothing_is_finished_that_was_not_read() -> None:
    feed = Feed("foo", 4)
    feed.lanes[A] = Lane(feed, A, 6)  # from before a restart: ahead of what the feed has read again
    assert feed.unfinished() == 5
    feed.read(9)
    assert feed.unfinished() == 7


def test_what_a_device_has_done_ahead_of_the_watermark_is_not_done_again() -> None:
    feed = Feed("foo", 4)
    feed.done[A] = 6
    assert feed.lane(A, 6) is None
    assert feed.lane(A, 7) is not None
    feed.watermark = 6
    assert feed.surpassed() == [], "its lane may have to be kept"
    feed.end(feed.lanes[A])
    assert feed.surpassed() == [A]


def test_a_renamed_device_takes_its_lane_along() -> None:
    feed = Feed("foo", 0)
    lane = lane_of(feed, A, 1)
    feed.done[A] = 3
    assert feed.rename(A, B, joins=False) == (0, 0, None)
    assert (feed.lanes, lane.device, lane.first, len(lane.queue)) == ({B: lane}, B, 1, 1)
    assert feed.rename(A, B, joins=False) == (0, 0, None)


def test_a_renamed_device_takes_its_position_along() -> None:
    feed = Feed("foo", 4)
    feed.done[A] = 9
    assert feed.rename(A, B, joins=False) == (0, 0, None)
    assert feed.done[B] == 9


def test_where_both_have_a_lane_nothing_is_lost() -> None:
    feed = Feed("foo", 0)
    old, new = lane_of(feed, A, 2, 6), lane_of(feed, B, 4, 5)
    feed.read(7)
    assert feed.rename(A, B, joins=True) == (4 * weight(message(1)), 1, None)
    assert old.dropped
    assert (feed.lanes, new.unread, list(new.queue)) == ({B: new}, 2, [])
    assert new.position() == Position("foo", B, 1), "a crash now would lose nothing either"
    new.finish(4)  # which was on its way
    assert (new.position(), new.first) == (Position("foo", B, 1), 2)


@pytest.mark.parametrize("of", [A, B], ids=["the old one", "the new one"])
def test_a_lane_ahead_of_what_was_read_again_goes_back_for_the_other(of: Device) -> None:
    """After a restart, a device that was being tried has a lane; the other one begins at the watermark."""
    feed = Feed("foo", 4)
    feed.lanes[of] = lane = Lane(feed, of, 8)
    lane.rewind(9)
    assert feed.rename(A, B, joins=True) == (0, 0, None)
    assert (feed.lanes, lane.device, lane.first) == ({B: lane}, B, 5)


@pytest.mark.parametrize("of", [A, B], ids=["the old one", "the new one"])
def test_a_lane_goes_on_where_the_other_has_had_everything(of: Device) -> None:
    feed = Feed("foo", 0)
    lane = lane_of(feed, of, 2, 3)
    feed.read(7)
    assert feed.rename(A, B, joins=True) == (0, 0, None)
    assert (feed.lanes, lane.device, len(lane.queue)) == ({B: lane}, B, 2)
    assert lane.offer(message(7))


@pytest.mark.parametrize("of", [A, B], ids=["of the old one", "of the new one"])
def test_no_position_is_taken_that_is_ahead_of_the_other(of: Device) -> None:
    feed = Feed("foo", 4)
    feed.done[of] = 9
    assert feed.rename(A, B, joins=True) == (0, 0, None)
    assert feed.done[B] == 4, "the other has had nothing that the feed has not read"


def test_the_lower_of_two_positions_is_taken() -> None:
    feed = Feed("foo", 4)
    feed.done.update({A: 7, B: 9})
    assert feed.rename(A, B, joins=True) == (0, 0, None)
    assert feed.done[B] == 7


class TestDuringAHandOut:
    """The old device was wanted for the message, and may not have had its turn."""

    def test_a_device_without_a_lane_gets_one(self) -> None:
        feed = Feed("foo", 4)
        feed.horizon = 5
        assert feed.rename(A, B, joins=False).begun is feed.lanes[B]
        assert (feed.lanes[B].first, feed.lanes[B].unread) == (5, 5)

    def test_a_lane_reads_on_for_itself(self) -> None:
        feed = Feed("foo", 4)
        lane = lane_of(feed, A, 5)
        feed.horizon = 6
        assert feed.rename(A, B, joins=False) == (0, 0, None)
        assert (lane.first, lane.unread, len(lane.queue)) == (5, 6, 1)
        assert not lane.offer(message(7))


def test_what_is_shown_names_no_device() -> None:
    feed = Feed("foo", 0)
    assert repr(lane_of(feed, Device("secret", "u"), 1)) == "<Lane of foo after 0, 1 queued>"
    assert repr(feed) == "<Feed foo at 1, 1 lanes>"
