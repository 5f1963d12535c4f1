"""What is shown cannot drive a terminal, or pass for another line."""

import pytest

from gobbler.text import one_line, shown, shown_line


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
def test_shown_line(text: str, safe: str) -> None:
    assert shown_line(text) == safe


def test_one_line_leaves_text_alone() -> None:
    assert one_line("grüße, 世界 \\n") == "grüße, 世界 \\n"


def test_a_tab_is_an_escape_where_nobody_looks() -> None:
    assert one_line("a\ttab") == "a\\ttab"


def test_bytes_that_are_no_text() -> None:
    assert shown(b"caf\xc3\xa9 \xff\n") == "café \\xff\\n"
