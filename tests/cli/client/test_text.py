"""What is shown cannot drive a terminal."""

import pytest

from gobbler.cli.client.text import one_line, shown


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain, ünïcode, 漢字 and 🎉", "plain, ünïcode, 漢字 and 🎉"),
        ("a\ttab", "a\ttab"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("right\u202eto left", "right\\u202eto left"),
        ("half a \ud800 pair", "half a \\ud800 pair"),
    ],
)
def test_one_line(text: str, safe: str) -> None:
    assert one_line(text) == safe


def test_bytes_that_are_no_text() -> None:
    assert shown(b"caf\xc3\xa9 \xff\n") == "café \\xff\\n"
