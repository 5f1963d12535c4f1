"""Selectors: which messages a reader is given."""

import pytest

from gobbler.protocol.selector import Selector, split_key

MARVIN = {"user_id": "marvin", "application_id": "phone"}


@pytest.mark.parametrize(
    ("paths", "key", "selected"),
    [
        ((b"/foo",), b"/foo", True),
        ((b"/foo",), b"/foo/bar", True),
        ((b"/foo",), b"/foobar", False),
        ((b"/foo/bar",), b"/foo", False),
        ((b"/foo/a", b"/foo/b"), b"/foo/b/c", True),
        ((), b"/foo", False),
        ((b"/foo",), b'/foo\0{"user_id":"marvin"}', True),
        ((b"/foo",), b'/foo\0{"user_id":"ford"}', False),
        ((b"/foo",), b'/foo\0{"connector":"fcm","user_id":"marvin"}', False),
        ((b"/foo",), b'/foobar\0{"user_id":"marvin"}', False),
    ],
)
def test_what_is_selected(paths: tuple[bytes, ...], key: bytes, selected: bool) -> None:
    selector = Selector(paths, MARVIN)
    assert selector.matches(key) is selected
    assert selector.matches(key) is selected  # the remembered answer


def test_what_is_remembered_is_bounded() -> None:
    selector = Selector((b"/foo",), {})
    assert all(selector.matches(b"/foo/%d" % number) for number in range(10_000))
    assert len(selector._known) <= 4096


def test_a_key_is_a_path_and_filters() -> None:
    assert split_key(b"/foo") == (b"/foo", b"")
    assert split_key(b'/foo\0{"a":"b"}') == (b"/foo", b'{"a":"b"}')
