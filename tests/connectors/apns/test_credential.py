"""Reading the files of credentials."""

from pathlib import Path

import pytest

from gobbler.connectors.apns.credential import read
from gobbler.errors import ConfigError


def test_what_is_there_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\0\xff")
    assert read(tmp_path / "key", "APNs key") == b"\0\xff"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    with pytest.raises(ConfigError) as caught:
        read(path, "APNs key")
    assert str(caught.value) == f"APNs key {path}: No such file or directory"
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "APNs key")
    assert str(caught.value) == f"APNs key {tmp_path}: Is a directory"
