"""Subscriptions as they are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.subscription import Device, Subscription, hashed
from gobbler.errors import KVError
from gobbler.kvstore.base import MAX_KEY_BYTES

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(texts, texts, st.integers(0, 2**53), st.floats(0, 1e12))
def test_what_is_kept_comes_back(token: str, user: str, from_id: int, registered: float) -> None:
    kept = Subscription(Device(token, user), "/fö/bar".encode(), from_id, registered)
    found = Subscription.decode(kept.encode())
    assert (found.device, found.topic, found.from_id, found.registered) == (
        kept.device, kept.topic, from_id, registered,
    )  # fmt: skip
    assert found.key == kept.key
    assert found.partition == "fö"


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b"null", b"[1,2]", b'["t","u","/a","x",0]', b"\xff"])
def test_what_cannot_be_read_is_an_error_that_shows_nothing_of_it(value: bytes) -> None:
    with pytest.raises(KVError, match=r"^a push subscription in the key-value store cannot be read$"):
        Subscription.decode(value)


def test_keys_are_short_and_differ() -> None:
    parts = [("a", "b", "/c"), ("a", "b/c", "/"), ("ab", "", "/c"), ("a" * 5000, "b", "/c")]
    assert len({hashed(*part) for part in parts}) == len(parts)
    assert {len(hashed(*part)) for part in parts} == {32}
    assert MAX_KEY_BYTES > 32


def test_a_token_is_not_shown() -> None:
    assert repr(Subscription(Device("secret", "u"), b"/foo", 0, 0)) == "<Subscription /foo>"
