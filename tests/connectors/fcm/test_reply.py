import pytest

from gobbler.connectors.fcm.reply import HIDDEN, TEXT, Reply, by_status, dicts, printable, unreadable
from gobbler.connectors.outcome import Outage, Outcome, Pause, Refused


@pytest.mark.parametrize(
    ("status", "wait", "expected"),
    [
        (400, "", Refused("R", "t")),
        (413, "", Refused("R", "t")),
        (422, "", Refused("R", "t")),
        (429, "", Pause("R", "t", 60.0, alert=False)),
        (429, "7", Pause("R", "t", 7.0, alert=False)),
        (408, "", Outage("R", "t")),
        (425, "", Outage("R", "t")),
        (500, "", Outage("R", "t")),
        (502, "", Outage("R", "t")),
        (503, "30", Outage("R", "t", 30.0)),
        (503, "Thu, 01 Jan 1970 00:02:00 GMT", Outage("R", "t", 20.0)),
        (599, "", Outage("R", "t")),
        # What is nobody's but the configuration's fault loses no message.
        (301, "", Pause("R", "t")),
        (302, "", Pause("R", "t")),
        (401, "", Pause("R", "t")),
        (403, "", Pause("R", "t")),
        (404, "", Pause("R", "t")),
        (405, "", Pause("R", "t")),
        (451, "", Pause("R", "t")),
    ],
)
def test_the_status_alone(status: int, wait: str, expected: Outcome) -> None:
    assert by_status(Reply(status, b"", wait), "R", "t", 100.0) == expected


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"7", b"\xff", b'{"a": ', b"[" * 100_000])
def test_what_has_no_members(body: bytes) -> None:
    assert Reply(200, body).members() is None


def test_members() -> None:
    assert Reply(200, b'{"a": 1}').members() == {"a": 1}
    assert dicts([{"a": 1}, 2, "x", None]) == [{"a": 1}]
    assert dicts({"a": 1}) == dicts(None) == []


def test_nobody_knows() -> None:
    assert unreadable("It") == Outage("INVALID_ANSWER", "It answered something that cannot be read")


def test_secrets_are_hidden_before_the_text_is_cut() -> None:
    """What a cut has left of a secret would not be recognised."""
    text = "x" * (TEXT - 4) + "secret"
    assert printable(text, ["secret", ""]) == "x" * (TEXT - 4) + HIDDEN[:4]
    assert printable("a secret and a secret", ["secret"]) == f"a {HIDDEN} and a {HIDDEN}"
    assert printable(None, []) == printable([1], []) == ""
