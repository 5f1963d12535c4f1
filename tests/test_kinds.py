"""Every kind of value: what it takes, what it refuses and what it says then."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from gobbler.kinds import (
    ADDRESS,
    BROKERS,
    DURATION,
    ENDPOINT,
    FILE,
    FOLDER,
    HEXADECIMAL,
    HOST,
    KAFKA_TOPIC,
    SWITCH,
    SYNC_INTERVAL,
    TEXT,
    TOPIC,
    URL_PREFIX,
    WEB_ADDRESS,
    WORKERS,
    Address,
    Kind,
    number,
    one_of,
    optional,
    size,
)

LEVEL = one_of("low", "high")
SIZE = size("64KiB", "1GiB")
PORT = number(1, 65535)


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
        (PORT, "1", 1),
        (PORT, "65535", 65535),
        (PORT, "00080", 80),
        (number(0, 3), "0", 0),
        (WORKERS, "1", 1),
        (WORKERS, "1000", 1000),
        (HOST, "", ""),
        (HOST, "localhost", "localhost"),
        (HOST, "db_1.example.org", "db_1.example.org"),
        (HOST, "bücher.example", "bücher.example"),
        (HOST, "127.0.0.1", "127.0.0.1"),
        (HOST, "::1", "::1"),
        (HOST, "fe80::1%eth0", "fe80::1%eth0"),
        (HOST, "/run/my postgresql", "/run/my postgresql"),
        (HOST, "@abstract", "@abstract"),
        (TEXT, "", ""),
        (TEXT, " as it is, 'ü' and \\ ", " as it is, 'ü' and \\ "),
        (TEXT, "\N{NO-BREAK SPACE}\N{GRINNING FACE}", "\N{NO-BREAK SPACE}\N{GRINNING FACE}"),
        (FILE, "", None),
        (FILE, "keys/my key.p8", Path("keys/my key.p8")),
        (HEXADECIMAL, "", b""),
        (HEXADECIMAL, "00fFAb", b"\x00\xff\xab"),
        (HEXADECIMAL, "30 82\n01", b"\x30\x82\x01"),
        (WEB_ADDRESS, "", ""),
        (WEB_ADDRESS, "https://host", "https://host"),
        (WEB_ADDRESS, "https://host/", "https://host"),
        (WEB_ADDRESS, "http://127.0.0.1:8080/a/b/", "http://127.0.0.1:8080/a/b"),
        (WEB_ADDRESS, "HTTPS://[::1]:8443", "HTTPS://[::1]:8443"),
        (WEB_ADDRESS, "https://host/@me/%20", "https://host/@me/%20"),
        (TOPIC, "/sms", "/sms"),
        (TOPIC, "/a/b/", "/a/b"),
        (TOPIC, "/grüße", "/grüße"),
        (BROKERS, "", ()),
        (BROKERS, " , ", ()),
        (BROKERS, "kafka:9092", ("kafka:9092",)),
        (BROKERS, "one:1,two:2 three:65535,  [::1]:9092", ("one:1", "two:2", "three:65535", "[::1]:9092")),
        (KAFKA_TOPIC, "", ""),
        (KAFKA_TOPIC, "Push_events-1.x", "Push_events-1.x"),
        (KAFKA_TOPIC, "t" * 249, "t" * 249),
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


NO_PORT = "is not a whole number from 1 to 65535"
NO_WORKERS = "is neither auto nor a whole number from 1 to 1000"
NO_HOST = "is neither a host, without its port, nor the folder of a socket"
NO_LINE = "holds a line end or a control character"
NO_HEXADECIMAL = "is not bytes in hexadecimal"
NO_WEB_ADDRESS = "is not an address such as https://host or https://host:8443/path"
MORE_THAN_AN_ADDRESS = "must have no user, password, query or fragment"
NO_BROKERS = "is not host:port, or several of them separated by commas or spaces"
NO_KAFKA_TOPIC = "is not a name that a Kafka topic may have: letters, digits, '.', '_' and '-'"


@pytest.mark.parametrize(
    ("kind", "texts", "problem"),
    [
        (PORT, ["", "0", "65536", "-1", "+1", "1.0", " 1", "1 ", "٣", "auto", "9" * 5000], NO_PORT),
        (WORKERS, ["", "0", "1001", "Auto", "-1", "2.5"], NO_WORKERS),
        (HOST, ["localhost:5432", "[::1]", "a b", "one,two", "pg://host", "me@host", "/", "::x"], NO_HOST),
        (HOST, ["a\nb", "/run\0"], NO_LINE),
        (TEXT, ["a\nb", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"], NO_LINE),
        (TEXT, ["\udcff"], "is not UTF-8"),
        (FILE, ["a\0b"], "is not a file"),
        (HEXADECIMAL, ["0", "0x30", "3g", "30:82", "٣٣"], NO_HEXADECIMAL),
        (
            WEB_ADDRESS,
            ["host", "host:443", "ftp://host", "//host", "https:", "https://", "https:///path", "https://:443",
             "https://host:0", "https://host:65536", "https://host:x", "https://[::1", "https://a b",
             "https://hôst", " https://host", "https://host\n", "https://ho\tst"],
            NO_WEB_ADDRESS,
        ),
        (
            WEB_ADDRESS,
            ["https://me:secret@host", "https://me@host", "https://host?", "https://host/?key=secret",
             "https://host/#", "https://host#secret"],
            MORE_THAN_AN_ADDRESS,
        ),
        (TOPIC, [""], "is not a topic such as /sms: topic must begin with '/'"),
        (TOPIC, ["/"], "is not a topic such as /sms: topic has no segment"),
        (TOPIC, ["/a,b"], "is not a topic such as /sms: topic holds a comma"),
        (TOPIC, ["/\udcff"], "is not a topic such as /sms: topic is not valid UTF-8"),
        (
            BROKERS,
            ["kafka", ":9092", "kafka:", "kafka:0", "kafka:65536", "kafka:9092;two:9092", "::1:9092",
             "kafka://host:9092", "me:secret@host:9092", "kafka:9092 two"],
            NO_BROKERS,
        ),
        (KAFKA_TOPIC, [".", "..", "a b", "a/b", "grüße", "t" * 250, " t"], NO_KAFKA_TOPIC),
    ],
)  # fmt: skip
def test_what_is_said_of_bad_values(kind: Kind[Any], texts: list[str], problem: str) -> None:
    said = dict.fromkeys(texts, "nothing")
    for text in texts:
        try:
            kind.read(text)
        except ValueError as error:
            said[text] = str(error)
    assert said == dict.fromkeys(texts, problem)


@pytest.mark.parametrize(("counted", "workers"), [(3, 3), (None, 1)])
def test_workers_are_as_many_as_processors(
    monkeypatch: pytest.MonkeyPatch, counted: int | None, workers: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert WORKERS.read("auto") == workers


@pytest.mark.parametrize("text", [":8080", "localhost:80", "[::1]:8080", "[fe80::1%eth0]:1"])
def test_an_address_is_written_as_it_was_given(text: str) -> None:
    assert str(ADDRESS.read(text)) == text


def test_metavars_come_from_the_kind() -> None:
    assert (LEVEL.metavar, optional(LEVEL).metavar, SIZE.metavar) == ("low|high", "low|high", "BYTES")
    assert (PORT.metavar, WORKERS.metavar, HOST.metavar) == ("NUMBER", "NUMBER", "HOST")
