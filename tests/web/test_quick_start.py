"""What docs/browser.md has people paste and save, done by its words alone."""

import functools
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.system.server import ROOT, ServerProcess, eventually
from tests.web.browser import SECONDS, Windows

PAGE = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
expect.set_options(timeout=SECONDS * 1000)


def block(language: str, server: ServerProcess) -> str:
    """The page's first block of a language, for a server that is elsewhere."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1].replace("localhost:8080", f"127.0.0.1:{server.port}")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder, and the port of a server that serves its files: another origin."""
    folder = tmp_path / "pages"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as files:
        thread = threading.Thread(target=files.serve_forever)
        thread.start()
        yield folder, files.server_port
        files.shutdown()
        thread.join()


def paste(page: Page, script: str) -> None:
    """Run a script as the browser's console does, which lets `await` and `const` stand at the top again."""
    console = page.context.new_cdp_session(page)
    told = console.send("Runtime.evaluate", {"expression": script, "replMode": True, "awaitPromise": True})
    assert "exceptionDetails" not in told, told


@pytest.mark.parametrize("path", ["/examples/chat", "/admin/", "/api/"])
def test_pasted_into_the_console_of_any_page_of_the_server(
    windows: Windows, server: ServerProcess, path: str
) -> None:
    page = windows.open(f"http://127.0.0.1:{server.port}{path}")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for _ in range(2):
        paste(page, block("js", server))
    deadline = eventually()
    while not {"1 hello", "stored as 1", "2 hello", "stored as 2"} <= set(said):
        page.wait_for_timeout(20)
        deadline.again()


def test_a_page_of_another_origin(
    windows: Windows, server: ServerProcess, elsewhere: tuple[Path, int]
) -> None:
    folder, port = elsewhere
    (folder / "page.html").write_text(block("html", server), encoding="utf-8")
    pages = [windows.open(f"http://127.0.0.1:{port}/page.html") for _ in range(2)]
    for page in pages:
        expect(page.get_by_role("listitem")).to_have_text(["hello", "hello"])


def test_what_works_from_another_origin(
    windows: Windows, server: ServerProcess, elsewhere: tuple[Path, int]
) -> None:
    """As the page says: all but who is subscribed."""
    folder, port = elsewhere
    (folder / "empty.html").write_text("<!doctype html><title>empty</title>")
    page = windows.open(f"http://127.0.0.1:{port}/empty.html")
    found = page.evaluate(
        """async (address) => {
            const { Client } = await import(`${address}/client/gobbler.js`);
            const client = new Client();
            const receipt = await client.publish("/foo", "hello");
            const [fetched] = await client.fetch("/foo");
            const { topics } = await (await fetch(`${address}/api/topics`)).json();
            const told = await client.subscribers("/foo").catch(({ name, code }) => [name, code]);
            return [receipt.id, fetched.text, topics[0].topic, told];
        }""",
        f"http://127.0.0.1:{server.port}",
    )
    assert found == [1, "hello", "/foo", ["ConnectionError", "unreachable"]]
    assert len(windows.errors) == 1
    assert "blocked by CORS policy" in windows.errors[0]
    windows.errors.clear()
