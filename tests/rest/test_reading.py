"""Messages as JSON, and the numbers of a query."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.errors import BadRequest, StoreCorrupt, StoreUnavailable
from gobbler.protocol.message import MAX_ID, Message
from gobbler.rest.reading import encode, encode_gap, pieces, text_of, whole

MESSAGE = Message(b"/foo/bar", 42, b"marvin", b"app", b"m-1", 1_400_000_000, b'{"A":"b"}', b"hello")


def test_a_message_has_these_members() -> None:
    assert encode(MESSAGE) == (
        b'{"id":42,"path":"/foo/bar","userId":"marvin","applicationId":"app","messageId":"m-1",'
        b'"time":1400000000,"headers":{"A":"b"},"body":"hello"}'
    )


def test_what_is_not_there_is_empty() -> None:
    assert encode(Message(b"/a", 1, b"", b"", b"", 0)) == (
        b'{"id":1,"path":"/a","userId":"","applicationId":"","messageId":"","time":0,"headers":{},"body":""}'
    )


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_body_comes_through_on_one_line(body: bytes, text: str) -> None:
    for sent in (body, text.encode()):
        line = encode(Message(b"/a", 1, b"", b"", b"", 0, body=sent))
        assert not {b"\n", b"\r"} & {line[at : at + 1] for at in range(len(line))}
        item = json.loads(line)
        try:
            assert item["body"] == sent.decode()
            assert "bodyBase64" not in item
        except UnicodeDecodeError:
            pytest.fail("what is not UTF-8 has no body")
        except KeyError:
            with pytest.raises(UnicodeDecodeError):
                sent.decode()
            assert __import__("base64").b64decode(item["bodyBase64"]) == sent


def test_headers_are_left_as_they_are_but_on_one_line() -> None:
    headers = b'{"n": 1e400,\r"deep":\r\r{"a": [1, "\\r\\n", "\xc3\xbc"]}}'
    line = encode(Message(b"/a", 1, b"", b"", b"", 0, headers))
    assert b'"headers":{"n": 1e400, "deep":  {"a": [1, "\\r\\n", "\xc3\xbc"]}}' in line


def test_a_gap() -> None:
    assert json.loads(encode_gap(3, 5)) == {"first": 3, "last": 5}


@pytest.mark.parametrize("text", ["0", "-0", "-20", "007", str(MAX_ID), str(-MAX_ID)])
def test_whole_numbers(text: str) -> None:
    assert whole("from", text) == int(text)


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+1", "1.0", "1e3", "x", "\u0661", str(MAX_ID + 1), "9" * 400]
)
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^from is not a whole number of at most 2\^53-1$"):
        whole("from", text)


def test_limits_of_numbers() -> None:
    assert [whole("count", text, 1, 9) for text in ("1", "9")] == [1, 9]
    with pytest.raises(BadRequest, match="count must be at least 1"):
        whole("count", "0", 1, 9)
    with pytest.raises(BadRequest, match="count must be at most 9"):
        whole("count", "10", 1, 9)


def test_what_readers_may_know_of_an_error() -> None:
    assert text_of(StoreUnavailable("/secret: no space")) == "the message store cannot be read now"
    assert text_of(StoreCorrupt("/secret")) == "the message store cannot be read"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([], []), ([1], [[1]]), ([4, 5, 6, 7], [[4, 5, 6], [7]]), ([10, 10, 30, 1], [[10], [10], [30], [1]])],
)
def test_pieces(sizes: list[int], expected: list[list[int]]) -> None:
    found = [[len(item) for item in piece] for piece in pieces((b"x" * n for n in sizes), 10)]
    assert found == expected
