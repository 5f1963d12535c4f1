"""Open files: a bounded number, and never closed under somebody's hands."""

import os
from pathlib import Path

import pytest

from gobbler.errors import StoreUnavailable
from gobbler.store.filelog.files import Files
from gobbler.store.filelog.handles import Handles
from tests.store.filelog.faulty import open_descriptors


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    made = [tmp_path / f"{number}" for number in range(20)]
    for path in made:
        path.write_text(path.name)
    return [str(path) for path in made]


def test_no_more_files_are_open_than_the_limit(paths: list[str]) -> None:
    files = Files(limit=5)
    with open_descriptors() as more:
        for path in paths * 2:
            assert files.read(path, 10, 0) == os.path.basename(path).encode()
    assert more == [5]
    with open_descriptors() as fewer:
        files.close_all()
    assert fewer == [-5]


def test_a_file_that_is_used_often_stays_open(paths: list[str]) -> None:
    handles = Handles(3)
    with handles.lend(paths[0]) as kept:
        pass
    for path in paths[1:]:
        with handles.lend(path):
            pass
        with handles.lend(paths[0]) as fd:
            assert fd == kept
    handles.close_all()


def test_lent_files_are_not_closed_to_make_room(paths: list[str]) -> None:
    handles = Handles(1)
    with handles.lend(paths[0]) as first, handles.lend(paths[1]) as second, handles.lend(paths[2]) as third:
        assert [os.pread(fd, 9, 0) for fd in (first, second, third)] == [b"0", b"1", b"2"]
    with open_descriptors() as fewer, handles.lend(paths[3]):
        pass
    assert fewer == [-2]
    handles.close_all()


@pytest.mark.parametrize("everything", [True, False])
def test_a_lent_file_is_closed_by_its_last_user(paths: list[str], everything: bool) -> None:
    handles = Handles(5)
    with open_descriptors() as more:
        with handles.lend(paths[0]) as fd, handles.lend(paths[0]) as same:
            assert fd == same
            if everything:
                handles.close_all()
            else:
                handles.close(paths[0])
            assert os.pread(fd, 9, 0) == b"0"
            with handles.lend(paths[0]) as other:  # who comes later gets the file that has the name now
                assert other != fd
        handles.close_all()
    assert more == [0]


def test_an_error_of_the_user_ends_the_use_too(paths: list[str]) -> None:
    handles = Handles(5)
    with open_descriptors() as more:
        with pytest.raises(StoreUnavailable, match="0: Input/output error"), handles.lend(paths[0]):
            raise OSError(5, "Input/output error")
        with pytest.raises(ZeroDivisionError), handles.lend(paths[0]):
            raise ZeroDivisionError
        handles.close_all()
    assert more == [0]
