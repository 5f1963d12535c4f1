"""The examples of docs/rest.md run, and its numbers are those of the code."""

import re
from pathlib import Path

import pytest

from gobbler.rest import events, fetch, topics
from tests.docs.console import ROOT, Console, serving
from tests.ports import free_port

PAGE = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")
KIB = 1024


def test_the_examples_run(tmp_path: Path) -> None:
    port = free_port()
    with serving(port, tmp_path / "var"), Console(port, tmp_path) as console:
        assert console.run(PAGE) >= 15


@pytest.mark.parametrize(
    "told",
    [
        f"1 to {fetch.MAX_COUNT:,}; without it {fetch.DEFAULT_COUNT}",
        f"pages of {fetch.PAGE_BYTES // KIB} KiB",
        f"reads from the log, in pages of {events.PAGE_BYTES // KIB} KiB",
        f"After {events.KEEP_ALIVE_SECONDS:g} s of silence",
        f"tries again after {events.RETRY_MILLISECONDS // 1000} to {2 * events.RETRY_MILLISECONDS // 1000} s",
        f"1 to {topics.MAX_LIMIT:,}, without it {topics.DEFAULT_LIMIT}",
    ],
)
def test_the_numbers_are_those_of_the_code(told: str) -> None:
    assert told in re.sub(r"\s+", " ", PAGE)
