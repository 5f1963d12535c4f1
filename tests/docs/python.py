"""Runs the `python` blocks of a page, in one namespace; the `text` block behind one is what it prints.

A page says port 8080; what runs is another one. `...` in what is expected stands for anything.
"""

import contextlib
import io
import re
from typing import Any

from tests.docs.console import matches

_BLOCKS = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def run_python(page: str, port: int) -> int:
    """Run the blocks; return how many there were."""
    found = _BLOCKS.findall(page)
    assert len(found) == page.count("```python")
    assert page.count("```text") == sum(bool(expected) for _, expected in found)
    names: dict[str, Any] = {}
    for code, expected in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code.replace(":8080", f":{port}"), names)
        assert matches(expected, printed.getvalue()), f"{code}\n{printed.getvalue()}"
    return len(found)
