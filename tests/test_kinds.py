"""Every kind of value: what it takes, what it refuses and what it says then."""

import re
from pathlib import Path
from typing import Any

import pytest

from gobbler.kinds import (
    ADDRESS,
    DURATION,
    ENDPOINT,
    FOLDER,
    SWITCH,
    SYNC_INTERVAL,
    URL_PREFIX,
    Address,
    Kind,
    one_of,
    optional,
    size,
)

LEVEL = one_of("low", "high")
SIZE = size("64KiB", "1GiB")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ADDRESS, ":8080", Address("", 8080)),
        (ADDRESS, "localhost:0", Address("localhost", 0)),
        (ADDRESS, "127.0.0.1:65535", Address("127.0.0.1", 65535)),
        (ADDRESS, "[::1]:8080", Address("::1", 8080)),
        (DURATION, "30", 30.0),
        (DURATION, "0.5", 0.5),
        (DURATION, "250ms", 0.25),
        (DURATION, "90s", 90.0),
        (DURATION, "15m", 900.0),
        (DURATION, "12h", 43200.0),
        (DURATION, "7d", 604800.0),
        (SYNC_INTERVAL, "always", 0.0),
        (SYNC_INTERVAL, "never", None),
        (SYNC_INTERVAL, "0.25", 0.25),
        (size(), "1", 1),
        (size(), "1048576", 1 << 20),
        (size(), "64KiB", 1 << 16),
        (size(), "1 MiB", 1 << 20),
        (size(), "1mib", 1 << 20),
        (SIZE, "64KiB", 1 << 16),
        (SIZE, "1GiB", 1 << 30),
        (SWITCH, "true", True),
        (SWITCH, "1", True),
        (SWITCH, "YES", True),
        (SWITCH, "on", True),
        (SWITCH, "False", False),
        (SWITCH, "0", False),
        (SWITCH, "no", False),
        (SWITCH, "off", False),
        (FOLDER, "data/here", Path("data/here")),
        (ENDPOINT, "", ""),
        (ENDPOINT, "/admin/x-1", "/admin/x-1"),
        (URL_PREFIX, "/stream", "/stream/"),
        (URL_PREFIX, "/a/b/", "/a/b/"),
        (LEVEL, "low", "low"),
        (optional(LEVEL), "off", None),
        (optional(LEVEL), "", None),
        (optional(LEVEL), "high", "high"),
    ],
)
def test_good_values(kind: Kind[Any], text: str, value: object) -> None:
    assert kind.read(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        (ADDRESS, "", "is not [host]:port"),
        (ADDRESS, "8080", "is not [host]:port"),
        (ADDRESS, "localhost:", "is not [host]:port"),
        (ADDRESS, "localhost:http", "is not [host]:port"),
        (ADDRESS, ":65536", "is not [host]:port"),
        (ADDRESS, ":-1", "is not [host]:port"),
        (ADDRESS, ":٨٠٨٠", "is not [host]:port"),
        (ADDRESS, "::1:8080", "an IPv6 address needs brackets"),
        (ADDRESS, "[localhost]:8080", "what is in the brackets is no IPv6 address"),
        (ADDRESS, "a b:80", "no host name has"),
        (ADDRESS, "http://a:80", "an IPv6 address needs brackets"),
        (DURATION, "0", "is not a time above zero"),
        (DURATION, "-1", "is not a time above zero"),
        (DURATION, "1w", "is not a time above zero"),
        (DURATION, "inf", "is not a time above zero"),
        (DURATION, "nan", "is not a time above zero"),
        (DURATION, "9" * 5000, "is not a time above zero"),
        (SYNC_INTERVAL, "0", "is neither always, never nor a number of seconds above zero"),
        (SYNC_INTERVAL, "sometimes", "is neither always, never nor a number"),
        (size(), "", "is not a number of bytes"),
        (size(), "-1", "is not a number of bytes"),
        (size(), "1.5MiB", "is not a number of bytes"),
        (size(), "1MB", "is not a number of bytes"),
        (size(), "9" * 5000, "is not a number of bytes"),
        (size(), "0", "is too small: the minimum is 1"),
        (SIZE, "65535", "is too small: the minimum is 64KiB"),
        (SIZE, "1025MiB", "is too large: the maximum is 1GiB"),
        (SWITCH, "maybe", "is neither true, 1, yes, on nor false, 0, no, off"),
        (SWITCH, "", "is neither true"),
        (FOLDER, "", "is not a folder"),
        (FOLDER, "a\0b", "is not a folder"),
        (ENDPOINT, "admin", "is not a path such as /admin/page"),
        (ENDPOINT, "/a b", "is not a path"),
        (ENDPOINT, "/a//b", "is not a path"),
        (ENDPOINT, "/<id>", "is not a path"),
        (ENDPOINT, "/a?b", "is not a path"),
        (URL_PREFIX, "/", "is not a prefix such as /stream/"),
        (URL_PREFIX, "", "is not a prefix"),
        (URL_PREFIX, "stream/", "is not a path"),
        (LEVEL, "Low", "is none of low, high"),
    ],
)
def test_bad_values(kind: Kind[Any], text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        kind.read(text)


@pytest.mark.parametrize("text", [":8080", "localhost:80", "[::1]:8080", "[fe80::1%eth0]:1"])
def test_an_address_is_written_as_it_was_given(text: str) -> None:
    assert str(ADDRESS.read(text)) == text


def test_metavars_come_from_the_kind() -> None:
    assert (LEVEL.metavar, optional(LEVEL).metavar, SIZE.metavar) == ("low|high", "low|high", "BYTES")
