"""Topics: what is one, what is refused and with which words, and what contains what."""

import sys
import unicodedata

import pytest
from hypothesis import given

from gobbler.errors import InvalidTopic
from gobbler.protocol.topic import MAX_BYTES, ancestors, canonical, covers, partition_of
from tests.protocol.alphabets import nearly, topics
from tests.protocol.costs import expect_linear

LONGEST = b"/" + b"a" * (MAX_BYTES - 1)

KEPT: list[tuple[bytes, bytes]] = [
    (b"/foo", b"/foo"),
    (b"/foo/", b"/foo"),
    (b"/foo/bar", b"/foo/bar"),
    (b"/foo/bar/", b"/foo/bar"),
    (b"/.", b"/."),
    (b"/..", b"/.."),
    (b"/../../etc/passwd", b"/../../etc/passwd"),
    (b"/~", b"/~"),
    (b"/a:b;c=d?e#f&g%20*", b"/a:b;c=d?e#f&g%20*"),
    ("/grüße/日本/𝄞".encode(), "/grüße/日本/𝄞".encode()),
    (
        "/👩\u200d👩\u200d👧".encode(),
        "/👩\u200d👩\u200d👧".encode(),
    ),  # joiners are neither white space nor control
    (LONGEST, LONGEST),
    (LONGEST + b"/", LONGEST),
]

REFUSED: list[tuple[bytes, str]] = [
    (b"", "topic must begin with '/'"),
    (b"foo", "topic must begin with '/'"),
    (b" /foo", "topic must begin with '/'"),
    (b"\xef\xbb\xbf/foo", "topic must begin with '/'"),
    (b"/", "topic has no segment"),
    (b"//", "topic has an empty segment"),
    (b"//foo", "topic has an empty segment"),
    (b"/foo//", "topic has an empty segment"),
    (b"/foo//bar", "topic has an empty segment"),
    (b"/foo,bar", "topic holds a comma"),
    (b"/foo bar", "topic holds white space"),
    (b"/foo\tbar", "topic holds white space"),
    (b"/foo\n", "topic holds white space"),
    (b"/foo\r", "topic holds white space"),
    ("/foo\u0085".encode(), "topic holds white space"),
    ("/foo\u00a0bar".encode(), "topic holds white space"),
    ("/foo\u2028bar".encode(), "topic holds white space"),
    ("/foo\u3000bar".encode(), "topic holds white space"),
    (b"/foo\0", "topic holds a control character"),
    (b"/foo\x7f", "topic holds a control character"),
    ("/foo\u0080".encode(), "topic holds a control character"),
    ("/foo\u009f".encode(), "topic holds a control character"),
    (b"/foo\xff", "topic is not valid UTF-8"),
    (b"/foo\xc3", "topic is not valid UTF-8"),
    (b"/foo\xc0\xaf", "topic is not valid UTF-8"),
    (b"/foo\xed\xa0\x80", "topic is not valid UTF-8"),
    (LONGEST + b"a", "topic is longer than 1024 bytes"),
    (b"/" + "é".encode() * 512, "topic is longer than 1024 bytes"),
    (b"/" * 1_000_000, "topic is longer than 1024 bytes"),
]


@pytest.mark.parametrize(("raw", "path"), KEPT)
def test_what_is_a_topic(raw: bytes, path: bytes) -> None:
    assert canonical(raw) == path


@pytest.mark.parametrize(("raw", "text"), REFUSED)
def test_what_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(InvalidTopic) as caught:
        canonical(raw)
    assert str(caught.value) == text


def test_every_white_space_and_control_character_is_refused() -> None:
    characters = map(chr, range(sys.maxunicode + 1))
    forbidden = [c for c in characters if c.isspace() or unicodedata.category(c) == "Cc"]
    assert len(forbidden) > 65
    for character in forbidden:
        what = "white space" if character.isspace() else "a control character"
        with pytest.raises(InvalidTopic, match=f"^topic holds {what}$"):
            canonical(f"/a{character}b".encode())


def follows_the_rules(raw: bytes) -> bool:
    """The page's words on topics, one by one."""
    try:
        text = raw.decode().removesuffix("/")
    except UnicodeDecodeError:
        return False
    first, *segments = text.split("/")
    return (
        first == ""
        and len(segments) > 0
        and all(segments)
        and len(text.encode()) <= 1024
        and not any(c == "," or c.isspace() or unicodedata.category(c) == "Cc" for c in text)
    )


@given(nearly | nearly.map(lambda raw: b"/" + raw) | topics)
def test_a_topic_is_what_follows_the_rules(raw: bytes) -> None:
    try:
        path = canonical(raw)
    except InvalidTopic:
        assert not follows_the_rules(raw)
    else:
        assert follows_the_rules(raw)
        assert path == raw.removesuffix(b"/")


@given(topics)
def test_canonical_is_canonical(path: bytes) -> None:
    assert canonical(path) == canonical(path + b"/") == path


def test_what_is_refused_is_not_remembered() -> None:
    canonical.cache_clear()
    with pytest.raises(InvalidTopic):
        canonical(b"/foo bar" * 100_000)
    assert canonical.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("path", "partition"),
    [(b"/foo", "foo"), (b"/foo/bar/baz", "foo"), (b"/..", ".."), ("/grüße/x".encode(), "grüße")],
)
def test_partition(path: bytes, partition: str) -> None:
    assert partition_of(path) == partition


def test_ancestors() -> None:
    assert ancestors(b"/a") == (b"/a",)
    assert ancestors(b"/a/b/c") == (b"/a/b/c", b"/a/b", b"/a")


@pytest.mark.parametrize(
    ("subscription", "path", "covered"),
    [
        (b"/foo", b"/foo", True),
        (b"/foo", b"/foo/bar", True),
        (b"/foo", b"/foo/bar/baz", True),
        (b"/foo/bar", b"/foo/bar/baz", True),
        (b"/foo", b"/foobar", False),
        (b"/foo/bar", b"/foo", False),
        (b"/foo", b"/bar/foo", False),
    ],
)
def test_covers(subscription: bytes, path: bytes, covered: bool) -> None:
    assert covers(subscription, path) is covered


@given(topics, topics)
def test_a_path_is_covered_by_its_ancestors_and_nothing_else(path: bytes, other: bytes) -> None:
    assert all(covers(ancestor, path) for ancestor in ancestors(path))
    assert len(ancestors(path)) == path.count(b"/")
    assert ancestors(path)[-1] == b"/" + partition_of(path).encode()
    assert covers(other, path) is (other in ancestors(path))


@given(topics, topics)
def test_a_path_covers_what_is_below_it_and_not_the_reverse(above: bytes, below: bytes) -> None:
    assert covers(above, above + below)
    assert not covers(above + below, above)


@pytest.mark.parametrize("unit", [b"/a", b"/", b"a", b" ", b"\xff"])
def test_time_is_linear(unit: bytes) -> None:
    expect_linear(canonical, lambda size: b"/" + unit * size)
