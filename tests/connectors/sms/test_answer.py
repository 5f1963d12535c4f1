"""What every answer means: each row of the provider's table, parts that differ, HTTP's own words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.outcome import Outage, Outcome, Pause, Refused, Retry, Sent
from gobbler.connectors.sms.answer import (
    INTERNAL_RETRIES,
    LONGEST_WAIT,
    REASONS,
    Reply,
    Verdict,
    judge,
    retry_after,
)

NOW = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT
UNCLEAR = Refused("unknown", "the provider's answer cannot be understood; the message may have been sent")


def verdict(reply: Reply, attempt: int = 0) -> Verdict:
    return judge(reply, attempt, NOW, lambda text: text.replace("secret", "***"))


def outcome_of(*statuses: object, attempt: int = 0) -> Outcome:
    messages = [{"status": status} for status in statuses]
    return verdict(Reply(200, json.dumps({"messages": messages}).encode()), attempt).outcome


# The table


def test_accepted() -> None:
    assert outcome_of("0") == Sent()
    assert outcome_of("0", "0", "0") == Sent()


@pytest.mark.parametrize(("status", "reason"), [("1", "throttled"), ("10", "too-many-connections")])
@pytest.mark.parametrize("attempt", [0, 1, 100])
def test_busy_is_tried_again(status: str, reason: str, attempt: int) -> None:
    expected = Retry(reason, f"status {status}, {reason}")
    assert outcome_of(status, attempt=attempt) == expected
    assert outcome_of(status, status, attempt=attempt) == expected


def test_an_error_of_the_providers_is_tried_again_a_few_times() -> None:
    for attempt in range(INTERNAL_RETRIES):
        assert outcome_of("5", attempt=attempt) == Retry("internal-error", "status 5, internal-error")
    given_up = Refused("internal-error", "status 5, internal-error (in 4 attempts)")
    assert outcome_of("5", attempt=INTERNAL_RETRIES) == given_up


def test_without_credit_everyone_waits_for_somebody() -> None:
    assert outcome_of("9") == Pause("no-credit", "status 9, no-credit", alert=True)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("2", "missing-parameter"),
        ("3", "invalid-parameter"),
        ("12", "too-long"),
        ("22", "invalid-network"),
        ("23", "invalid-callback"),
        ("4", "invalid-credentials"),
        ("8", "account-barred"),
        ("11", "account-without-http"),
        ("14", "invalid-signature"),
        ("15", "invalid-sender"),
        ("29", "number-not-allowed"),
        ("32", "signature-and-secret"),
        ("6", "invalid-message"),
        ("7", "number-barred"),
        ("33", "number-deactivated"),
    ],
)
def test_what_is_final(status: str, reason: str) -> None:
    assert outcome_of(status) == Refused(reason, f"status {status}, {reason}")


def test_a_status_that_nobody_has_heard_of_is_final() -> None:
    assert outcome_of("77") == Refused("other-status", "status 77, unheard of")
    assert len(set(REASONS.values())) == len(REASONS)


# Parts


@pytest.mark.parametrize("other", ["1", "5", "9", "2", "33", "77"])
def test_what_was_sent_in_part_is_never_repeated(other: str) -> None:
    for statuses in (("0", other), (other, "0"), ("0", "0", other)):
        outcome = outcome_of(*statuses)
        assert isinstance(outcome, Refused)
        assert outcome.reason == "partly-sent"
        accepted = f"{len(statuses) - 1} of {len(statuses)} parts were accepted"
        assert outcome.text.startswith(f"{accepted}, not the others: status {other}, ")


@pytest.mark.parametrize(
    ("statuses", "kind", "reason"),
    [
        (("1", "10"), Retry, "throttled"),
        (("1", "5"), Retry, "throttled"),
        (("1", "9"), Pause, "no-credit"),
        (("9", "5"), Pause, "no-credit"),
        (("1", "7"), Refused, "number-barred"),
        (("9", "2"), Refused, "missing-parameter"),
        (("5", "33"), Refused, "number-deactivated"),
    ],
)
def test_when_no_part_was_sent_the_worst_counts(
    statuses: tuple[str, ...], kind: type[Outcome], reason: str
) -> None:
    outcome = outcome_of(*statuses)
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Sent)
    assert outcome.reason == reason
    assert "; " in outcome.text


def test_the_ids_of_the_parts_that_were_accepted() -> None:
    messages = [
        {"status": "0", "message-id": "A"},
        {"status": "1", "message-id": "B"},
        {"status": "0", "message-id": "secret C"},
        {"status": "0"},
    ]
    found = verdict(Reply(200, json.dumps({"messages": messages}).encode()))
    assert found.message_ids == ("A", "*** C")


def test_the_providers_words_are_cleaned() -> None:
    body = b'{"messages": [{"status": "4", "error-text": "the secret is wrong"}]}'
    assert verdict(Reply(200, body)).outcome == Refused(
        "invalid-credentials", "status 4, invalid-credentials (the *** is wrong)"
    )


def test_statuses_may_be_numbers() -> None:
    assert outcome_of(0, 0) == Sent()
    assert outcome_of(9) == outcome_of("9")
    assert outcome_of(" 07 ") == outcome_of("7")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"\xff",
        b"null",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b'{"messages": null}',
        b'{"messages": []}',
        b'{"messages": {"status": "0"}}',
        b'{"messages": ["0"]}',
        b'{"messages": [{}]}',
        b'{"messages": [{"status": null}]}',
        b'{"messages": [{"status": ""}]}',
        b'{"messages": [{"status": "fine"}]}',
        b'{"messages": [{"status": "-1"}]}',
        b'{"messages": [{"status": "12345"}]}',
        b'{"messages": [{"status": true}]}',
        b'{"messages": [{"status": "1"}, {"status": "?"}]}',
        b'{"messages": [{"status": "0"',
    ],
)
def test_what_cannot_be_understood_may_have_been_sent(body: bytes) -> None:
    assert verdict(Reply(200, body)) == Verdict(UNCLEAR)


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_answer_has_an_outcome(body: bytes | str) -> None:
    found = verdict(Reply(200, body.encode() if isinstance(body, str) else body))
    assert found.outcome == UNCLEAR


# HTTP


@pytest.mark.parametrize("status", [429, 420, 408, 500, 502, 503, 504, 599])
def test_http_says_later(status: int) -> None:
    text = f"the provider answered with HTTP status {status}"
    assert verdict(Reply(status, b"")).outcome == Outage(f"http-{status}", text)
    assert verdict(Reply(status, b"", "7")).outcome == Outage(f"http-{status}", text, 7.0)


@pytest.mark.parametrize("status", [301, 302, 307, 401, 402, 403, 404, 405, 407, 410])
def test_http_says_that_the_options_are_wrong(status: int) -> None:
    text = f"the provider answered with HTTP status {status}"
    assert verdict(Reply(status, b"")).outcome == Pause(f"http-{status}", text, alert=True)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_http_says_that_the_message_is_wrong(status: int) -> None:
    text = f"the provider answered with HTTP status {status}"
    assert verdict(Reply(status, b"")).outcome == Refused(f"http-{status}", text)


@pytest.mark.parametrize("status", [201, 202, 204])
def test_http_says_something_else_was_done(status: int) -> None:
    found = verdict(Reply(status, b'{"messages": [{"status": "0"}]}')).outcome
    assert isinstance(found, Refused)
    assert found.reason == "unknown"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("-7", None),
        ("7.5", None),
        ("soon", None),
        ("9" * 400, LONGEST_WAIT),
        ("Wed, 21 Oct 2015 07:29:30 GMT", 90.0),
        ("Wed, 21 Oct 2015 07:29:30", None),
        ("Wed, 32 Oct 2015 07:29:30 GMT", None),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", LONGEST_WAIT),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds
