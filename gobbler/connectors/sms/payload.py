"""The body of a message that is to become an SMS, and the form that it becomes. Pure.

    {"to": "447700900000", "from": "Gobbler", "text": "hello", "client-ref": "order 1", "ttl": 900000}

`to` and `text` have to be there. The names may be written in capitals, as Go's JSON does. How long
a text may be is `encoding`'s matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gobbler.errors import InvalidMessage

MEMBERS: Final = ("to", "from", "text", "client-ref", "ttl")

MAX_REFERENCE: Final = 40
"""Characters of a `client-ref` (Vonage's reference of the SMS API)."""

MIN_TTL: Final = 20_000
MAX_TTL: Final = 604_800_000
"""Milliseconds: the same reference's bounds of `ttl`, 20 s and 7 days."""

_NUMBER: Final = re.compile(r"[1-9][0-9]{6,14}")
_SENDER: Final = re.compile(r"[A-Za-z0-9]{1,11}|\+?[0-9]{1,15}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Sms:
    """What is to be sent: `sender` may be empty, `reference` is the `client-ref`, `ttl` in milliseconds."""

    to: str
    sender: str
    text: str
    reference: str = ""
    ttl: int | None = None

    def fields(self) -> dict[str, str]:
        """Return the SMS's fields of the provider's form; those of the account are not among them."""
        fields = {"from": self.sender, "to": self.to, "text": self.text, "client-ref": self.reference}
        if self.ttl is not None:
            fields["ttl"] = str(self.ttl)
        return fields


def parse(body: bytes, headers: bytes = b"", *, sender: str = "", reference: str = "") -> Sms:
    """Return the SMS that a message's body describes.

    `headers` are the message's application headers, a JSON object or nothing: a `ttl` may stand
    there too. `sender` and `reference` are for a body that names none.

    Raises:
        InvalidMessage: what is wrong with it; the text quotes no value.
    """
    members = _members(body)
    unknown = members.keys() - set(MEMBERS)
    if unknown:
        raise InvalidMessage(f"the body may have the members {', '.join(MEMBERS)} and no others")
    return Sms(
        _to(_string(members, "to")),
        _sender(_string(members, "from") or sender),
        _text(_string(members, "text")),
        _reference(_string(members, "client-ref") or reference),
        _ttl(_string(members, "ttl") or _string(_headers(headers), "ttl")),
    )


def is_sender(text: str) -> bool:
    """Say whether a text may be the sender of an SMS: a name of letters and digits, or a number."""
    return _SENDER.fullmatch(text) is not None


def excerpt(body: bytes) -> Sms:
    """Return what can be told of a body that may be unusable, for a report: short texts, "" for the rest."""
    try:
        members = _members(body)
    except InvalidMessage:
        return Sms("", "", "")
    to, text, reference = (_shown(members.get(name)) for name in ("to", "text", "client-ref"))
    return Sms(to, "", text, reference)


def _shown(value: object, length: int = 1_600) -> str:
    return value[:length] if isinstance(value, str) else ""


def _members(body: bytes) -> dict[str, object]:
    """Return the members of the body by their names in lower case."""
    try:
        # Numbers stay as they are written: a phone number is one only by accident.
        found = json.loads(body, parse_int=str, parse_float=str, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise InvalidMessage('the body is not JSON such as {"to": "447700900000", "text": "hello"}') from None
    if not isinstance(found, _Pairs):
        raise InvalidMessage("the body is not a JSON object")
    members = {name.lower(): value for name, value in found}
    if len(members) != len(found):
        raise InvalidMessage("the body has a member twice")
    return members


class _Pairs(list[tuple[str, object]]):
    """The members of a JSON object in their order, repetitions too."""


def _headers(headers: bytes) -> dict[str, object]:
    """Return the application headers; those that are no JSON object say nothing here."""
    try:
        found = json.loads(headers, parse_int=str, parse_float=str) if headers else {}
    except (ValueError, RecursionError):
        return {}
    return {name.lower(): value for name, value in found.items()} if isinstance(found, dict) else {}


def _string(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidMessage(f"{name} is neither a string nor a number")
    if _SURROGATE.search(value):
        raise InvalidMessage(f"{name} holds half a character (a lone surrogate)")
    return value


def _to(value: str) -> str:
    number = value.removeprefix("+")  # as E.164 is often written; it means the same
    if not value:
        raise InvalidMessage("to is missing: the number that the SMS goes to")
    if number.startswith("0"):
        raise InvalidMessage("to begins with 0: it has to begin with the country code")
    if not _NUMBER.fullmatch(number):
        raise InvalidMessage("to is not a number of 7 to 15 digits with the country code")
    return number


def _sender(value: str) -> str:
    if not value:
        raise InvalidMessage("from is missing, and there is no --sms-from")
    if not is_sender(value):
        raise InvalidMessage("from is neither up to 11 letters and digits (A-Z, 0-9) nor up to 15 digits")
    return value.removeprefix("+")


def _text(value: str) -> str:
    if not value:
        raise InvalidMessage("text is missing or empty")
    return value


def _reference(value: str) -> str:
    if len(value) > MAX_REFERENCE:
        raise InvalidMessage(f"client-ref is longer than {MAX_REFERENCE} characters")
    return value


def _ttl(value: str) -> int | None:
    if not value:
        return None
    if not re.fullmatch("[0-9]{1,9}", value) or not MIN_TTL <= int(value) <= MAX_TTL:
        raise InvalidMessage(f"ttl is not a number of milliseconds from {MIN_TTL} to {MAX_TTL}")
    return int(value)
