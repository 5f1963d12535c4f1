"""The sender against the fake provider: what is sent, what comes of it, what is told of it, and when."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import pytest

from gobbler.connectors.base import Sender
from gobbler.connectors.outcome import Gone, Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.connectors.sms import sender as module
from gobbler.connectors.sms.sender import SmsSender
from gobbler.connectors.sms.signature import METHODS
from gobbler.connectors.sms.transport import Timeouts
from gobbler.errors import ConfigError
from gobbler.reporting.events import Event
from tests.connectors.sms.conftest import NewSender
from tests.connectors.sms.sending import (
    KEY,
    PATIENT,
    SECRET,
    SIGNATURE_SECRET,
    SOON,
    config,
    delivery,
    raw_delivery,
    received,
)
from tests.providers.process import ROOT, Provider

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PLAIN = ["api_key", "api_secret", "client-ref", "from", "text", "to", "type"]

# What a sender does in a process where gevent has patched everything, as in the server.
PATCHED = """
from gevent import monkey; monkey.patch_all()
import json, socket, sys, time
import gevent
from gobbler.config import Config
from gobbler.connectors.sms.sender import SmsSender
from gobbler.connectors.sms.transport import Timeouts
from tests.connectors.sms.sending import delivery

def new(endpoint, timeouts=Timeouts(), **more):
    options = {"sms_api_key": "abcd1234", "sms_api_secret": "an-api-secret-0123", "sms_from": "G"}
    options |= {"sms_rate": 10000, "sms_endpoint": endpoint, "sms_ca_file": sys.argv[2]} | more
    sender = SmsSender(Config(**options), 50, timeouts=timeouts)
    sender.start()
    return sender

def many(sender, numbers):
    begun = time.monotonic()
    sending = [gevent.spawn(sender.send, delivery(number)) for number in numbers]
    gevent.joinall(sending, timeout=60)
    return [repr(greenlet.value) for greenlet in sending], time.monotonic() - begun

def tick():
    while True:
        gevent.sleep(0.01)
        ticks.append(1)

ticks = []
ticker = gevent.spawn(tick)
found = {}

url = sys.argv[1] + "/sms/json"
found["together"] = many(new(url), [f"44770090{n:04}" for n in range(50)])
found["ticks"] = len(ticks)
found["rate"] = many(new(url, sms_rate=50), [f"44770091{n:04}" for n in range(26)])
found["drip"] = many(new(url, Timeouts(5, 30, 3)), ["9903600"])  # connecting counts as well

deaf = socket.create_server(("127.0.0.1", 0))
nobody = f"https://127.0.0.1:{deaf.getsockname()[1]}"
found["handshake"] = many(new(nobody, Timeouts(30, 30, 0.5)), ["447700900000"])

sender = new(url)
last = gevent.spawn(sender.send, delivery("447700920000"))
gevent.sleep(0.05)
sender.stop(30)
found["stopped"] = [repr(last.value), repr(sender)]
ticker.kill()
print(json.dumps(found))
"""


def told(event: Event | None) -> dict[str, str]:
    """What an event tells, without the times, which have to be there."""
    assert event is not None
    payload = dict(event.payload)
    for name in ("request_time", "response_time"):
        assert TIME.fullmatch(payload.pop(name))
    return payload


# What is sent


def test_an_sms(sender: SmsSender, fake: Provider) -> None:
    sent = delivery("447700900100", "hello & = ä €")
    assert sender.send(sent) == Sent()
    (line,) = received(fake, "447700900100")
    assert line["names"] == PLAIN
    assert [line[name] for name in ("from", "text", "type", "client-ref", "answer")] == [
        "Gobbler",
        "hello & = ä €",
        "text",
        str(sent.id),
        "0",
    ]
    assert told(sender.event(sent, Sent())) == {
        "order_id": str(sent.id),
        "message_id": line["ids"][0],
        "text": "hello & = ä €",
        "mobile_number": "447700900100",
        "delivery_status": "sent",
    }


def test_everything_that_can_be_said(new_sender: NewSender, fake: Provider) -> None:
    sender = new_sender(sms_receipt_url="https://gobbler.example/sms/receipt")
    sent = delivery("+447700900101", "日本😀", client_ref="order 1", ttl=30_000, from_="447700900000")
    assert sender.send(sent) == Sent()
    (line,) = received(fake, "447700900101")
    assert line["names"] == sorted([*PLAIN, "callback", "ttl"])
    expected = {
        "callback": "https://gobbler.example/sms/receipt",
        "client-ref": "order 1",
        "from": "447700900000",
        "text": "日本😀",
        "ttl": "30000",
        "type": "unicode",
    }
    assert {name: line[name] for name in expected} == expected
    assert told(sender.event(sent, Sent()))["order_id"] == "order 1"


def test_a_ttl_of_the_headers(sender: SmsSender, fake: Provider) -> None:
    body = b'{"to": "447700900102", "text": "x"}'
    assert sender.send(raw_delivery(body, headers=b'{"Ttl": "40000"}')) == Sent()
    assert received(fake, "447700900102")[0]["ttl"] == "40000"


def test_several_parts(sender: SmsSender, fake: Provider) -> None:
    sent = delivery("447700900103", "x" * 400)
    assert sender.send(sent) == Sent()
    (line,) = received(fake, "447700900103")
    assert (line["answer"], len(line["ids"])) == ("0,0,0", 3)
    assert told(sender.event(sent, Sent()))["message_id"] == ",".join(line["ids"])


def test_a_signed_sms_has_no_secret(new_sender: NewSender, fake: Provider) -> None:
    sender = new_sender(sms_signature_secret=SIGNATURE_SECRET)
    assert sender.send(delivery("447700900104", "a&b=c 😀")) == Sent()
    (line,) = received(fake, "447700900104")
    assert line["names"] == ["api_key", "client-ref", "from", "sig", "text", "timestamp", "to", "type"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_signing(method: str, tmp_path: Path) -> None:
    options = ("--signature-secret", "s", "--signature-method", method)
    with Provider("tests.providers.sms", tmp_path, *options) as fake:
        signed = config(fake, sms_signature_secret="s", sms_signature_method=method)
        sender = SmsSender(signed, 1, timeouts=PATIENT)
        sender.start()
        assert sender.send(delivery("447700900105", "a&b=c 😀")) == Sent()
        sender.stop(5)


# What is not even tried


@pytest.mark.parametrize(
    ("body", "reason", "text", "event"),
    [
        (b"hello", "invalid-message", "the body is not JSON", ["", "", ""]),
        (b'{"to": "0123", "text": "x", "client-ref": "r"}', "invalid-message", "to begins with 0",
         ["r", "x", "0123"]),
        (b'{"to": "4477", "text": "x"}', "invalid-message", "to is not a number", ["", "x", "4477"]),
        (b'{"to": "447700900110", "from": "a b", "text": "x"}', "invalid-message", "from is neither",
         ["", "x", "447700900110"]),
        (b'{"to": "447700900110", "text": ""}', "invalid-message", "text is missing",
         ["", "", "447700900110"]),
    ],
)  # fmt: skip
def test_bodies_that_are_refused(
    sender: SmsSender, fake: Provider, body: bytes, reason: str, text: str, event: list[str]
) -> None:
    before = len(fake.received())
    refused = raw_delivery(body)
    outcome = sender.send(refused)
    assert isinstance(outcome, Refused)
    assert outcome.reason == reason
    assert outcome.text.startswith(text)
    payload = sender.event(refused, outcome).payload
    assert [payload[name] for name in ("order_id", "text", "mobile_number")] == event
    assert [payload[name] for name in ("message_id", "request_time", "response_time")] == ["", "", ""]
    assert payload["delivery_status"] == f"failed: {reason}: {outcome.text}"
    assert len(fake.received()) == before


@pytest.mark.parametrize(
    ("parts", "text", "sent"),
    [
        (1, "x" * 160, True),
        (1, "x" * 161, False),
        (1, "ж" * 70, True),
        (1, "ж" * 71, False),
        (3, "x" * 459, True),
        (3, "x" * 460, False),
    ],
)
def test_how_long_a_text_may_be(
    new_sender: NewSender, fake: Provider, parts: int, text: str, sent: bool
) -> None:
    sender = new_sender(sms_max_parts=parts)
    before = len(fake.received())
    outcome = sender.send(delivery("447700900111", text))
    assert isinstance(outcome, Sent if sent else Refused)
    assert isinstance(outcome, Sent) or outcome.reason == "too-large"
    assert len(fake.received()) - before == sent


# What comes of it


@pytest.mark.parametrize(
    ("to", "outcome"),
    [
        ("990001", Retry("throttled", "status 1, throttled (the words for 1)")),
        ("990010", Retry("too-many-connections", "status 10, too-many-connections (the words for 10)")),
        ("990005", Retry("internal-error", "status 5, internal-error (the words for 5)")),
        ("990009", Pause("no-credit", "status 9, no-credit (the words for 9)", alert=True)),
        ("990002", Refused("missing-parameter", "status 2, missing-parameter (the words for 2)")),
        ("990003", Refused("invalid-parameter", "status 3, invalid-parameter (the words for 3)")),
        ("990012", Refused("too-long", "status 12, too-long (the words for 12)")),
        ("990022", Refused("invalid-network", "status 22, invalid-network (the words for 22)")),
        ("990023", Refused("invalid-callback", "status 23, invalid-callback (the words for 23)")),
        ("990004", Refused("invalid-credentials", "status 4, invalid-credentials (the words for 4)")),
        ("990008", Refused("account-barred", "status 8, account-barred (the words for 8)")),
        ("990011", Refused("account-without-http", "status 11, account-without-http (the words for 11)")),
        ("990014", Refused("invalid-signature", "status 14, invalid-signature (the words for 14)")),
        ("990015", Refused("invalid-sender", "status 15, invalid-sender (the words for 15)")),
        ("990029", Refused("number-not-allowed", "status 29, number-not-allowed (the words for 29)")),
        ("990032", Refused("signature-and-secret", "status 32, signature-and-secret (the words for 32)")),
        ("990006", Refused("invalid-message", "status 6, invalid-message (the words for 6)")),
        ("990007", Refused("number-barred", "status 7, number-barred (the words for 7)")),
        ("990033", Refused("number-deactivated", "status 33, number-deactivated (the words for 33)")),
        ("990099", Refused("other-status", "status 99, unheard of (the words for 99)")),
        ("9902429", Outage("http-429", "the provider answered with HTTP status 429", 7.0)),
        ("9902500", Outage("http-500", "the provider answered with HTTP status 500")),
        ("9902502", Outage("http-502", "the provider answered with HTTP status 502")),
        ("9902404", Pause("http-404", "the provider answered with HTTP status 404", alert=True)),
        ("9902302", Pause("http-302", "the provider answered with HTTP status 302", alert=True)),
        ("9902400", Refused("http-400", "the provider answered with HTTP status 400")),
        ("99044", Sent()),
    ],
)
def test_every_answer(sender: SmsSender, to: str, outcome: Outcome) -> None:
    sent = delivery(f"{to}0000")
    assert sender.send(sent) == outcome
    if isinstance(outcome, Refused):
        expected = f"failed: {outcome.reason}: {outcome.text}"
        assert told(sender.event(sent, outcome))["delivery_status"] == expected


def test_an_answer_that_asks_to_wait_until_a_date(sender: SmsSender) -> None:
    outcome = sender.send(delivery("99025030000"))
    assert isinstance(outcome, Outage)
    assert outcome.after is not None
    assert 30 < outcome.after <= 60


def test_an_error_of_the_providers_is_final_in_the_end(sender: SmsSender) -> None:
    outcomes = [sender.send(delivery("9900050000", attempt=attempt)) for attempt in range(5)]
    assert [type(outcome) for outcome in outcomes] == [Retry, Retry, Retry, Refused, Refused]


def test_parts_that_fare_differently(sender: SmsSender, fake: Provider) -> None:
    sent = delivery("990100010000", "x" * 400)
    outcome = sender.send(sent)
    text = "1 of 3 parts were accepted, not the others: status 1, throttled (the words for 1)"
    assert outcome == Refused("partly-sent", text)
    event = told(sender.event(sent, outcome))
    assert event["message_id"] == received(fake, "990100010000")[0]["ids"][0]
    assert event["delivery_status"] == f"failed: partly-sent: {text}"


@pytest.mark.parametrize(
    ("to", "timeouts"),
    [
        ("99030", SOON),
        ("99031", PATIENT),
        ("99032", PATIENT),
        ("99033", PATIENT),
        ("99034", PATIENT),
        ("99035", SOON),
        *((f"9904{kind}", PATIENT) for kind in (0, 1, 2, 3, 5, 6, 7)),
    ],
)
def test_what_may_have_been_sent(new_sender: NewSender, to: str, timeouts: Timeouts) -> None:
    sender = new_sender(timeouts)
    sent = delivery(f"{to}0000")
    outcome = sender.send(sent)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "unknown"
    assert outcome.text.endswith("; the message may have been sent")
    assert told(sender.event(sent, outcome))["delivery_status"] == f"unknown: {outcome.text}"


def test_nobody_listens(tmp_path: Path) -> None:
    with Provider("tests.providers.sms", tmp_path) as fake:
        sender = SmsSender(config(fake), 1, timeouts=PATIENT)
        sender.start()
        assert sender.send(delivery("447700900120")) == Sent()
        fake.stop()
        # There is a kept connection, whose end is seen before anything is written.
        assert sender.send(delivery("447700900120")) == Outage("no-connection", "Connection refused")
        fake.start()
        assert sender.send(delivery("447700900120")) == Sent()
        sender.stop(5)


def test_wrong_credentials(new_sender: NewSender) -> None:
    for options, reason in (
        ({"sms_api_secret": "wrong"}, "invalid-credentials"),
        ({"sms_api_key": "wrong"}, "invalid-credentials"),
        ({"sms_signature_secret": "wrong"}, "invalid-signature"),
    ):
        outcome = new_sender(**options).send(delivery("447700900121"))
        assert isinstance(outcome, Refused)
        assert outcome.reason == reason


# What is told


def test_no_secret_is_told(new_sender: NewSender, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by an outcome nor by a log, and the number only by the event that is about it."""
    caplog.set_level(logging.DEBUG)
    to = "99070000"
    told: list[str] = []
    for options in ({}, {"sms_signature_secret": SIGNATURE_SECRET}, {"sms_api_secret": "wrong-secret"}):
        sender = new_sender(**options)
        for number in (to, "447700900122", "9902500", "99032000", "99040000", "990002000"):
            sent = delivery(number)
            outcome = sender.send(sent)
            status = sender.event(sent, outcome).payload["delivery_status"]
            told += [repr(outcome), repr(sender), status]
    told.append(caplog.text)
    secrets = (KEY, SECRET, SIGNATURE_SECRET, "wrong-secret", to)
    assert [secret for secret in secrets if secret in "\n".join(told)] == []
    assert "status 4, invalid-credentials (no: ***, ***, ***)" in "\n".join(told)
    assert not re.search("[0-9A-F]{64}", "\n".join(told))  # a signature


def test_the_providers_words_are_one_short_line(sender: SmsSender) -> None:
    outcome = sender.send(delivery("99080000"))
    words = "no:\\n" + "x" * (module.SHOWN_CHARACTERS - 5)
    assert outcome == Refused("invalid-parameter", f"status 3, invalid-parameter ({words})")


def test_a_delivery_that_was_given_up(sender: SmsSender) -> None:
    """The connector itself has refused it: the sender knows of no request."""
    late = delivery("447700900123")
    assert sender.event(late, Refused("expired")).payload == {
        "order_id": str(late.id),
        "message_id": "",
        "text": "hello",
        "request_time": "",
        "response_time": "",
        "mobile_number": "447700900123",
        "delivery_status": "failed: expired",
    }
    assert sender.event(late, Gone("gone", "so it is")).payload["delivery_status"] == "failed: gone: so it is"


def test_what_nobody_asks_for_is_forgotten(new_sender: NewSender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    sender = new_sender()
    sent = [delivery("447700900124") for _ in range(4)]
    for one in sent:
        sender.send(one)
    ids = [sender.event(one, Sent()).payload["message_id"] for one in sent]
    assert [bool(id) for id in ids] == [False, False, True, True]
    sender.send(delivery("9900010000"))  # not settled: nothing is kept
    assert len(sender._facts) == 0


# When


def test_without_a_start_nothing_is_sent(fake: Provider) -> None:
    sender = SmsSender(config(fake), 1)
    assert sender.send(delivery("447700900130")) == Retry("stopped", "the sender is not running")
    sender.stop(1)
    assert received(fake, "447700900130") == []


def test_it_can_be_stopped_and_started_again(sender: SmsSender) -> None:
    sender.start()
    assert sender.send(delivery("447700900131")) == Sent()
    assert repr(sender) == "SmsSender(running, under_way=0)"
    sender.stop(1)
    sender.stop(1)
    assert repr(sender) == "SmsSender(stopped, under_way=0)"
    assert isinstance(sender.send(delivery("447700900131")), Retry)
    sender.start()
    assert sender.send(delivery("447700900131")) == Sent()


def test_who_waits_for_a_turn_is_sent_home_by_a_stop(new_sender: NewSender, fake: Provider) -> None:
    sender = new_sender(sms_rate=1)
    sender._bucket.take()  # now: who sends may take so long that the next turn is free
    waiting = [gevent.spawn(sender.send, delivery("447700900132")) for _ in range(3)]
    gevent.sleep(0)
    assert repr(sender) == "SmsSender(running, under_way=3)"
    sender.stop(10)
    assert {greenlet.get(timeout=10) for greenlet in waiting} == {
        Retry("stopped", "the sender is not running")
    }
    assert received(fake, "447700900132") == []


def test_a_turn_that_is_too_far_away_is_not_waited_for(new_sender: NewSender) -> None:
    sender = new_sender(sms_rate=1)
    sender._bucket.take()  # now: who sends may take so long that the next turn is free
    waiting = [gevent.spawn(sender.send, delivery("447700900133")) for _ in range(12)]
    gevent.sleep(0)
    early = [greenlet.value for greenlet in waiting if greenlet.ready()]
    assert len(early) == 2
    for outcome in early:
        assert isinstance(outcome, Retry)
        assert outcome.reason == "rate"
        assert outcome.after is not None
        assert 9 < outcome.after <= 11
    sender.stop(10)
    gevent.joinall(waiting, timeout=10)


def test_what_was_admitted_waits_no_more(new_sender: NewSender, fake: Provider) -> None:
    """Between the two, it can be noted that it may have been sent."""
    sender = new_sender(sms_rate=1)
    first, second = delivery("447700900135"), delivery("447700900135")
    assert sender.admit(first) is None
    assert received(fake, "447700900135") == []
    waiting = gevent.spawn(sender.admit, second)
    gevent.sleep(0)
    assert sender.send(first) == Sent()
    assert not waiting.ready()
    sender.stop(10)
    assert waiting.get(timeout=10) == Retry("stopped", "the sender is not running")
    assert len(received(fake, "447700900135")) == 1
    assert len(sender._admitted) == 0


def test_what_is_refused_is_not_admitted(sender: SmsSender) -> None:
    for refused in (raw_delivery(b"hello"), delivery("447700900136", "x" * 1000)):
        assert isinstance(sender.admit(refused), Refused)
    assert len(sender._admitted) == 0


def test_what_was_admitted_and_is_not_sent_is_forgotten(new_sender: NewSender) -> None:
    sender = new_sender()
    admitted = [delivery("447700900137") for _ in range(20)]
    assert {sender.admit(one) for one in admitted} == {None}
    assert len(sender._admitted) == 10
    assert {sender.send(one) for one in admitted} == {Sent()}
    admitted = [delivery("447700900137")]
    assert sender.admit(admitted[0]) is None
    sender.stop(5)
    assert isinstance(sender.send(admitted[0]), Retry)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sms_from": "My Shop"}, "--sms-from: is neither up to 11 letters and digits nor up to 15 digits"),
        (
            {"sms_ca_file": Path("/nowhere")},
            "--sms-ca-file: '/nowhere' cannot be used: No such file or directory",
        ),
    ],
)
def test_options_that_cannot_be_used(fake: Provider, options: dict[str, Any], text: str) -> None:
    sender = SmsSender(config(fake, **options), 1)
    with pytest.raises(ConfigError) as caught:
        sender.start()
    assert str(caught.value) == text
    assert isinstance(sender.send(delivery("447700900134")), Retry)


def test_it_is_what_connectors_take(sender: SmsSender) -> None:
    taken: Sender = sender
    assert (taken.name, taken.retry_delay) == ("sms", 2.0)


def test_in_a_patched_process(tmp_path: Path) -> None:
    """Greenlets wait side by side, the event loop goes on, and no answer may take for ever."""
    with Provider("tests.providers.sms", tmp_path, "--delay-ms", "300") as fake:
        command = [sys.executable, "-c", PATCHED, fake.url, str(fake.authority.file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    outcomes, seconds = found["together"]
    assert outcomes == ["Sent(token='')"] * 50
    assert 0.3 < seconds < 7.5  # one after the other they take 15 s
    assert found["ticks"] >= 10
    outcomes, seconds = found["rate"]
    assert outcomes == ["Sent(token='')"] * 26
    assert seconds >= 0.5
    ((outcome,), seconds) = found["drip"]
    assert "reason='unknown', text='there was no whole answer in time; " in outcome
    assert seconds < 10
    ((outcome,), seconds) = found["handshake"]
    assert outcome == "Outage(reason='no-connection', text='no connection in time', after=None)"
    assert seconds < 10
    assert found["stopped"] == ["Sent(token='')", "SmsSender(stopped, under_way=0)"]
