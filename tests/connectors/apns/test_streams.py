"""Slots, windows, GOAWAY and resets: what becomes of whom, without a socket."""

import json
import logging

import pytest
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, PingReceived, RemoteSettingsChanged
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import HeadersFrame, RstStreamFrame
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.apns import streams as module
from gobbler.connectors.apns.answers import Answer
from gobbler.connectors.apns.streams import ANSWER_BYTES, MAX_STREAMS, Streams
from gobbler.connectors.outcome import Outage, Pause
from tests.connectors.apns.peer import DEADLINE, HEADERS, Caller, Peer

LARGEST_ID = 2**31 - 1


@pytest.fixture
def streams() -> Streams:
    return Streams(cautious=False)


@pytest.fixture
def peer(streams: Streams) -> Peer:
    return Peer(streams, max_concurrent_streams=100)


def callers(streams: Streams, number: int) -> list[Caller]:
    return [Caller(streams) for _ in range(number)]


# Requests and answers


def test_a_request_and_its_answer(streams: Streams, peer: Peer) -> None:
    caller = Caller(streams, b'{"aps": {}}')
    peer.turn()
    assert (peer.headers, peer.bodies, peer.ended) == ({1: dict(HEADERS)}, {1: b'{"aps": {}}'}, [1])
    assert caller.waits
    peer.answer(1, 410, b'{"reason": "Unregistered"}', retry_after="7", apns_id="an id")
    assert caller.result == Answer(410, b'{"reason": "Unregistered"}', b"7")


def test_push_is_turned_off(streams: Streams, peer: Peer) -> None:
    (settings,) = [event for event in peer.events if isinstance(event, RemoteSettingsChanged)]
    assert settings.changed_settings[SettingCodes.ENABLE_PUSH].new_value == 0


def test_it_is_ready_when_the_settings_are_there(streams: Streams) -> None:
    assert not streams.ready
    Peer(streams)
    assert streams.ready


def test_an_answer_without_end_is_cut(streams: Streams, peer: Peer) -> None:
    caller = Caller(streams)
    peer.turn()
    peer.h2.send_headers(1, [(":status", "500")])
    for _ in range(20):
        peer.h2.send_data(1, bytes(10_000))
        peer.turn()
    peer.h2.end_stream(1)
    peer.turn()
    assert isinstance(caller.result, Answer)
    assert len(caller.result.body) < ANSWER_BYTES + 10_000


def test_an_answer_may_come_before_the_request_is_whole(streams: Streams) -> None:
    peer = Peer(streams, initial_window_size=10)
    early, other = Caller(streams, bytes(100)), Caller(streams)
    peer.turn()
    peer.answer(1, 413, b"{}")
    assert early.status == 413
    assert peer.resets == [(1, ErrorCodes.CANCEL)]
    peer.answer(3)
    assert other.status == 200


def test_an_answer_without_a_status_is_one(streams: Streams, peer: Peer) -> None:
    caller = Caller(streams)
    peer.turn()
    frame = HeadersFrame(1, flags=["END_HEADERS", "END_STREAM"])
    frame.data = peer.h2.encoder.encode([("apns-id", "x")])
    peer.frame(frame)
    assert caller.status == 0


def test_a_thousand_streams_leave_nothing_behind(streams: Streams, peer: Peer) -> None:
    for stream_id in range(1, 2_000, 2):
        caller = Caller(streams)
        peer.turn()
        peer.answer(stream_id)
        assert caller.status == 200
    assert len(streams._h2.streams) == 0
    assert repr(streams) == "<Streams accepting open=0 waiting=0 slots=100>"


# Slots


def test_no_more_streams_than_the_peer_allows(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=3)
    waiting = callers(streams, 5)
    peer.turn()
    assert peer.ended == [1, 3, 5]
    peer.answer(3)
    assert peer.ended == [1, 3, 5, 7]
    assert [caller.waits for caller in waiting] == [True, False, True, True, True]
    peer.update(max_concurrent_streams=1)
    peer.answer(1)
    peer.answer(5)
    assert peer.ended == [1, 3, 5, 7]
    peer.answer(7)
    assert peer.ended == [1, 3, 5, 7, 9]


def test_a_peer_without_a_limit_gets_ours(streams: Streams) -> None:
    peer = Peer(streams)
    callers(streams, MAX_STREAMS + 1)
    peer.turn()
    assert len(peer.ended) == MAX_STREAMS


def test_a_peer_that_allows_nothing_gets_nothing(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=0)
    caller = Caller(streams)
    peer.turn()
    assert peer.ended == []
    peer.update(max_concurrent_streams=1)
    peer.answer(1)
    assert caller.status == 200


def test_with_caution_there_is_one_stream_until_a_push_succeeds() -> None:
    streams = Streams(cautious=True)
    peer = Peer(streams, max_concurrent_streams=100)
    callers(streams, 10)
    peer.turn()
    assert peer.ended == [1]
    peer.answer(1, 403, b"{}")
    assert peer.ended == [1, 3]
    peer.answer(3)
    assert len(peer.ended) == 10


def test_with_caution_there_are_more_when_the_peer_says_so() -> None:
    streams = Streams(cautious=True)
    peer = Peer(streams, max_concurrent_streams=1)
    callers(streams, 10)
    peer.turn()
    peer.answer(1, 410, b"{}")
    assert peer.ended == [1, 3]
    peer.update(max_concurrent_streams=100)
    assert len(peer.ended) == 10


def test_the_last_stream_id_ends_the_connection(
    streams: Streams, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LAST_STREAM_ID", 3)
    first, second, third = callers(streams, 3)
    peer.turn()
    assert not streams.accepting
    assert third.handed_back
    peer.answer(1)
    peer.answer(3)
    assert (first.status, second.status) == (200, 200)
    assert streams.finished


# Windows


def test_payloads_wait_for_the_connections_window(streams: Streams, peer: Peer) -> None:
    payloads = [bytes([65 + n]) * 4096 for n in range(40)]
    waiting = [Caller(streams, payload) for payload in payloads]
    peer.turn()
    assert sum(map(len, peer.bodies.values())) == 65535
    assert len(peer.ended) == 15
    # Of the first that does not fit a part is sent; no streams are opened only to wait.
    assert len(peer.headers) == 16
    while len(peer.ended) < 40:
        peer.open_windows(size=10_000)
    assert list(peer.bodies.values()) == payloads
    for stream_id in peer.ended:
        peer.answer(stream_id)
    assert {caller.status for caller in waiting} == {200}


def test_payloads_wait_for_their_streams_windows(streams: Streams) -> None:
    peer = Peer(streams, initial_window_size=1000, max_concurrent_streams=100)
    large, small = Caller(streams, b"a" * 2500), Caller(streams, b"b")
    peer.turn()
    assert peer.bodies == {1: b"a" * 1000}
    peer.open_windows(1, size=1000)
    assert peer.bodies == {1: b"a" * 2000}
    peer.open_windows(1, size=500)
    assert peer.bodies == {1: b"a" * 2500, 3: b"b"}
    peer.answer(1)
    peer.answer(3)
    assert (large.status, small.status) == (200, 200)


def test_a_window_may_shrink_below_nothing(streams: Streams) -> None:
    peer = Peer(streams, initial_window_size=1000)
    Caller(streams, b"a" * 2500)
    peer.turn()
    peer.update(initial_window_size=100)
    peer.open_windows(1, size=500)
    assert peer.bodies == {1: b"a" * 1000}
    peer.open_windows(1, size=2000)
    assert peer.ended == [1]


@given(st.lists(st.integers(1, 5120), min_size=1, max_size=30), st.integers(0, 5000), st.integers(1, 70_000))
def test_whatever_the_windows_everything_arrives(sizes: list[int], window: int, step: int) -> None:
    streams = Streams(cautious=False)
    peer = Peer(streams, initial_window_size=window, max_concurrent_streams=10)
    step = max(step, sum(sizes) // 500)  # a round for each byte would take minutes
    waiting = [Caller(streams, bytes(size)) for size in sizes]
    while any(caller.waits for caller in waiting):
        peer.turn()
        for stream_id in peer.ended:
            if stream_id in peer.headers:
                del peer.headers[stream_id]
                peer.answer(stream_id)
        unfinished = [stream_id for stream_id in peer.headers if stream_id not in peer.ended]
        if unfinished:
            peer.open_windows(*unfinished, size=step)
    assert [caller.status for caller in waiting] == [200] * len(sizes)
    assert sorted(map(len, peer.bodies.values())) == sorted(sizes)


# GOAWAY


def test_at_a_goaway_what_is_not_seen_is_handed_back_and_the_rest_awaited(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=4)
    seen, seen_too, unseen, unseen_too, waiting = callers(streams, 5)
    peer.turn()
    peer.go_away(3)
    assert (unseen.handed_back, unseen_too.handed_back, waiting.handed_back) == (True, True, True)
    assert (seen.waits, seen_too.waits) == (True, True)
    assert not streams.accepting
    assert not streams.finished
    peer.answer(3, 400, b"{}")
    peer.answer(1)
    assert (seen.status, seen_too.status) == (200, 400)
    assert streams.finished


def test_a_goaway_between_answers_loses_none(streams: Streams, peer: Peer) -> None:
    """All in one read, as when APNs answers and closes."""
    first, second, third = callers(streams, 3)
    peer.turn()
    peer.h2.send_headers(1, [(":status", "200")], end_stream=True)
    before = peer.h2.data_to_send()
    peer.h2.send_headers(3, [(":status", "410")], end_stream=True)
    after = peer.h2.data_to_send()
    peer.h2.close_connection(last_stream_id=3)
    streams.receive(before + peer.h2.data_to_send() + after)
    assert (first.status, second.status, third.handed_back) == (200, 410, True)
    assert streams.finished


def test_a_graceful_goaway_comes_twice(streams: Streams, peer: Peer) -> None:
    first, second = callers(streams, 2)
    peer.turn()
    peer.go_away(LARGEST_ID)
    assert (first.waits, second.waits, streams.accepting) == (True, True, False)
    peer.go_away(1)
    assert (first.waits, second.handed_back) == (True, True)
    peer.answer(1)
    assert first.status == 200


def test_what_is_not_sent_yet_is_sent_after_a_goaway(streams: Streams, peer: Peer) -> None:
    """h2 would throw away what it has to send, and with it requests that are still served."""
    caller = Caller(streams)
    streams._begin(streams._waiting.popleft())
    peer.go_away(LARGEST_ID)
    peer.turn()
    assert peer.ended == [1]
    peer.answer(1)
    assert caller.status == 200


def test_a_payload_that_waits_for_a_window_is_completed_after_a_goaway(streams: Streams) -> None:
    peer = Peer(streams, initial_window_size=10)
    caller = Caller(streams, bytes(20))
    peer.turn()
    peer.go_away(1)
    peer.open_windows(1)
    peer.answer(1)
    assert caller.status == 200


def test_a_late_answer_to_what_was_handed_back_is_ignored(streams: Streams, peer: Peer) -> None:
    seen, unseen = callers(streams, 2)
    peer.turn()
    peer.go_away(1)
    assert unseen.handed_back
    peer.answer(3, 200)
    peer.answer(1, 200)
    assert unseen.handed_back
    assert seen.status == 200


def test_a_goaway_may_tell_what_has_to_be_mended(streams: Streams, peer: Peer) -> None:
    caller = Caller(streams)
    peer.turn()
    peer.go_away(0, text=json.dumps({"reason": "BadCertificate"}).encode())
    assert isinstance(caller.result, Pause)
    assert (caller.result.reason, caller.result.alert) == ("BadCertificate", True)


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (0, b'{"reason": "Shutdown"}', "Shutdown"),
        (1, b"", "PROTOCOL_ERROR"),
        (4711, b"no JSON", "error 4711"),
    ],
)
def test_other_reasons_are_logged_only(
    streams: Streams, peer: Peer, caplog: pytest.LogCaptureFixture, code: int, text: bytes, told: str
) -> None:
    caplog.set_level(logging.INFO)
    caller = Caller(streams)
    peer.turn()
    peer.go_away(0, code, text)
    assert caller.handed_back
    assert f"APNs ends a connection: {told}, 1 requests under way, 1 of them unseen" in caplog.text


# Resets, deadlines, callers that leave


def test_a_refused_stream_is_handed_back(streams: Streams, peer: Peer) -> None:
    refused, other = callers(streams, 2)
    peer.turn()
    peer.reset(1, ErrorCodes.REFUSED_STREAM)
    peer.answer(3)
    assert (refused.handed_back, other.status) == (True, 200)
    assert streams.accepting


def test_of_a_stream_that_is_reset_nobody_knows(streams: Streams) -> None:
    peer = Peer(streams, initial_window_size=10)
    caller = Caller(streams, bytes(20))
    peer.turn()
    peer.reset(1, ErrorCodes.INTERNAL_ERROR)
    assert caller.result == Outage("stream-reset", "APNs ended the stream with INTERNAL_ERROR")
    assert len(streams._h2.streams) == 0
    Caller(streams)
    peer.turn()
    assert peer.ended == [3]


def test_who_waits_too_long_is_told_and_the_slot_is_free(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=2)
    late, in_time = Caller(streams, deadline=10), Caller(streams, deadline=11)
    waiting, patient = Caller(streams, deadline=10), Caller(streams, deadline=11)
    peer.turn()
    streams.expire(10)
    assert late.result == Outage("timeout", "APNs did not answer in time")
    assert waiting.result == Outage("timeout", "there was no free stream in time")
    assert (in_time.waits, patient.waits) == (True, True)
    peer.turn()
    assert peer.resets == [(1, ErrorCodes.CANCEL)]
    assert peer.ended == [1, 3, 5]


def test_who_waited_too_long_leaves_nothing_behind(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=10)
    for _ in range(10):
        late = [Caller(streams, deadline=10) for _ in range(10)]
        peer.turn()
        streams.expire(10)
        assert not any(caller.waits for caller in late)
    assert len(streams._h2.streams) == 0


def test_an_answer_that_crosses_the_reset_is_ignored(streams: Streams, peer: Peer) -> None:
    late, other = Caller(streams, deadline=10), Caller(streams)
    peer.turn()
    peer.h2.send_headers(1, [(":status", "400")])
    peer.h2.send_data(1, b"{}", end_stream=True)
    streams.expire(10)
    streams.receive(peer.h2.data_to_send())
    assert isinstance(late.result, Outage)
    peer.turn()
    peer.answer(3)
    assert other.status == 200


def test_who_leaves_leaves_the_slot(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=1)
    first, second, third = callers(streams, 3)
    peer.turn()
    streams.cancel(second.exchange)
    streams.cancel(first.exchange)
    peer.turn()
    assert peer.ended == [1, 3]
    peer.answer(3)
    assert (first.waits, second.waits, third.status) == (True, True, 200)
    streams.cancel(third.exchange)


def test_a_peer_that_breaks_the_protocol_is_found_out(streams: Streams, peer: Peer) -> None:
    with pytest.raises(ProtocolError):
        streams.receive(RstStreamFrame(99).serialize() + b"\0\0\x05\x01\x04\0\0\0\x01HELLO")


# The end


def test_at_the_end_everyone_is_told(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=2)
    lost, lost_too, waiting = callers(streams, 3)
    peer.turn()
    why = Outage("connection-lost", "why")
    streams.end(why)
    streams.end(why)
    assert (lost.result, lost_too.result, waiting.handed_back) == (why, why, True)
    assert streams.finished


def test_finishing_awaits_what_is_under_way(streams: Streams) -> None:
    peer = Peer(streams, max_concurrent_streams=1)
    first, waiting = callers(streams, 2)
    peer.turn()
    streams.finish()
    assert (first.waits, waiting.handed_back, streams.finished) == (True, True, False)
    peer.answer(1)
    assert (first.status, streams.finished) == (200, True)
    peer.h2.receive_data(b"")
    (goodbye,) = peer.h2.receive_data(streams.goodbye())
    assert isinstance(goodbye, ConnectionTerminated)
    assert goodbye.error_code == ErrorCodes.NO_ERROR


def test_a_ping_is_one(streams: Streams, peer: Peer) -> None:
    streams.ping()
    peer.turn()
    assert len([event for event in peer.events if isinstance(event, PingReceived)]) == 1


def test_time_is_told_by_whoever_calls(streams: Streams) -> None:
    caller = Caller(streams)
    streams.expire(DEADLINE - 1)
    assert caller.waits
    streams.expire(DEADLINE)
    assert not caller.waits
