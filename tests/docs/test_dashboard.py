"""What docs/dashboard.md says is true."""

import re
from pathlib import Path

from gobbler.admin import browsing, rates, subscribed
from gobbler.config import Config
from gobbler.connectors import failures
from gobbler.rest.openapi import document
from tests.docs.console import ROOT, Console, serving
from tests.ports import free_port

PAGE = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")


def test_the_examples_run(tmp_path: Path) -> None:
    port = free_port()
    with serving(port, tmp_path / "var"), Console(port, tmp_path) as console:
        assert console.run(PAGE) == 4


def test_every_request_is_told_and_there_is_no_other() -> None:
    told = set(re.findall(r"^\| `(\w+) (/admin/api/[^`]*)` \|", PAGE, re.MULTILINE))
    there = {
        (method.upper(), path.replace("{", "<").replace("}", ">"))
        for path, item in document(Config())["paths"].items()
        for method in item
        if path.startswith("/admin/api/") and method != "parameters"
    }
    assert told == there


def test_the_numbers_are_those_of_the_code() -> None:
    for told in (
        f"keeps {rates.SAMPLES - 1} of them",
        f"({browsing.DEFAULT_COUNT}, at most {browsing.MAX_COUNT})",
        f"At most {browsing.PREVIEW_BYTES:,} bytes",
        f"at most {subscribed.MAX_COUNTED:,} are counted",
        f"the last {failures.KEPT} kinds",
    ):
        assert told in PAGE
