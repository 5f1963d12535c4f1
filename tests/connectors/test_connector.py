"""A connector as a whole, on real stores: who gets what, once and in order, whatever fails meanwhile."""

from functools import partial
from pathlib import Path

import gevent
import pytest

from gobbler.connectors.base import Delivery
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.connectors.reader import Reader
from gobbler.connectors.subscription import Device
from gobbler.errors import StoreUnavailable, Unhealthy
from tests.connectors.rig import CautiousScriptedSender, Rig, accept


def test_a_message_reaches_who_is_subscribed_to_it_or_above(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.publish("/foo", "before anybody was subscribed")
        assert rig.subscribe("a", "/foo")
        assert rig.subscribe("b", "/foo/bar")
        assert rig.subscribe("c", "/foobar")
        ids = [*rig.publish("/foo", "1", "2"), *rig.publish("/foo/bar", "3")]
        rig.wait_for("a", ids)
        rig.wait_for("b", ids[2:])
        assert rig.sent("c") == []
        assert not rig.subscribe("a", "/foo")


def test_a_device_gets_a_message_once_however_many_subscriptions_match(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        for topic in ("/foo/bar", "/foo", "/foo/bar/baz"):
            rig.subscribe("a", topic)
        rig.wait_for("a", rig.publish("/foo/bar/baz", "1", "2", "3"))


def test_filters_choose(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.subscribe("a", "/foo", "ford")
        rig.subscribe("b", "/foo", "trillian")
        sent = {
            "fords": rig.publish("/foo", "x", wanted={"user_id": "ford"})[0],
            "bs": rig.publish("/foo", "x", wanted={"device_token": "b", "connector": "fcm"})[0],
            "nobodys": rig.publish("/foo", "x", wanted={"connector": "apns"})[0],
            "all": rig.publish("/foo", "x")[0],
        }
        rig.wait_for("a", [sent["fords"], sent["all"]])
        rig.wait_for("b", [sent["bs"], sent["all"]])


def test_what_fails_is_tried_again_before_what_comes_after_it(tmp_path: Path) -> None:
    left = {2: 3}

    def answer(delivery: Delivery) -> Outcome:
        if left.get(delivery.message.id, 0) and delivery.device_token == "a":
            left[delivery.message.id] -= 1
            assert delivery.attempt == 2 - left[delivery.message.id]
            return Retry("busy")
        return Sent()

    with Rig(tmp_path, answer) as rig:
        rig.subscribe("a", "/foo")
        rig.subscribe("b", "/foo")
        ids = rig.publish("/foo", *"12345")
        rig.wait_for("a", ids)
        rig.wait_for("b", ids)
        assert [id for token, id in rig.sender.attempts if token == "a"] == [1, 2, 2, 2, 2, 3, 4, 5]
        assert rig.metric("retried_total", reason="busy") == 3
        assert len({one.id for one in rig.sender.deliveries if one.device_token == "a"}) == 5


def test_what_is_refused_is_passed_over(tmp_path: Path) -> None:
    with Rig(tmp_path, lambda one: Refused("bad") if one.message.id == 2 else Sent()) as rig:
        rig.subscribe("a", "/foo")
        rig.publish("/foo", *"123")
        rig.wait_for("a", [1, 3])
        rig.wait_until_idle()
        assert rig.metric("failed_total", reason="bad") == 1
        assert [event.payload["status"] for event in rig.reports.events[1:]] == ["Success", "Fail", "Success"]


def test_more_than_a_lane_holds_stays_in_the_log(tmp_path: Path) -> None:
    held = gevent.event.Event()

    def answer(delivery: Delivery) -> Outcome:
        held.wait()
        return Sent()

    with Rig(tmp_path, answer) as rig:
        rig.subscribe("a", "/foo/a")
        rig.subscribe("b", "/foo")
        mine: list[int] = []
        for number in range(500):
            mine += rig.publish("/foo/a", f"{number}")
            rig.publish("/foo/b", f"{number}")
        rig.sender.wait_until(lambda: len(rig.sender.attempts) == 2)
        held.set()
        rig.wait_for("a", mine)
        rig.wait_for("b", range(1, 1001))


def test_a_dead_token_is_removed_with_all_its_subscriptions(tmp_path: Path) -> None:
    with Rig(tmp_path, lambda one: Gone("dead") if one.device_token == "a" else Sent()) as rig:
        for token in "ab":
            rig.subscribe(token, "/foo")
            rig.subscribe(token, "/bar")
        ids = rig.publish("/foo", "1", "2")
        rig.wait_for("b", ids)
        rig.sender.wait_until(lambda: rig.subscriptions.topics(None, "a") == [])
        assert rig.metric("removed_subscriptions_total") == 2
        assert rig.subscriptions.topics(None, "b") == ["/bar", "/foo"]
        rig.wait_for("b", [*ids, *rig.publish("/bar", "x")])
        assert rig.sender.attempts.count(("a", 1)) == 1
        assert ("a", 2) not in rig.sender.attempts


def test_a_token_that_was_registered_again_stays(tmp_path: Path) -> None:
    answers = iter([Gone("dead", since=1.0)])

    with Rig(tmp_path, lambda one: next(answers, Sent())) as rig:
        rig.subscribe("a", "/foo")
        rig.wait_for("a", rig.publish("/foo", "1"))
        assert rig.subscriptions.topics(None, "a") == ["/foo"]


def test_a_new_token_takes_the_old_ones_place(tmp_path: Path) -> None:
    with Rig(tmp_path, lambda one: Sent("new") if one.device_token == "old" else Sent()) as rig:
        rig.subscribe("old", "/foo")
        ids = rig.publish("/foo", "1", "2", "3")
        rig.sender.wait_until(lambda: len(rig.sender.sent) == 3)
        assert (rig.sent("old"), rig.sent("new")) == ([ids[0]], [*ids[1:]])
        assert rig.subscriptions.topics(None, "old") == []


def test_a_substituted_token_gets_what_is_unfinished(tmp_path: Path) -> None:
    with Rig(tmp_path, lambda one: Outage("down") if one.device_token == "old" else Sent()) as rig:
        rig.subscribe("old", "/foo")
        ids = rig.publish("/foo", "1", "2", "3")
        rig.sender.wait_until(lambda: len(rig.sender.attempts) >= 2)
        assert rig.subscriptions.substitute("device_token", "old", "new") == 1
        rig.wait_for("new", ids)


@pytest.mark.parametrize("off", [False, True], ids=["on", "off"])
def test_a_token_that_becomes_another_gets_there_what_is_unfinished(tmp_path: Path, off: bool) -> None:
    """The other one has got what came later already."""
    with Rig(tmp_path, lambda one: Retry("busy") if one.device_token == "old" else Sent()) as rig:
        rig.subscribe("old", "/foo/a")
        rig.subscribe("new", "/foo/b")
        missed = rig.publish("/foo/a", "1", "2")
        rig.sender.wait_until(lambda: bool(rig.sender.attempts))
        rig.wait_for("new", rig.publish("/foo/b", "3"))
        if off:
            rig.connector.turn_off(5)
        assert rig.subscriptions.substitute("device_token", "old", "new") == 1
        rig.connector.turn_on()
        rig.sender.wait_until(lambda: rig.has_got("new", missed))
        rig.wait_until_idle()


def test_a_device_that_is_renamed_while_it_is_off_gets_nothing_twice(tmp_path: Path) -> None:
    with Rig(tmp_path, lambda one: Retry("busy") if one.device_token == "slow" else Sent()) as rig:
        rig.subscribe("slow", "/foo")
        rig.subscribe("old", "/foo")
        ids = rig.publish("/foo", "1", "2")
        rig.wait_for("old", ids)
        rig.connector.turn_off(5)
        assert rig.subscriptions.substitute("device_token", "old", "new") == 1
        rig.connector.turn_on()
        rig.wait_for("new", rig.publish("/foo", "3"))


def test_who_is_unsubscribed_gets_nothing_more(tmp_path: Path) -> None:
    with Rig(tmp_path, lambda one: Retry("busy") if one.device_token == "a" else Sent()) as rig:
        rig.subscribe("a", "/foo")
        rig.publish("/foo", "1", "2")
        rig.sender.wait_until(lambda: bool(rig.sender.attempts))
        assert rig.subscriptions.delete(Device("a", "marvin"), b"/foo")
        assert not rig.subscriptions.delete(Device("a", "marvin"), b"/foo")
        rig.wait_until_idle()
        assert {id for _, id in rig.sender.attempts} == {1}


def test_off_and_on_sends_what_came_meanwhile_once(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.subscribe("a", "/foo")
        before = rig.publish("/foo", "1", "2")
        rig.wait_for("a", before)
        assert rig.connector.turn_off(5)
        assert not rig.connector.turn_off(5)
        meanwhile = rig.publish("/foo", "3", "4")
        rig.subscribe("b", "/foo")
        assert rig.connector.turn_on()
        assert not rig.connector.turn_on()
        after = rig.publish("/foo", "5")
        rig.wait_for("a", [*before, *meanwhile, *after])
        rig.wait_for("b", after)


def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.subscribe("a", "/foo")
        ids = [*rig.publish("/foo", "1", "2")]
        rig.wait_for("a", ids)
        rig.stop()
        rig.start()
        ids += rig.publish("/foo", "3")
        rig.wait_for("a", ids)


@pytest.mark.parametrize("turns", [5])
def test_a_crash_repeats_only_what_was_under_way(tmp_path: Path, turns: int) -> None:
    fails = {"number": 0}

    def answer(delivery: Delivery) -> Outcome:
        fails["number"] += 1
        gevent.sleep(0.001)
        return Retry("busy") if fails["number"] % 5 == 0 else Sent()

    with Rig(tmp_path, answer) as rig:
        tokens = [f"device-{number}" for number in range(40)]
        for number, token in enumerate(tokens):
            rig.subscribe(token, f"/foo/{number % 10}")
        ids: dict[int, list[int]] = {topic: [] for topic in range(10)}
        for _ in range(turns):
            for topic in range(10):
                ids[topic] += rig.publish(f"/foo/{topic}", "a", "b", "c", "d")
            enough = len(rig.sender.sent) + 20
            rig.sender.wait_until(partial(rig.has_sent, enough))
            rig.crash()
        for number, token in enumerate(tokens):
            rig.sender.wait_until(partial(rig.has_got, token, ids[number % 10]))
        rig.wait_until_idle()
        repeats = len(rig.sender.sent) - sum(len(ids[number % 10]) for number in range(40))
        assert 0 <= repeats <= turns * 50
        for number, token in enumerate(tokens):
            got = rig.sent(token)
            assert [one for at, one in enumerate(got) if one not in got[:at]] == ids[number % 10]


def test_a_failure_survives_a_restart(tmp_path: Path) -> None:
    answers = [Retry("busy", after=3600.0)]
    with Rig(tmp_path, lambda one: answers[0]) as rig:
        rig.subscribe("a", "/foo")
        rig.publish("/foo", "1")
        rig.sender.wait_until(lambda: rig.metric("delayed") == 1)
        rig.crash()
        rig.subscribe("b", "/foo")
        rig.publish("/foo", "2")
        rig.sender.wait_until(lambda: ("b", 2) in rig.sender.attempts)
        assert rig.sender.attempts.count(("a", 1)) == 1, "it is not due yet"
        rig.sender.wait_until(lambda: rig.metric("delayed") == 2)


def test_what_was_tried_before_a_restart_does_not_hide_what_is_read_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = {"b"}

    def answer(one: Delivery) -> Outcome:
        while one.device_token in hangs:
            gevent.sleep(0.01)
        return Retry("busy") if one.message.id == 2 and hangs else Sent()

    def unreadable(reader: Reader, partition: str) -> int:
        raise StoreUnavailable("not now")

    with Rig(tmp_path, answer) as rig:
        rig.subscribe("a", "/foo")
        rig.subscribe("b", "/foo")
        ids = rig.publish("/foo", "1", "2")
        rig.sender.wait_until(lambda: ("a", 2) in rig.sender.attempts)
        monkeypatch.setattr(Reader, "newest", unreadable)
        rig.crash()
        hangs.clear()
        rig.wait_for("a", ids)  # and the log is not read yet: it is stopped before that
        rig.stop()
        monkeypatch.undo()
        rig.start()
        rig.wait_for("b", ids)
        assert rig.sent("a") == [*ids]


def test_a_dead_provider_costs_a_probe_now_and_then_and_loses_nothing(tmp_path: Path) -> None:
    dead = [True]
    with Rig(tmp_path, lambda one: Outage("down", "no connection") if dead[0] else Sent()) as rig:
        for number in range(30):
            rig.subscribe(f"d{number}", "/foo")
        ids = rig.publish("/foo", *"123456789")
        rig.sender.wait_until(lambda: rig.metric("breaker") == 2)
        with pytest.raises(Unhealthy, match="fcm cannot reach its provider: down: no connection"):
            rig.connector.check()
        assert len(rig.sender.attempts) <= 30 * 10, "each has its backoff, all together the breaker"
        dead[0] = False
        for number in range(30):
            rig.wait_for(f"d{number}", ids)
        rig.wait_until_idle()
        rig.connector.check()
        assert rig.metric("breaker") == 0


def test_wrong_credentials_pause_and_lose_nothing(tmp_path: Path) -> None:
    wrong = [True]
    with Rig(tmp_path, lambda one: Pause("forbidden", after=0.05) if wrong[0] else Sent()) as rig:
        rig.subscribe("a", "/foo")
        ids = rig.publish("/foo", "1", "2")
        rig.sender.wait_until(lambda: len(rig.sender.attempts) >= 2)
        with pytest.raises(Unhealthy, match="fcm is paused: forbidden"):
            rig.connector.check()
        wrong[0] = False
        rig.wait_for("a", ids)
        rig.wait_until_idle()
        rig.connector.check()


def test_a_million_in_the_log_do_not_fill_memory(tmp_path: Path) -> None:
    """A body is 10 KB, the lanes of 100 devices could hold 16 each, and the budget is 16 MiB."""
    held = gevent.event.Event()

    def answer(delivery: Delivery) -> Outcome:
        held.wait()
        return Sent()

    with Rig(tmp_path, answer) as rig:
        for number in range(300):
            rig.subscribe(f"d{number}", "/foo")
        ids = rig.publish("/foo", *["x" * 10_000] * 20)
        rig.sender.wait_until(lambda: len(rig.sender.attempts) == 50)
        engine = rig.connector._engine
        assert engine is not None
        rig.sender.wait_until(lambda: not engine.workload.has_room)
        assert engine.workload._bytes < 17 << 20
        held.set()
        for number in range(300):
            rig.wait_for(f"d{number}", ids)
        rig.wait_until_idle()
        assert engine.workload._bytes == 0


# Without subscriptions


def test_everybodys_messages_are_independent(tmp_path: Path) -> None:
    with Rig(
        tmp_path, lambda one: Retry("busy", after=60.0) if one.message.id == 2 else Sent(), everybody=b"/sms"
    ) as rig:
        ids = [*rig.publish("/sms", "1", "2", "3"), *rig.publish("/sms/below", "4")]
        rig.publish("/sms", "not for us", wanted={"connector": "apns"})
        rig.sender.wait_until(lambda: len(rig.sender.sent) == 3)
        assert sorted(id for _, id in rig.sender.sent) == [ids[0], *ids[2:]]


def test_everybody_begins_with_the_newest_message_and_remembers_that(tmp_path: Path) -> None:
    rig = Rig(tmp_path, everybody=b"/sms")
    rig.kvstore.start()
    rig.store.start()
    rig.publish("/sms", "long ago")
    rig.connector.start()
    rig.sender.answer = accept
    rig.connector.turn_off(0)
    ids = rig.publish("/sms", "now")
    rig.connector.turn_on()
    rig.sender.wait_until(lambda: [id for _, id in rig.sender.sent] == [*ids])
    rig.stop()


def test_what_must_not_be_sent_twice_is_not_after_a_crash(tmp_path: Path) -> None:
    def answer(delivery: Delivery) -> Outcome:
        gevent.sleep(3600)
        return Sent()

    with Rig(tmp_path, answer, everybody=b"/sms") as rig:
        rig.publish("/sms", "1")
        rig.sender.wait_until(lambda: bool(rig.sender.attempts))
        rig.sender.answer = accept
        rig.crash()
        ids = rig.publish("/sms", "2")
        rig.sender.wait_until(lambda: [id for _, id in rig.sender.sent] == [*ids])
        rig.sender.wait_until(lambda: rig.metric("failed_total", reason="unknown") == 1)
        assert [id for _, id in rig.sender.attempts] == [1, 2]


def test_what_only_waits_for_its_turn_is_sent_after_a_crash(tmp_path: Path) -> None:
    def wait(delivery: Delivery) -> Outcome | None:
        gevent.sleep(3600)
        return None

    with Rig(tmp_path, everybody=b"/sms") as rig:
        assert isinstance(rig.sender, CautiousScriptedSender)
        rig.sender.admit_answer = wait
        ids = rig.publish("/sms", "1")
        gevent.sleep(0.05)
        rig.sender.admit_answer = lambda delivery: None
        rig.crash()
        rig.sender.wait_until(lambda: [id for _, id in rig.sender.sent] == [*ids])
