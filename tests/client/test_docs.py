"""docs/client.md: its examples run, and its tables are those of the code."""

import dataclasses
from pathlib import Path

import pytest

import gobbler.client
from gobbler.client import ClientError, Settings
from gobbler.client.client import FETCHED
from tests.client.test_errors import below
from tests.docs.python import run_python
from tests.docs.test_readme import column, section
from tests.system.server import ROOT, ServerProcess

SET = Settings()
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")


def test_the_examples_run(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        assert run_python(PAGE, server.port) >= 9


def test_the_table_of_errors_is_that_of_the_code() -> None:
    told = [name.strip("`") for name in column(section(PAGE, "Errors"))]
    assert told == ["BadRequest", *(kind.__name__ for kind in below(ClientError))]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    text = section(PAGE, "Settings")
    told = dict(zip((name.strip("`") for name in column(text)), column(text, 2), strict=True))
    defaults = {field.name: getattr(SET, field.name) for field in dataclasses.fields(Settings)}
    assert told == {
        name: value if isinstance(value, str) else f"{value:.10g}" for name, value in defaults.items()
    }


@pytest.mark.parametrize(
    "name", [cell for cell in column(section(PAGE, "REST")) if cell.startswith("`rest.")]
)
def test_the_calls_of_the_rest_side_exist(name: str) -> None:
    call = name.strip("`").removeprefix("rest.").removeprefix('push("fcm").').partition("(")[0]
    assert hasattr(gobbler.client.Rest, call) or hasattr(gobbler.client.Push, call)


@pytest.mark.parametrize(
    "told",
    [
        f"at most `count` ({FETCHED:,})",
        f"the window is full ({SET.window:,} messages or {SET.window_bytes >> 20} MiB",
        f"after {SET.first_delay:g} s, then after twice as long and so on, up to {SET.longest_delay:g} s",
        f"holds {SET.inbox_bytes >> 20} MiB at most",
        f"after {SET.ping_interval:g} s, and given up after {SET.ping_interval * 2:g} s",
    ],
)
def test_the_numbers_are_those_of_the_code(told: str) -> None:
    assert told in " ".join(PAGE.split())
