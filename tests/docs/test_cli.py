"""The examples of docs/cli.md run, and what it says of exit statuses and options is true."""

import re
from pathlib import Path

from gobbler.cli.client import failure
from gobbler.cli.client.command import root
from gobbler.cli.client.setup import TIMEOUT
from tests.docs.console import ROOT, Console, serving
from tests.ports import free_port

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_examples_run(tmp_path: Path) -> None:
    port = free_port()
    with serving(port, tmp_path / "var"), Console(port, tmp_path) as console:
        assert console.run(PAGE) >= 25


def test_every_verb_is_told() -> None:
    assert [name for name in root.commands if f"gobbler-cli {name}" not in PAGE] == []


def test_the_exit_statuses_are_those_of_the_code() -> None:
    known = {value for name, value in vars(failure).items() if name.isupper() and isinstance(value, int)}
    rows = re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE)
    assert {int(status) for row in rows for status in row.split(", ")} == known | {0}


def test_the_time_out_is_that_of_the_code() -> None:
    assert f"how long to wait for the server, {TIMEOUT:g} |" in PAGE
