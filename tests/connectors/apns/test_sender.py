"""Deliveries to a fake APNs over TLS and HTTP/2: requests, every answer, and what may go wrong between."""

import json
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from gobbler.connectors.apns.certificate import Certificate
from gobbler.connectors.apns.connection import Timing
from gobbler.connectors.apns.provider_token import ProviderToken
from gobbler.connectors.apns.sender import (
    BURST,
    PRODUCTION,
    SANDBOX,
    TRIES,
    ApnsSender,
    endpoint_of,
)
from gobbler.connectors.base import Sender
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.errors import ConfigError
from gobbler.reporting import events
from tests.connectors.apns.conftest import NewFake, NewSender
from tests.connectors.apns.credentials import KEY_ID, PASSWORD, TEAM_ID, TokenKey, signed_p12
from tests.connectors.apns.deliveries import APP, SECONDS, delivery, send_all
from tests.connectors.apns.fake import FakeApns
from tests.connectors.apns.patched import Task
from tests.providers.apns import DIED
from tests.providers.certificates import Authority
from tests.system.server import eventually

DIED_SECONDS = DIED / 1000


def until(condition: Callable[[], bool]) -> None:
    """Let the greenlets work until something is so."""
    deadline = eventually()
    while not condition():
        gevent.sleep(0.01)
        deadline.again()


# What is sent


def test_it_is_a_sender(sender: ApnsSender) -> None:
    seam: Sender = sender
    assert (seam.name, seam.retry_delay) == ("apns", 2.0)


def test_a_request_has_what_apple_asks_for(fake: FakeApns, sender: ApnsSender) -> None:
    headers = {"Apns-Expiration": "1700000000", "Apns-Collapse-Id": "ü", "Apns-Priority": "5"}
    sent = delivery("asked-for", {"aps": {"alert": "grüß"}}, headers)
    assert sender.send(sent) == Sent()
    (seen,) = fake.of("asked-for")
    del seen["time"]
    assert seen == {
        "token": "asked-for",
        "apns_id": str(sent.id),
        "payload": '{"aps": {"alert": "gr\\u00fc\\u00df"}}',
        "push_type": "alert",
        "topic": APP,
        "priority": "5",
        "expiration": "1700000000",
        "collapse_id": "ü",
        "status": 200,
        "reason": "",
    }


def test_a_retry_has_the_same_id(fake: FakeApns, sender: ApnsSender) -> None:
    again = delivery("once.503.ServiceUnavailable.same-id")
    assert isinstance(sender.send(again), Outage)
    assert sender.send(again) == Sent()
    assert [seen["apns_id"] for seen in fake.of(again.device_token)] == [str(again.id)] * 2


def test_what_apns_would_refuse_is_not_sent(fake: FakeApns, sender: ApnsSender) -> None:
    large = sender.send(delivery("never-sent", b"a" * 5000))
    assert isinstance(large, Refused)
    assert large.reason == "PayloadTooLarge"
    bad = sender.send(delivery("never-sent", b"a", {"apns-priority": "3"}))
    assert bad == Refused("BadPriority", "apns-priority is not 10, 5 or 1")
    assert fake.of("never-sent") == []


@pytest.mark.parametrize("token", ["", "a/b", "a b", "a\r\nb", "ü", "a" * 513, "../x", "a?b", "a%20"])
def test_a_token_that_cannot_be_one_is_not_sent(sender: ApnsSender, token: str) -> None:
    found = sender.send(delivery(token))
    assert found == Gone("BadDeviceToken", "the device's token cannot be one of APNs'")


# Every answer


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        ("410.Unregistered.x", Gone("Unregistered", "", DIED_SECONDS)),
        ("410.ExpiredToken.x", Gone("ExpiredToken", "", DIED_SECONDS)),
        ("410.SomethingNew.x", Gone("http-410", "", DIED_SECONDS)),
        ("400.BadDeviceToken.x", Gone("BadDeviceToken")),
        ("400.DeviceTokenNotForTopic.x", Gone("DeviceTokenNotForTopic")),
        ("400.BadCollapseId.x", Refused("BadCollapseId")),
        ("400.BadExpirationDate.x", Refused("BadExpirationDate")),
        ("400.BadMessageId.x", Refused("BadMessageId")),
        ("400.BadPriority.x", Refused("BadPriority")),
        ("400.BadTopic.x", Refused("BadTopic")),
        ("400.DuplicateHeaders.x", Refused("DuplicateHeaders")),
        ("400.InvalidPushType.x", Refused("InvalidPushType")),
        ("400.MissingDeviceToken.x", Refused("MissingDeviceToken")),
        ("400.MissingTopic.x", Refused("MissingTopic")),
        ("400.PayloadEmpty.x", Refused("PayloadEmpty")),
        ("404.BadPath.x", Refused("BadPath")),
        ("405.MethodNotAllowed.x", Refused("MethodNotAllowed")),
        ("413.PayloadTooLarge.x", Refused("PayloadTooLarge")),
        ("400.TopicDisallowed.x", Pause("TopicDisallowed")),
        ("403.BadCertificate.x", Pause("BadCertificate")),
        ("403.BadCertificateEnvironment.x", Pause("BadCertificateEnvironment")),
        ("403.Forbidden.x", Pause("Forbidden")),
        ("403.InvalidProviderToken.x", Pause("InvalidProviderToken")),
        ("403.MissingProviderToken.x", Pause("MissingProviderToken")),
        ("403.SomethingNew.x", Pause("http-403")),
        ("429.TooManyRequests.x", Retry("TooManyRequests")),
        ("429.TooManyRequests.7.x", Retry("TooManyRequests", after=7)),
        ("429.TooManyProviderTokenUpdates.x", Pause("TooManyProviderTokenUpdates", "", 300, alert=False)),
        ("500.InternalServerError.x", Outage("InternalServerError")),
        ("503.ServiceUnavailable.x", Outage("ServiceUnavailable")),
        ("503.ServiceUnavailable.30.x", Outage("ServiceUnavailable", after=30)),
        ("503.Shutdown.x", Outage("Shutdown")),
        ("400.SomethingNew.x", Refused("http-400")),
        ("400.html.x", Refused("http-400")),
        ("502.html.x", Outage("http-502")),
        ("reset.x", Outage("stream-reset")),
        ("dropbefore.x", Outage("connection-lost")),
        ("dropafter.x", Outage("connection-lost")),
        ("garbage.x", Outage("connection-lost")),
        ("once.refuse.x", Sent()),
        ("once.goawaybefore.x", Sent()),
        ("goawayafter.x", Sent()),
        ("goawaygraceful.x", Sent()),
        ("goawayreason.BadCertificate.x", Pause("BadCertificate")),
        ("goawayreason.Shutdown.x", Outage("unprocessed")),
        ("goawaybefore.x", Outage("unprocessed")),
        ("refuse.x", Outage("unprocessed")),
    ],
)
def test_every_answer(sender: ApnsSender, token: str, outcome: Outcome) -> None:
    found = sender.send(delivery(token))
    assert type(found) is type(outcome)
    assert facts(found) == facts(outcome)
    if not isinstance(found, Sent):
        assert found.text
        assert token not in repr(found)
    assert sender.send(delivery()) == Sent()  # and it goes on


def reasons(outcomes: list[Outcome]) -> set[str]:
    return {outcome.reason for outcome in outcomes if not isinstance(outcome, Sent)}


def facts(outcome: Outcome) -> dict[str, object]:
    """All of an outcome but its text."""
    return {name: getattr(outcome, name) for name in outcome.__slots__ if name != "text"}


def test_shutdown_means_another_connection(fake: FakeApns, sender: ApnsSender) -> None:
    assert sender.send(delivery()) == Sent()
    slow = gevent.spawn(sender.send, delivery("delay.200.shutdown"))
    until(lambda: fake.stats()["streams"] > 0)
    before = fake.stats()["connections"]
    assert isinstance(sender.send(delivery("503.Shutdown.x")), Outage)
    assert sender.send(delivery()) == Sent()
    assert fake.stats()["connections"] == before + 1
    assert slow.get(timeout=SECONDS) == Sent()


# Provider tokens


def test_a_token_that_is_too_old_is_renewed_once_and_the_push_repeated(
    fake: FakeApns, new_sender: NewSender
) -> None:
    sender = new_sender(fake)
    assert sender.send(delivery()) == Sent()
    before = fake.stats()["tokens"]
    expired = [delivery(f"expired.{n}") for n in range(50)]
    assert send_all(sender, expired) == [Sent()] * 50
    assert fake.stats()["tokens"] == before + 1
    for each in expired:
        first, second = fake.of(each.device_token)
        assert (first["reason"], second["status"]) == ("ExpiredProviderToken", 200)
        assert first["apns_id"] == second["apns_id"]


def test_a_token_that_is_always_too_old_pauses(fake: FakeApns, sender: ApnsSender) -> None:
    found = sender.send(delivery("403.ExpiredProviderToken.always"))
    assert isinstance(found, Pause)
    assert (found.reason, found.alert) == ("ExpiredProviderToken", True)
    assert "clock" in found.text
    assert len(fake.of("403.ExpiredProviderToken.always")) == 2


def test_a_clock_that_is_wrong_pauses(fake: FakeApns, new_sender: NewSender, key: TokenKey) -> None:
    behind = ProviderToken(key.private, KEY_ID, TEAM_ID, clock=lambda: 1_000_000_000.0)
    found = new_sender(fake, behind).send(delivery())
    assert isinstance(found, Pause)
    assert found.reason == "ExpiredProviderToken"


def test_too_many_updates_keep_the_token(fake: FakeApns, sender: ApnsSender) -> None:
    assert sender.send(delivery()) == Sent()
    before = fake.stats()["tokens"]
    assert isinstance(sender.send(delivery("429.TooManyProviderTokenUpdates.x")), Pause)
    assert sender.send(delivery()) == Sent()
    assert fake.stats()["tokens"] == before


# Certificates


@pytest.fixture
def wants_certificates(tmp_path: Path) -> FakeApns:
    authority = Authority(tmp_path)
    return FakeApns(tmp_path, "--client-ca", str(authority.file), authority=authority)


@pytest.mark.parametrize("form", ["file", "bytes"])
def test_a_certificate_is_shown(
    wants_certificates: FakeApns, new_sender: NewSender, tmp_path: Path, form: str
) -> None:
    bundle = signed_p12(wants_certificates.authority)
    (tmp_path / "push.p12").write_bytes(bundle)
    with wants_certificates as fake:
        sender = new_sender(fake, Certificate(tmp_path / "push.p12" if form == "file" else bundle, PASSWORD))
        assert send_all(sender, [delivery() for _ in range(20)]) == [Sent()] * 20
        assert len(fake.received()) == 20


@pytest.mark.parametrize("tls", [[], ["--tls12"]])
def test_a_certificate_that_is_not_accepted_pauses(
    new_fake: NewFake, new_sender: NewSender, tmp_path: Path, tls: list[str]
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    fake = new_fake("--client-ca", str(other.file), *tls)
    sender = new_sender(fake, Certificate(signed_p12(fake.authority), PASSWORD))
    found = send_all(sender, [delivery() for _ in range(10)])
    assert {type(outcome) for outcome in found} == {Pause}
    assert found[0] == found[9]
    assert isinstance(found[0], Pause)
    assert (found[0].reason, found[0].alert) == ("refused-certificate", True)


def test_a_provider_token_where_a_certificate_is_wanted_pauses(
    wants_certificates: FakeApns, new_sender: NewSender
) -> None:
    with wants_certificates as fake:
        found = new_sender(fake).send(delivery())
    assert isinstance(found, Pause)
    assert found.reason == "refused-certificate"


# Starting and stopping


def test_credentials_that_cannot_be_used_end_the_start(fake: FakeApns, tmp_path: Path) -> None:
    (tmp_path / "push.p12").write_bytes(signed_p12(fake.authority))
    for credential, told in (
        (Certificate(tmp_path / "push.p12", "wrong"), "the password is wrong, or the file is damaged"),
        (Certificate(tmp_path / "missing"), "No such file or directory"),
        (ProviderToken(tmp_path / "push.p12", KEY_ID, TEAM_ID), "this is no private key as Apple gives it"),
    ):
        sender = ApnsSender(credential, APP, endpoint=fake.url, ca_file=fake.authority.file)
        with pytest.raises(ConfigError, match=told) as caught:
            sender.start()
        assert "wrong'" not in str(caught.value)
        assert sender.send(delivery()) == Outage("stopped", "the connector is stopping")


@pytest.mark.parametrize("more", [{"endpoint": "http://127.0.0.1"}, {"ca_file": Path("/nowhere")}])
def test_an_address_or_authority_that_cannot_be_used_ends_the_start(
    fake: FakeApns, key: TokenKey, more: dict[str, object]
) -> None:
    using: dict[str, object] = {"endpoint": fake.url, "ca_file": fake.authority.file} | more
    sender = ApnsSender(ProviderToken(key.private, KEY_ID, TEAM_ID), APP, **using)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        sender.start()


def test_starting_connects_to_nobody(key: TokenKey) -> None:
    sender = ApnsSender(ProviderToken(key.private, KEY_ID, TEAM_ID), APP)
    sender.start()
    sender.start()
    sender.stop(1)
    sender.stop(1)


def test_it_can_be_started_again(fake: FakeApns, new_sender: NewSender) -> None:
    sender = new_sender(fake)
    assert sender.send(delivery()) == Sent()
    sender.stop(1)
    assert sender.send(delivery()) == Outage("stopped", "the connector is stopping")
    sender.start()
    assert sender.send(delivery()) == Sent()


def test_a_stop_awaits_answers(fake: FakeApns, new_sender: NewSender) -> None:
    sender = new_sender(fake)
    assert sender.send(delivery()) == Sent()
    greenlets = [gevent.spawn(sender.send, delivery(f"delay.200.stop-{n}")) for n in range(10)]
    until(lambda: len(fake.of(*(f"delay.200.stop-{n}" for n in range(10)))) == 10)
    sender.stop(SECONDS)
    assert [greenlet.get(timeout=SECONDS) for greenlet in greenlets] == [Sent()] * 10


def test_a_stop_without_time_awaits_nothing(fake: FakeApns, new_sender: NewSender) -> None:
    sender = new_sender(fake)
    slow = gevent.spawn(sender.send, delivery("silent.stop"))
    until(lambda: fake.of("silent.stop") != [])
    sender.stop(0)
    assert slow.get(timeout=SECONDS) == Outage("stopped", "the connector is stopping")


def test_the_addresses_are_apples() -> None:
    assert (endpoint_of(production=True), endpoint_of(production=False)) == (PRODUCTION, SANDBOX)
    assert PRODUCTION == "https://api.push.apple.com"
    assert SANDBOX == "https://api.sandbox.push.apple.com"


# Connections


def test_two_hundred_greenlets_share_one_connection(new_fake: NewFake, new_sender: NewSender) -> None:
    fake = new_fake("--delay-ms", "250", "--max-streams", "150")  # so late that all streams are open before
    sender = new_sender(fake)
    assert send_all(sender, [delivery() for _ in range(1000)]) == [Sent()] * 1000
    stats = fake.stats()
    assert (stats["connections"], stats["streams"], stats["status 200"]) == (1, 1000, 1000)
    assert stats["most streams"] == 150
    assert "violations" not in stats


def test_the_first_push_is_alone(new_fake: NewFake, new_sender: NewSender) -> None:
    """APNs allows one stream until it knows the provider token; the fake would refuse a second."""
    fake = new_fake("--delay-ms", "1000")  # so late that all streams are open before
    sender = new_sender(fake)
    assert send_all(sender, [delivery() for _ in range(100)]) == [Sent()] * 100
    stats = fake.stats()
    assert "violations" not in stats
    assert stats["most streams"] == 99


def test_large_payloads_wait_for_windows(new_fake: NewFake, new_sender: NewSender) -> None:
    fake = new_fake("--window", "1000")
    sender = new_sender(fake)
    body = {"aps": {"alert": "a" * 4000}}
    assert send_all(sender, [delivery(body=body) for _ in range(300)]) == [Sent()] * 300
    assert {seen["payload"] for seen in fake.received()} == {json.dumps(body)}
    assert fake.stats()["connections"] == 1


@pytest.mark.parametrize("every", [7, 50])
def test_goaways_lose_nothing_and_repeat_nothing(
    new_fake: NewFake, new_sender: NewSender, every: int
) -> None:
    """While streams are in flight: each GOAWAY cuts between some that are served and some that are not."""
    fake = new_fake("--delay-ms", "5", "--goaway-every", str(every), "--max-streams", "20")
    sender = new_sender(fake)
    sent = [delivery(f"device-{n}") for n in range(500)]
    outcomes: list[Outcome] = []
    waiting = iter(sent)

    def work() -> None:
        for each in waiting:
            outcomes.append(sender.send(each))

    gevent.joinall([gevent.spawn(work) for _ in range(20)], timeout=SECONDS, raise_error=True)
    assert Counter(map(type, outcomes)) == {Sent: 500}
    assert Counter(seen["token"] for seen in fake.received()) == Counter(each.device_token for each in sent)
    stats = fake.stats()
    assert stats["goaways"] >= 500 // every - 1
    assert stats["ignored"] > 0
    assert "violations" not in stats


def test_what_is_in_flight_at_a_goaway_is_answered_on_the_old_connection(
    fake: FakeApns, new_sender: NewSender
) -> None:
    sender = new_sender(fake)
    assert sender.send(delivery()) == Sent()
    before = fake.stats()["connections"]
    slow = [gevent.spawn(sender.send, delivery(f"delay.inf.old-{n}")) for n in range(5)]
    until(lambda: len(fake.of(*(f"delay.inf.old-{n}" for n in range(5)))) == 5)
    assert sender.send(delivery("goawayafter.old")) == Sent()
    assert sender.send(delivery()) == Sent()
    assert fake.stats()["connections"] == before + 1
    assert not any(greenlet.ready() for greenlet in slow)
    assert sender.send(delivery("release.old")) == Sent()
    assert [greenlet.get(timeout=SECONDS) for greenlet in slow] == [Sent()] * 5
    assert len(fake.of(*(f"delay.inf.old-{n}" for n in range(5)))) == 5


def test_nothing_is_lost_whatever_happens(new_fake: NewFake, new_sender: NewSender) -> None:
    """Refusals, drops and GOAWAYs at the same time; repeated is only what was in flight at a drop."""
    options = ["--fail-percent", "20", "--drop-percent", "0.5", "--goaway-every", "60", "--delay-ms", "3"]
    fake = new_fake(*options)
    sender = new_sender(fake)
    sent = [delivery(f"device-{n}") for n in range(1000)]
    waiting, unknown = list(sent), set()

    def work() -> None:
        while waiting:
            each = waiting.pop()
            outcome = sender.send(each)
            if isinstance(outcome, Outage):
                waiting.insert(0, each)
                if outcome.reason == "connection-lost":
                    unknown.add(str(each.id))
            else:
                assert outcome == Sent()

    gevent.joinall([gevent.spawn(work) for _ in range(50)], timeout=SECONDS, raise_error=True)
    accepted = Counter(seen["apns_id"] for seen in fake.received() if seen["status"] == 200)
    assert accepted.keys() == {str(each.id) for each in sent}
    assert {name for name, times in accepted.items() if times > 1} <= unknown
    stats = fake.stats()
    assert min(stats["drops"], stats["goaways"], stats["ignored"], stats["status 503"]) > 0
    assert "violations" not in stats
    assert "protocol errors" not in stats


def test_endless_goaways_end(fake: FakeApns, new_sender: NewSender) -> None:
    sender = new_sender(fake)
    before = fake.stats()["connections"]
    found = sender.send(delivery("goawaybefore.endless"))
    assert found == Outage("unprocessed", f"APNs did not look at the request {TRIES} times in a row")
    assert fake.stats()["connections"] == before + TRIES
    assert fake.of("goawaybefore.endless") == []


def test_a_dropped_connection_leaves_the_outcome_unknown(fake: FakeApns, new_sender: NewSender) -> None:
    sender = new_sender(fake)
    both = [delivery("once.dropbefore.unknown"), delivery("once.dropafter.unknown")]
    for each in both:
        found = sender.send(each)
        assert isinstance(found, Outage)
        assert found.reason == "connection-lost"
        assert sender.send(each) == Sent()
    first, second = ([seen for seen in fake.of(each.device_token) if seen["status"]] for each in both)
    assert len(first) == 1
    assert [seen["apns_id"] for seen in second] == [str(both[1].id)] * 2


def test_a_server_that_is_gone_and_comes_back(new_fake: NewFake, new_sender: NewSender) -> None:
    fake = new_fake()
    sender = new_sender(fake)
    assert sender.send(delivery()) == Sent()
    fake.stop()
    found = send_all(sender, [delivery() for _ in range(200)])
    assert {type(outcome) for outcome in found} == {Outage}
    assert {outcome.reason for outcome in found if isinstance(outcome, Outage)} <= {
        "connection-lost",
        "unreachable",
    }
    assert sender.send(delivery()) == Outage("unreachable", "Connection refused")
    fake.start()
    assert send_all(sender, [delivery() for _ in range(200)]) == [Sent()] * 200
    assert fake.stats()["connections"] == 1


def test_a_server_that_does_not_answer(fake: FakeApns, new_sender: NewSender) -> None:
    sender = new_sender(fake, timing=Timing(answer=2.0, tick=0.02))
    found = sender.send(delivery("silent.slow"))
    assert found == Outage("timeout", "APNs did not answer in time")
    assert sender.send(delivery()) == Sent()


def test_a_server_that_is_frozen_is_found_out_by_a_ping(new_fake: NewFake, new_sender: NewSender) -> None:
    fake = new_fake()
    sender = new_sender(fake, timing=Timing(idle=1.0, pong=1.0, tick=0.02))
    found = sender.send(delivery("freeze.x"))
    assert found == Outage("connection-lost", "APNs did not answer a ping")
    assert sender.send(delivery()) == Sent()


def test_an_idle_connection_is_kept_alive_by_pings(new_fake: NewFake, new_sender: NewSender) -> None:
    fake = new_fake()
    sender = new_sender(fake, timing=Timing(idle=0.05, pong=SECONDS, tick=0.02))
    assert sender.send(delivery()) == Sent()
    until(lambda: fake.stats().get("pings", 0) >= 3)
    assert sender.send(delivery()) == Sent()
    assert fake.stats()["connections"] == 1


def test_an_authority_that_is_not_trusted_pauses(
    fake: FakeApns, new_sender: NewSender, tmp_path: Path
) -> None:
    sender = new_sender(fake, ca_file=Authority(tmp_path).file)
    found = send_all(sender, [delivery() for _ in range(20)])
    assert reasons(found) == {"untrusted-certificate"}
    assert len({repr(outcome) for outcome in found}) == 1


# Devices of somebody else


def test_many_unknown_devices_in_a_row_are_an_alert_once(
    sender: ApnsSender, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(BURST - 1):
        sender.send(delivery("400.BadDeviceToken.x"))
    sender.send(delivery("410.Unregistered.x"))
    assert "in a row" not in caplog.text
    for _ in range(BURST):
        sender.send(delivery("400.DeviceTokenNotForTopic.x"))
    (alert,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"APNs knows none of {BURST} devices in a row (DeviceTokenNotForTopic)" in alert.getMessage()
    assert "--apns-production" in alert.getMessage()


def test_a_success_between_is_no_alert(sender: ApnsSender, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2 * BURST - 1):
        sender.send(delivery("400.BadDeviceToken.x" if number != BURST - 1 else "fine"))
    assert [record for record in caplog.records if record.levelno == logging.ERROR] == []


# Events


@pytest.mark.parametrize(
    ("outcome", "status", "error"),
    [
        (Sent(), events.SUCCESS, ""),
        (Refused("PayloadTooLarge", "why"), events.FAIL, "PayloadTooLarge: why"),
        (Gone("Unregistered", "why"), events.FAIL, "Unregistered: why"),
    ],
)
def test_what_is_settled_is_reported(sender: ApnsSender, outcome: Outcome, status: str, error: str) -> None:
    body = {"aps": {"alert": {"title": "T", "body": "B"}}, "deep_link": "app://1"}
    assert sender.event(delivery("dead", body), outcome) == events.push(
        topic="/foo/bar",
        status=status,
        error_text=error,
        user_id="trillian",
        device_id="dead",
        notification_body="B",
        notification_title="T",
        deep_link="app://1",
    )


def test_what_could_not_be_built_is_reported_without_facts(sender: ApnsSender) -> None:
    large = delivery("a", b"a" * 5000)
    event = sender.event(large, sender.send(large))
    assert event is not None
    assert event.payload["status"] == events.FAIL
    assert event.payload["notification_body"] == ""


@pytest.mark.parametrize("outcome", [Retry("a"), Outage("a"), Pause("a")])
def test_what_is_not_settled_is_not_reported(sender: ApnsSender, outcome: Outcome) -> None:
    assert sender.event(delivery(), outcome) is None


# Secrets


SCRIPTS = [
    "",
    "410.Unregistered.",
    "400.BadDeviceToken.",
    "403.Forbidden.",
    "429.TooManyRequests.",
    "500.html.",
    "expired.",
    "reset.",
    "refuse.",
    "dropafter.",
    "garbage.",
    "goawaybefore.",
]


def test_no_secret_is_shown(
    fake: FakeApns, new_sender: NewSender, key: TokenKey, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Not in what is logged, at any level, not in outcomes, not in what is printed of the objects."""
    caplog.set_level(logging.DEBUG)
    token = ProviderToken(key.private, KEY_ID, TEAM_ID)
    sender = new_sender(fake, token)
    certificate = Certificate(signed_p12(fake.authority), PASSWORD)
    certificate.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    device = "5ec2e7" * 10
    shown = [repr(sender), repr(certificate), repr(token)]
    for script in SCRIPTS:
        shown.append(repr(sender.send(delivery(script + device))))
    sender.stop(1)
    text = "\n".join([*shown, caplog.text])
    assert "APNs" in text
    authorization = token.authorization().decode().removeprefix("bearer ")
    key_lines = key.private.read_text().splitlines()[1:-1]
    assert [secret for secret in [device, PASSWORD, authorization, *key_lines] if secret in text] == []


# As in the server


def test_it_works_where_everything_is_patched(new_fake: NewFake, key: TokenKey) -> None:
    fake = new_fake("--delay-ms", "1", "--token-key", str(key.public))
    task = Task(fake.url, str(fake.authority.file), str(key.private), pushes=1000, greenlets=200)
    told = task.run()
    assert (told["outcomes"], told["stderr"]) == ({"Sent": 1000}, "")
    stats = fake.stats()
    assert (stats["connections"], stats["status 200"]) == (1, 1000)
    assert "violations" not in stats
