import pytest

from gobbler.connectors.fcm.retry_after import LONGEST, SHORTEST, retry_after

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 06 Nov 1994 08:51:37 GMT", 120.0),
        ("Sunday, 06-Nov-94 08:51:37 GMT", 120.0),
        ("Sun Nov  6 08:51:37 1994", 120.0),
    ],
)
def test_seconds_and_all_forms_of_dates(value: str, expected: float) -> None:
    assert retry_after(value, NOW) == expected


@pytest.mark.parametrize("value", ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 01:00:00 GMT"])
def test_never_at_once(value: str) -> None:
    assert retry_after(value, NOW) == SHORTEST


@pytest.mark.parametrize("value", ["86400", "9" * 400, "Sun, 06 Nov 2094 08:49:37 GMT"])
def test_never_longer_than_google_keeps_trying(value: str) -> None:
    assert retry_after(value, NOW) == LONGEST


@pytest.mark.parametrize("value", ["", "-5", "1.5", "soon", "٣", "Sun, 36 Nov 1994 08:49:37 GMT"])
def test_what_cannot_be_read(value: str) -> None:
    assert retry_after(value, NOW) is None
