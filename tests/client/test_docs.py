"""docs/client.md: its examples run, and its tables are those of the code.

A `python` block is run, all of them in one namespace; the `text` block behind it is what it prints. The page
says port 8080; what runs is another one. `...` in what is expected stands for anything.
"""

import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import pytest

import gobbler.client
from gobbler.client import ClientError, Settings
from gobbler.client.client import FETCHED
from tests.client.test_errors import below
from tests.docs.console import matches
from tests.docs.test_readme import column, section
from tests.system.server import ROOT, ServerProcess

SET = Settings()
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
_BLOCKS = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def test_the_examples_run(tmp_path: Path) -> None:
    blocks = _BLOCKS.findall(PAGE)
    assert len(blocks) == PAGE.count("```python") >= 9
    assert PAGE.count("```text") == sum(bool(expected) for _, expected in blocks)
    names: dict[str, Any] = {}
    with ServerProcess(tmp_path / "data") as server:
        for code, expected in blocks:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(code.replace(":8080", f":{server.port}"), names)
            assert matches(expected, printed.getvalue()), f"{code}\n{printed.getvalue()}"


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
