"""The seam to the file system, on a real one."""

import os
from pathlib import Path

import pytest

from gobbler.errors import StoreUnavailable
from gobbler.store.filelog.files import Files

USES = {
    "read": lambda files, path: files.read(path, 1, 0),
    "write": lambda files, path: files.write(path, [b"x"], 0),
    "size": lambda files, path: files.size(path),
    "truncate": lambda files, path: files.truncate(path, 0),
    "sync": lambda files, path: files.sync(path),
    "remove": lambda files, path: files.remove(path),
    "rename": lambda files, path: files.rename(path, path + "2"),
    "sync_folder": lambda files, path: files.sync_folder(path),
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "file")


def test_what_is_written_is_read(path: str) -> None:
    files = Files()
    files.create(path, b"head")
    assert files.write(path, [b"one", b"", b"two"], 4) == 6
    assert files.read(path, 100, 0) == b"headonetwo"
    assert files.read(path, 3, 4) == b"one"
    assert files.read(path, 10, 10) == b""
    assert files.size(path) == 10
    files.truncate(path, 5)
    files.sync(path)
    files.sync_folder(os.path.dirname(path))
    assert Path(path).read_bytes() == b"heado"
    files.close_all()


def test_the_usage_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    files = Files()
    assert files.usage(str(tmp_path / "none")) == 0
    assert files.usage(str(tmp_path)) == 0
    for name, size in (("a", 3), ("b", 40)):
        files.create(str(tmp_path / name), b"x" * size)
    assert files.usage(str(tmp_path)) == 43
    files.close_all()
    with pytest.raises(StoreUnavailable):
        files.usage(str(tmp_path / "a"))


def test_many_buffers_are_written_in_order(path: str) -> None:
    files = Files()
    files.create(path, b"")
    buffers = [b"%d," % number for number in range(2000)]  # more than one call of the system takes
    assert files.write(path, buffers, 0) == len(b"".join(buffers))
    assert Path(path).read_bytes() == b"".join(buffers)
    files.close_all()


@pytest.mark.parametrize("most", [1, 3, 10])
def test_a_write_that_is_cut_short_goes_on(path: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, at: pwrite(fd, b"".join(parts)[:most], at))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data)[:most], at))
    files = Files()
    files.create(path, b"head")
    assert files.write(path, [b"hello", b"world"], 4) == 10
    assert files.read(path, 100, 0) == b"headhelloworld"
    files.close_all()


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_the_system_refuses_is_translated_and_names_the_file(path: str, use: object) -> None:
    files = Files()
    with pytest.raises(StoreUnavailable, match=r"file: No such file or directory"):
        use(files, path)  # type: ignore[operator]
    files.close_all()


def test_a_timeout_of_the_caller_is_not_translated(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files()
    files.create(path, b"")

    def slow(fd: int) -> None:
        raise TimeoutError("did not stop in time")

    monkeypatch.setattr(os, "ftruncate", lambda fd, size: slow(fd))
    with pytest.raises(TimeoutError):
        files.truncate(path, 0)
    files.close_all()


def test_a_file_that_exists_is_not_made_again_and_stays(path: str) -> None:
    files = Files()
    files.create(path, b"precious")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="exists"):
            files.create(path, b"new")
        assert Path(path).read_bytes() == b"precious"
        files.close_all()


def test_nothing_is_left_of_a_file_that_cannot_be_made(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files()

    def full(fd: int, parts: object, at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(StoreUnavailable, match="No space"):
        files.create(path, b"head")
    assert not os.path.exists(path)
    files.close_all()


def test_replacing_is_whole_or_not_at_all(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files()
    files.replace(path, b"old")
    files.read(path, 3, 0)
    Path(path + ".new").write_bytes(b"left behind by a crash")
    files.replace(path, b"new")
    assert files.read(path, 100, 0) == b"new"
    pwritev = os.pwritev

    def full(fd: int, parts: object, at: int) -> int:
        pwritev(fd, [b"h"], at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(StoreUnavailable):
        files.replace(path, b"half")
    assert os.listdir(os.path.dirname(path)) == ["file"]
    assert Path(path).read_bytes() == b"new"
    files.close_all()


def test_folders(tmp_path: Path) -> None:
    files, folder = Files(), str(tmp_path / "folder")
    assert files.names(folder) == []
    assert files.folder(folder)
    assert not files.folder(folder)
    for name in "bca":
        (tmp_path / "folder" / name).touch()
    assert files.names(folder) == ["a", "b", "c"]
    with pytest.raises(StoreUnavailable):
        files.folder(str(tmp_path / "no" / "parent"))
    with pytest.raises(StoreUnavailable):
        files.names(str(tmp_path / "folder" / "a"))


def test_what_is_not_in_the_page_cache_is_read_all_the_same(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may give a part of it, none, or not know the flag: threads read the rest."""
    files, content = Files(), bytes(range(256)) * 40
    files.create(path, content)
    preadv = os.preadv
    for most in (0, 1, 5000):

        def part(fd: int, buffers: list[bytearray], at: int, flags: int, most: int = most) -> int:
            if not most:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return preadv(fd, [memoryview(buffers[0])[:most]], at, flags)

        monkeypatch.setattr(os, "preadv", part)
        assert files.read(path, 20_000, 100) == content[100:]
        assert files.read(path, 6000, 0) == content[:6000]
    monkeypatch.setattr("gobbler.store.filelog.files._NOWAIT", None)
    assert files.read(path, 20_000, 100) == content[100:]
    files.close_all()
