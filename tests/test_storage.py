"""The storage path: made, tried, locked. What a whole server says of it is in tests/system/test_faults.py."""

import os
from pathlib import Path

import pytest

from gobbler.errors import StoreLocked, StoreUnavailable
from gobbler.storage import StoragePath


def test_it_is_made_private_and_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "data"
    first, second = StoragePath(path), StoragePath(path)
    first.start()
    assert path.stat().st_mode & 0o007 == 0
    with pytest.raises(
        StoreLocked, match=rf"^the storage path .*/data is in use .* \(process {os.getpid()}\)$"
    ):
        second.start()
    first.stop(1)
    second.start()
    first.stop(1)  # again: nothing, and the lock of the other holds
    with pytest.raises(StoreLocked):
        first.start()
    second.stop(1)


def test_the_lock_does_not_outlive_a_failed_start(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    holder = StoragePath(tmp_path)
    holder.start()
    for _ in range(3):
        with pytest.raises(StoreLocked):
            StoragePath(tmp_path).start()
    holder.stop(1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_number_that_is_longer_than_the_old_one_is_written_whole(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345678901234567890 and more\n")
    path = StoragePath(tmp_path)
    path.start()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    path.stop(1)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("no/such", "No such file or directory"), ("file", "File exists"), ("file/below", "Not a directory")],
)
def test_a_folder_that_cannot_be_used(tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable) as failed:
        StoragePath(tmp_path / path).start()
    assert str(failed.value) == f"cannot use the storage path {tmp_path / path}: {reason}"
