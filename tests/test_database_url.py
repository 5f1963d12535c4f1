"""DATABASE_URL in all its forms, and what it must not show."""

import traceback
from collections.abc import Callable

import pytest

from gobbler import database_url

PARTS: dict[str, Callable[[str], str | None]] = {
    "host": database_url.host,
    "port": database_url.port,
    "user": database_url.user,
    "password": database_url.password,
    "dbname": database_url.dbname,
    "sslmode": database_url.sslmode,
    "ca_file": database_url.ca_file,
}

NO_URL = "is not postgres://user:password@host:port/database"
NO_UTF_8 = "has a percent-encoded part that is not UTF-8"


def parts(url: str) -> dict[str, str]:
    """Return the parts of a URL that it has."""
    found = {name: part(url) for name, part in PARTS.items()}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://", {}),
        ("postgres:///", {}),
        ("postgresql://host", {"host": "host"}),
        ("POSTGRES://Host:5433", {"host": "Host", "port": "5433"}),
        ("postgres://host:/db", {"host": "host", "dbname": "db"}),
        ("postgres://:5433/db", {"port": "5433", "dbname": "db"}),
        ("postgres:///db", {"dbname": "db"}),
        (
            "postgres://me:secret@db.example.org:5433/bus",
            {"host": "db.example.org", "port": "5433", "user": "me", "password": "secret", "dbname": "bus"},
        ),
        ("postgres://me@host", {"host": "host", "user": "me"}),
        ("postgres://:secret@host", {"host": "host", "password": "secret"}),
        ("postgres://me:@host", {"host": "host", "user": "me", "password": ""}),
        ("postgres://me:s:cr@et@host", {"host": "host", "user": "me", "password": "s:cr@et"}),
        ("postgres://m%40e:s%2fc%3Fr%20e%25t+@h/b%2Fu%23s", {
            "host": "h", "user": "m@e", "password": "s/c?r e%t+", "dbname": "b/u#s"}),
        ("postgres://%C3%BC:%e2%82%ac@h", {"host": "h", "user": "ü", "password": "€"}),
        ("postgres://ü:€@h", {"host": "h", "user": "ü", "password": "€"}),
        ("postgres://me:50%off@h", {"host": "h", "user": "me", "password": "50%off"}),
        ("postgres://[::1]/db", {"host": "::1", "dbname": "db"}),
        ("postgres://me:secret@[2001:db8::1]:5433/db", {
            "host": "2001:db8::1", "port": "5433", "user": "me", "password": "secret", "dbname": "db"}),
        ("postgres://[fe80::1%25eth0]:5433", {"host": "fe80::1%eth0", "port": "5433"}),
        ("postgres://%2FRun%2Fpostgresql:5433/db", {
            "host": "/Run/postgresql", "port": "5433", "dbname": "db"}),
        ("postgres:///db?host=/Run/postgresql&port=5433", {
            "host": "/Run/postgresql", "port": "5433", "dbname": "db"}),
        ("postgres:///db?host=%2Frun%2Fmy+pg%20sql", {"host": "/run/my+pg sql", "dbname": "db"}),
        ("postgres://host?user=me&password=s%26cr%3Det&dbname=bus", {
            "host": "host", "user": "me", "password": "s&cr=et", "dbname": "bus"}),
        ("postgres://one:1/here?host=two&port=2&dbname=there", {
            "host": "one", "port": "1", "dbname": "here"}),
        ("postgres://h/db?sslmode=verify-full&sslrootcert=/etc/my%20ca.pem", {
            "host": "h", "dbname": "db", "sslmode": "verify-full", "ca_file": "/etc/my ca.pem"}),
        ("postgres://h?ssl=true", {"host": "h", "sslmode": "require"}),
        ("postgres://h?ssl=true&sslmode=verify-ca", {"host": "h", "sslmode": "verify-ca"}),
        ("postgres://h?ssl=false&&connect_timeout=3&x", {"host": "h"}),
        ("postgres://h?sslmode=&sslrootcert=", {"host": "h"}),
    ],
)  # fmt: skip
def test_the_parts_of_a_url(url: str, expected: dict[str, str]) -> None:
    assert parts(url) == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", NO_URL),
        ("hunter2", NO_URL),
        ("me:hunter2@host/db", NO_URL),
        ("mysql://me:hunter2@host/db", NO_URL),
        ("postgresql+psycopg2://me:hunter2@host/db", NO_URL),
        ("postgres://me:hunter2@host:port/db", NO_URL),
        ("postgres://me:hunter2@host:0/db", NO_URL),
        ("postgres://me:hunter2@host:65536/db", NO_URL),
        ("postgres://me:hunter2@one:1,two:2/db", NO_URL),
        ("postgres://me:hunter2@::1/db", NO_URL),
        ("postgres://me:hunter2@[::1/db", NO_URL),
        ("postgres://me:hunter/2@host/db", NO_URL),
        ("postgres://me:5432/hunter2@host/db", NO_URL),
        ("postgres://me:5432?hunter2@host/db", NO_URL),
        ("postgres://me:5432#hunter2@host/db", NO_URL),
        ("postgres://%ff:hunter2%ff@%ff/%ff?sslmode=%ff&sslrootcert=%ff&port=%ff", NO_UTF_8),
    ],
)
def test_what_is_no_such_url_is_refused_and_not_shown(url: str, problem: str) -> None:
    for part in PARTS.values():
        with pytest.raises(ValueError, match=f"^{problem}$") as caught:
            part(url)
        assert "hunter" not in "".join(traceback.format_exception(caught.value))
