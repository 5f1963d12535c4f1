"""Events go to a real broker, and never hold up whoever reports them."""

import json
import logging
import re
import socket
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gobbler.errors import ConfigError
from gobbler.reporting import courier, producer, quiet
from gobbler.reporting.base import Nobody
from gobbler.reporting.events import Event
from gobbler.reporting.producer import Access
from tests.kafka.broker import Broker
from tests.kafka.gate import Gate
from tests.ports import free_port
from tests.providers.certificates import Authority
from tests.reporting.rig import Rig, numbered, numbers
from tests.reporting.stopwatch import Stopwatch
from tests.reporting.test_events import PUSH, SMS, SUBSCRIPTION
from tests.system.server import ROOT, SECONDS, eventually


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search for brokers again soon after a search was in vain."""
    monkeypatch.setattr(courier, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(courier, "LONGEST_PAUSE_SECONDS", 0.2)
    # What an earlier test has left explains nothing here.
    monkeypatch.setattr(quiet.last_words, "text", "")


@pytest.fixture
def impatient(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a search for brokers sooner, too."""
    configure(monkeypatch, bootstrap_timeout_ms=1_200)


@pytest.fixture
def unrepeated(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one attempt in a search: the end of the search would cut off another, and hide what went wrong."""
    pause = 60_000
    configure(
        monkeypatch,
        bootstrap_timeout_ms=3_000,
        reconnect_backoff_ms=pause,
        reconnect_backoff_max_ms=pause,
    )


def configure(monkeypatch: pytest.MonkeyPatch, **words: int) -> None:
    """Change the producer's configuration."""
    monkeypatch.setattr(producer, "CONFIGURATION", dict(producer.CONFIGURATION) | words)


def said(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """What reporting has logged."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("gobbler.reporting") and record.levelno >= level
    ]


def spent(times: int, call: Callable[[Any], None], argument: Any) -> float:
    """Call so many times; return how many seconds that took."""
    watch = Stopwatch()
    for _ in range(times):
        call(argument)
    return watch.seconds


def payload(message: Any) -> Any:
    return json.loads(message.value)["payload"]


# What arrives


def test_events_arrive_as_the_spec_has_them(broker: Broker) -> None:
    rig = Rig(broker.address)
    topics = {"fcm-events": PUSH, "subscribe-events": SUBSCRIPTION, "sms-events": SMS}
    reporters = {name: rig.reporting.topic(name) for name in topics}
    begun = time.time()
    with rig.running():
        for name, event in topics.items():
            reporters[name].report(event)
        for name, event in topics.items():
            (message,) = broker.consume(name, 1)
            value = json.loads(message.value)
            assert value.keys() == {"id", "time", "type", "payload"}
            assert message.key == value["id"].encode()
            assert UUID(value["id"]).version == 4
            assert (value["type"], value["payload"]) == (event.type, event.payload)
            assert begun - 1 < message.time / 1000 < time.time() + 1
        rig.wait_for(3)
    assert broker.topics() == set(topics)
    assert (rig.reported, rig.queued, rig.dropped) == (3, 0, {})


def test_each_event_arrives_once_with_an_id_of_its_own(broker: Broker) -> None:
    rig = Rig(broker.address)
    topic = rig.reporting.topic("events")
    with rig.running():
        for number in range(3000):
            topic.report(numbered(number, size=100))
        messages = broker.consume("events", 3000)
        rig.wait_for(3000)
    assert sorted(numbers(messages)) == list(range(3000))
    assert len({message.key for message in messages}) == 3000


def test_what_is_reported_before_the_start_is_kept(broker: Broker) -> None:
    rig = Rig(broker.address)
    topic = rig.reporting.topic("events")
    topic.report(numbered(1))
    assert rig.queued == 1
    with rig.running():
        assert numbers(broker.consume("events", 1)) == [1]


def test_a_topic_has_one_reporter(broker: Broker) -> None:
    rig = Rig(broker.address)
    assert rig.reporting.topic("events") is rig.reporting.topic("events")
    assert rig.reporting.topic("events") is not rig.reporting.topic("others")


def test_without_a_topic_or_brokers_events_are_nobodys() -> None:
    assert isinstance(Rig("127.0.0.1:1").reporting.topic(""), Nobody)
    rig = Rig()
    assert isinstance(rig.reporting.topic("events"), Nobody)
    with rig.running():
        rig.reporting.topic("events").report(PUSH)
    assert (rig.reported, rig.queued, rig.dropped) == (0, 0, {})


def test_what_cannot_be_written_is_dropped_and_counted(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(broker.address)
    topic = rig.reporting.topic("events")
    with rig.running():
        topic.report(Event("odd", {"a": b"secret"}))  # type: ignore[dict-item]
        topic.report(Event("half", {"user_id": "7", "text": "\ud83d"}))
        (message,) = broker.consume("events", 1)
        rig.wait_for(1)
    assert payload(message) == {"user_id": "7", "text": "?"}
    assert rig.dropped == {"invalid": 1}
    assert said(caplog, logging.ERROR) == [
        "an event odd cannot be written as JSON: Object of type bytes is not JSON serializable"
    ]


def test_what_is_too_large_for_kafka_is_dropped_and_the_rest_arrives(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(broker.address)
    topic = rig.reporting.topic("events")
    with rig.running():
        for number, size in ((1, 0), (2, 2_000_000), (3, 0)):
            topic.report(numbered(number, size))
        assert sorted(numbers(broker.consume("events", 2))) == [1, 3]
        rig.wait_for(2)
    assert (rig.queued, rig.dropped) == (0, {"refused": 1})
    (line,) = said(caplog, logging.ERROR)
    assert line.startswith("the Kafka topic events refuses 1 events: [Error 10] MessageSizeTooLargeError")


def test_the_command_of_the_documentation_shows_them(broker: Broker) -> None:
    page = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")
    (command,) = re.findall(r'^    python3 -c "\n(.*?)^    "$', page, re.MULTILINE | re.DOTALL)
    program = textwrap.dedent(command)
    rig = Rig(broker.address)
    topic = rig.reporting.topic("push-events")
    with rig.running():
        topic.report(PUSH)
        rig.wait_for(1)
    program = program.replace("127.0.0.1:9092", broker.address)
    with subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        assert json.loads(shown.stdout.readline())["payload"] == PUSH.payload
        shown.kill()


# When the broker is away


def test_a_broker_that_comes_later_gets_everything(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    rig = Rig(f"127.0.0.1:{port}")
    topic = rig.reporting.topic("events")
    begun = time.monotonic()
    with rig.running():
        for number in range(500):
            topic.report(numbered(number))
        assert time.monotonic() - begun < 2
        assert (rig.reported, rig.queued) == (0, 500)
        with Broker(port) as broker:
            assert sorted(numbers(broker.consume("events", 500))) == list(range(500))
            rig.wait_for(500)
    assert (rig.queued, rig.dropped) == (0, {})


@pytest.mark.usefixtures("impatient")
def test_one_line_says_that_it_is_away_and_one_that_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    rig = Rig(f"127.0.0.1:{port}")
    topic = rig.reporting.topic("events")
    topic.report(numbered(1))
    with rig.running():
        deadline = eventually()
        # It has been looked for more than once.
        while sum("Bootstrap failed" in record.getMessage() for record in caplog.records) < 2:
            deadline.again()
        (line,) = said(caplog)
        assert line == (
            "the Kafka topic events takes no events, they are kept for now: "
            f"KafkaTimeoutError: Unable to bootstrap from 127.0.0.1:{port} "
            "(KafkaConnectionError: 111 ECONNREFUSED)"
        )
        with Broker(port):
            rig.wait_for(1)
            while len(said(caplog)) < 2:
                deadline.again()
    assert said(caplog)[1].startswith("the Kafka topic events takes events again, after ")
    # kafka-python has logged nothing under its own name.
    assert [record.name for record in caplog.records if record.name.startswith("kafka")] == []


def test_a_broker_that_was_killed_gets_the_rest_when_it_is_back() -> None:
    with Gate() as gate, Broker(advertised=gate.port) as broker:
        gate.target = broker.port
        rig = Rig(gate.address)
        topic = rig.reporting.topic("events")
        with rig.running():
            for number in range(100):
                topic.report(numbered(number))
            rig.wait_for(100)
            gate.target = 0
            broker.stop()
            for number in range(100, 400):
                topic.report(numbered(number))
            broker.start()  # and has forgotten everything
            broker.create("events")
            assert (rig.reported, rig.queued) == (100, 300)
            gate.target = broker.port
            assert sorted(numbers(broker.consume("events", 300))) == list(range(100, 400))
            rig.wait_for(400)
    assert (rig.reported, rig.queued, rig.dropped) == (400, 0, {})


def test_connections_that_break_lose_nothing() -> None:
    with Gate() as gate, Broker(advertised=gate.port) as broker:
        gate.target = broker.port
        rig = Rig(gate.address)
        topic = rig.reporting.topic("events")
        with rig.running():
            for number in range(2000):
                topic.report(numbered(number, size=200))
                if number % 500 == 499:
                    rig.wait_for(number - 400)
                    gate.cut()
            rig.wait_for(2000)
            # A request whose answer was lost is sent again: at least once, then.
            assert set(numbers(broker.consume("events", 2000))) == set(range(2000))
    assert (rig.reported, rig.queued, rig.dropped) == (2000, 0, {})


def test_a_topic_that_cannot_be_had_does_not_hold_up_another(
    broker: Broker,
) -> None:
    rig = Rig(broker.address)
    bad = rig.reporting.topic("a bad name")  # the options refuse it, and so does Kafka
    good = rig.reporting.topic("events")
    with rig.running():
        bad.report(numbered(1))
        good.report(numbered(2))
        assert numbers(broker.consume("events", 1)) == [2]
        rig.wait_for(1)
        assert rig.queued == 1


@pytest.mark.timeout(600)
def test_a_million_events_for_a_broker_that_is_away_stay_within_the_bound() -> None:
    bound = 4 << 20
    rig = Rig(f"127.0.0.1:{free_port()}", backlog_bytes=bound)
    topic = rig.reporting.topic("events")
    event = numbered(1, size=100)
    with rig.running():
        tracemalloc.start()
        for _ in range(40_000):
            topic.report(event)
        memory, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        seconds = counting = 0.0
        # By turns, as the machine may be faster now and slower then.
        for _ in range(10):
            seconds += spent(100_000, topic.report, event)
            counting += spent(100_000, rig.metrics.dropped["full"].inc, 0)
        queued = rig.queued
        assert 5_000 < queued < 10_000
        assert rig.dropped == {"full": 1_040_000 - queued}
    # The bound is about what really is used (and kafka-python, which looks for the broker meanwhile).
    assert bound / 2 < memory < 3 * bound
    # What does not fit costs next to nothing: to encode it would take 20 times as long as to count it.
    assert seconds < 5 * counting


# Stopping


def test_a_stop_delivers_what_waits(broker: Broker) -> None:
    rig = Rig(broker.address)
    topics = [rig.reporting.topic(name) for name in ("one", "two")]
    rig.reporting.start()
    for number in range(1000):
        topics[number % 2].report(numbered(number))
    rig.reporting.stop(SECONDS)
    assert (rig.reported, rig.queued, rig.dropped) == (1000, 0, {})
    assert len(broker.consume("one", 500)) == len(broker.consume("two", 500)) == 500


def test_a_stop_without_a_broker_is_quick_and_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(f"127.0.0.1:{free_port()}")
    topic = rig.reporting.topic("events")
    rig.reporting.start()
    for number in range(10):
        topic.report(numbered(number))
    begun = time.monotonic()
    rig.reporting.stop(0.2)
    assert time.monotonic() - begun < 2
    assert (rig.reported, rig.queued, rig.dropped) == (0, 0, {"stopped": 10})
    assert said(caplog, logging.ERROR)[-1] == "10 events for the Kafka topic events were not delivered"


@pytest.mark.usefixtures("impatient")
def test_a_stop_does_not_wait_for_a_broker_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(f"127.0.0.1:{free_port()}")
    topics = [rig.reporting.topic(name) for name in ("one", "two", "three", "four")]
    for topic in topics:
        topic.report(numbered(1))
    rig.reporting.start()
    deadline = eventually()
    while len(said(caplog)) < 4:
        deadline.again()
    begun = time.monotonic()
    rig.reporting.stop(60)
    assert time.monotonic() - begun < 5
    assert rig.dropped == {"stopped": 4}


def test_a_stop_ends_the_wait_for_a_broker_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rig = Rig(f"127.0.0.1:{silent.getsockname()[1]}")
        rig.reporting.topic("events").report(numbered(1))
        rig.reporting.start()
        silent.accept()[0].close()
        begun = time.monotonic()
        rig.reporting.stop(0)
        assert time.monotonic() - begun < 2


def test_after_a_stop_events_are_dropped_and_a_start_takes_them_again(broker: Broker) -> None:
    rig = Rig(broker.address)
    topic = rig.reporting.topic("events")
    rig.reporting.start()
    rig.reporting.start()
    topic.report(numbered(1))
    rig.reporting.stop(SECONDS)
    rig.reporting.stop(SECONDS)
    topic.report(numbered(2))
    assert rig.dropped == {"stopped": 1}
    with rig.running():
        topic.report(numbered(3))
        rig.wait_for(2)
    assert sorted(numbers(broker.consume("events", 2))) == [1, 3]


# Security


@pytest.mark.parametrize("security", ["ssl", "sasl_plaintext", "sasl_ssl"])
def test_events_arrive_over_tls_and_with_a_login(security: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.pair() if security.endswith("ssl") else None
    login = ("marvin", "s3cret-pässword") if security.startswith("sasl") else None
    user, password = login or ("", "")
    with Gate(pair, login) as gate:
        access = Access((gate.address,), security, authority.file, "PLAIN", user, password)
        with Broker(advertised=gate.port, client=access.configuration()) as broker:
            gate.target = broker.port
            rig = Rig(gate.address, security=security, ca_file=authority.file, user=user, password=password)
            topic = rig.reporting.topic("events")
            with rig.running():
                topic.report(numbered(1))
                assert numbers(broker.consume("events", 1)) == [1]
                rig.wait_for(1)
            assert bool(gate.attempts) is bool(login)


@pytest.mark.usefixtures("unrepeated")
def test_a_wrong_password_is_named_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Gate(login=("marvin", "right")) as gate, Broker(advertised=gate.port) as broker:
        gate.target = broker.port
        rig = Rig(gate.address, security="sasl_plaintext", user="marvin", password="s3cret-but-wrong")
        rig.reporting.topic("events").report(numbered(1))
        with rig.running():
            deadline = eventually()
            while not said(caplog):
                deadline.again()
            assert "SaslAuthenticationFailedError: wrong user or password" in said(caplog)[0]
            # What goes wrong can be mended, so nothing is thrown away.
            gate.login = ("marvin", "s3cret-but-wrong")
            rig.wait_for(1)
    shown = [record.getMessage() + repr(record.args) for record in caplog.records]
    assert "s3cret" not in "".join([*shown, repr(rig.reporting)])


@pytest.mark.usefixtures("unrepeated")
def test_a_certificate_of_others_is_not_trusted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = tmp_path / "theirs", tmp_path / "ours"
    for folder in folders:
        folder.mkdir()
    theirs, ours = map(Authority, folders)
    with Gate(theirs.pair()) as gate, Broker(advertised=gate.port) as broker:
        gate.target = broker.port
        rig = Rig(gate.address, security="ssl", ca_file=ours.file)
        rig.reporting.topic("events").report(numbered(1))
        with rig.running():
            deadline = eventually()
            while not said(caplog):
                deadline.again()
        assert "certificate verify failed" in said(caplog)[0]
        assert rig.reported == 0


def test_certificates_that_cannot_be_used_end_the_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    rig = Rig("127.0.0.1:1", security="ssl", ca_file=file)
    rig.reporting.topic("events")
    with pytest.raises(ConfigError, match=r"--kafka-ca-file: .*ca\.pem' cannot be used"):
        rig.reporting.start()


# In a process that is patched, as the server's is


def patched(*arguments: str) -> dict[str, Any]:
    """Run `tests.reporting.patched`; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.reporting.patched", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["lines"] == [], "greenlets died, or kafka-python was loud"
    return found


@pytest.mark.timeout(600)
def test_a_patched_process_delivers_and_goes_on(broker: Broker) -> None:
    found = patched(broker.address, "5000")
    assert (found["reported"], found["queued"], found["dropped"]) == (5000, 0, {})
    assert len(broker.consume("events", 5000)) == 5000
    # Times are multiples of what encoding an event takes, which is some 20 us.
    assert found["report_median"] < 10
    assert found["lag_median"] < 500
    assert found["lag_worst"] < 25_000


@pytest.mark.timeout(600)
def test_a_patched_process_goes_on_without_a_broker() -> None:
    found = patched(f"127.0.0.1:{free_port()}", "400000")
    assert found["reported"] == 0
    assert found["dropped"]["full"] > 300_000
    # The backlog is full soon: what does not fit is not even encoded.
    assert found["report_median"] < 1
    assert found["lag_median"] < 500
    assert found["grown_mib"] < 64
    assert found["stop_seconds"] < 4


@pytest.mark.timeout(600)
def test_a_patched_process_speaks_tls_and_logs_in(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Gate(authority.pair(), ("marvin", "secret")) as gate:
        access = Access((gate.address,), "sasl_ssl", authority.file, "PLAIN", "marvin", "secret")
        with Broker(advertised=gate.port, client=access.configuration()) as broker:
            gate.target = broker.port
            found = patched(gate.address, "100", str(authority.file), "marvin", "secret")
            assert (found["reported"], found["dropped"]) == (100, {})
            assert len(broker.consume("events", 100)) == 100
