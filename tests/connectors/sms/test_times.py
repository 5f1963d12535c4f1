"""Times as events have them."""

from gobbler.connectors.sms.times import rfc3339


def test_times() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1577880000.9876) == "2020-01-01T12:00:00.987Z"
