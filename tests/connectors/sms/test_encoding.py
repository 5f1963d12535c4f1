"""Alphabets, units and parts, against an oracle that really encodes and cuts."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gobbler.connectors.sms.encoding import (
    BASIC,
    EXTENDED,
    TEXT,
    UNICODE,
    check_length,
    encoding_of,
)
from gobbler.errors import MessageTooLarge

ESCAPE = "\x1b"
FIRST_SURROGATE, LAST_LEADING = 0xD800, 0xDBFF

gsm = st.text(st.sampled_from(sorted(BASIC | EXTENDED)), max_size=700)
mostly_extended = st.text(st.sampled_from("a€{^"), max_size=700)
unicode = st.text(st.sampled_from("aж日😀\uffff\U00010000"), max_size=300).map("ж".__add__)


def cut(units: list[int], size: int, keeps: tuple[int, int]) -> int:
    """Cut units into pieces of a size, and count them; one within `keeps` stays with the next."""
    pieces = 0
    while units:
        end = min(size, len(units))
        if end < len(units) and keeps[0] <= units[end - 1] <= keeps[1]:
            end -= 1
        units = units[end:]
        pieces += 1
    return pieces


def gsm_units(text: str) -> list[int]:
    return [ord(unit) for c in text for unit in (ESCAPE + c if c in "^{}\\[~]|€" else c)]


def utf16_units(text: str) -> list[int]:
    raw = text.encode("utf-16-be")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]


@given(gsm | mostly_extended)
@example("a" * 160)
@example("a" * 161)
@example("a" * 152 + "€" + "a" * 10)
@example("€" * 80)
@example("€" * 81)
def test_parts_of_gsm(text: str) -> None:
    units = gsm_units(text)
    expected = 1 if 0 < len(units) <= 160 else cut(units, 153, (ord(ESCAPE), ord(ESCAPE)))
    assert encoding_of(text) is TEXT
    assert (TEXT.units(text), TEXT.parts(text)) == (len(units), expected)


@given(unicode)
@example("ж" * 70)
@example("ж" * 71)
@example("ж" * 66 + "😀" + "ж" * 10)
@example("😀" * 35)
@example("😀" * 36)
def test_parts_of_unicode(text: str) -> None:
    units = utf16_units(text)
    expected = 1 if len(units) <= 70 else cut(units, 67, (FIRST_SURROGATE, LAST_LEADING))
    assert encoding_of(text) is UNICODE
    assert (UNICODE.units(text), UNICODE.parts(text)) == (len(units), expected)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 158 + "€", 1),
        ("a" * 159 + "€", 2),
        ("a" * 152 + "€" + "a" * 151, 2),  # the euro sign does not straddle, so a unit stays empty
        ("a" * 152 + "€" + "a" * 152, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("ж" * 68 + "😀", 1),
        ("ж" * 69 + "😀", 2),
        ("ж" * 66 + "😀" + "ж" * 65, 2),  # nor does a pair of surrogates
        ("ж" * 66 + "😀" + "ж" * 66, 3),
    ],
)
def test_the_borders(text: str, parts: int) -> None:
    assert encoding_of(text).parts(text) == parts


def test_the_alphabet() -> None:
    assert len(BASIC) == 127  # 128 codes, one of which is the escape
    assert "".join(sorted(EXTENDED)) == "[\\]^{|}~€"
    assert not BASIC & EXTENDED
    beyond = ["ç", "`", "\t", "\f", "\0", "Á", "“", "\u2019", "\u2013", "\u00a0", "ẞ", "😀"]
    assert [c for c in beyond if encoding_of(c) is TEXT] == []
    assert encoding_of("\r\n") is TEXT
    assert (TEXT.type, UNICODE.type) == ("text", "unicode")


@pytest.mark.parametrize(
    ("parts", "gsm_limit", "utf16_limit"), [(1, 160, 70), (2, 306, 134), (10, 1530, 670)]
)
def test_what_fits_is_allowed_and_no_unit_more(parts: int, gsm_limit: int, utf16_limit: int) -> None:
    assert check_length("a" * gsm_limit, parts) is TEXT
    assert check_length("ж" * utf16_limit, parts) is UNICODE
    for text in ("a" * (gsm_limit + 1), "ж" * (utf16_limit + 1), "a" * 1_000_000):
        with pytest.raises(MessageTooLarge):
            check_length(text, parts)


@pytest.mark.parametrize(
    ("text", "parts", "told"),
    [
        ("a" * 159 + "€", 1, "takes 161 units of GSM 7-bit, and 160 fit into one SMS"),
        ("a" * 161, 1, "takes at least 161 units of GSM 7-bit, and 160 fit into one SMS"),
        ("a" * 307, 2, "takes 307 units of GSM 7-bit, and 2 SMS of 153 may be sent"),
        ("😀" * 36, 1, "takes 72 units of UTF-16, and 70 fit into one SMS"),
    ],
)
def test_what_is_said_of_a_long_text(text: str, parts: int, told: str) -> None:
    with pytest.raises(MessageTooLarge) as caught:
        check_length(text, parts)
    assert str(caught.value) == f"the text is too long: it {told}"
