"""Settings."""

import dataclasses

import pytest

from gobbler.client import Settings


def test_they_cannot_be_changed_under_a_client() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().window = 1  # type: ignore[misc]
