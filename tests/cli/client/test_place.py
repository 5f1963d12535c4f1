"""What is made of `--url`."""

import pytest

from gobbler.cli.client.place import DEFAULT, Place, find


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (DEFAULT, Place("ws://localhost:8080", "")),
        ("localhost:8080/stream/", Place("ws://localhost:8080", "")),
        ("wss://bus.example/stream", Place("wss://bus.example", "")),
        ("ws://host:1/stream/user/marvin", Place("ws://host:1", "marvin")),
        ("ws://host:1/stream/user/mar%2Fvin/", Place("ws://host:1", "mar/vin")),
        ("wss://host/behind/a/proxy/stream/", Place("wss://host/behind/a/proxy", "")),
        ("ws://host/other/", Place("ws://host", "", "/other/")),
        ("ws://name:secret@host/stream/", Place("ws://name:secret@host", "")),
        ("ws://[::1]:8080/stream/", Place("ws://[::1]:8080", "")),
        ("ws://host:8080", Place("ws://host:8080", "")),
        ("http://host:8080", Place("http://host:8080", "")),
        ("https://host/base", Place("https://host/base", "")),
        ("ws://[::1/stream/", Place("ws://[::1/stream/", "")),
    ],
)
def test_a_url(url: str, place: Place) -> None:
    assert find(url) == place


def test_a_user_that_is_named_wins_over_the_urls() -> None:
    assert find("ws://host/stream/user/marvin", "zaphod") == Place("ws://host", "zaphod")
