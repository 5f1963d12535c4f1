"""A browser's own EventSource reads the streams of tests/rest/test_events.py."""

from pathlib import Path

from playwright.sync_api import Page

from tests.system.client import Client
from tests.system.server import ServerProcess
from tests.web.browser import Windows
from tests.web.proxy import Proxy

SMALL = ("--max-message-size", "1000")
LISTEN = """(url) => {
    globalThis.seen = [];
    globalThis.gaps = [];
    globalThis.opened = 0;
    globalThis.source = new EventSource(url);
    source.onopen = () => { opened += 1; };
    source.onmessage = ({ data, lastEventId }) => {
        const { id, body } = JSON.parse(data);
        seen.push(`${id}` === lastEventId ? body : lastEventId);
    };
    source.addEventListener("gap", ({ data }) => gaps.push(JSON.parse(data)));
}"""


def listening(windows: Windows, server: ServerProcess, port: int, url: str) -> Page:
    """Return a page that listens at a port; where that is not the server's, across origins."""
    page = windows.open(f"http://127.0.0.1:{server.port}/api/")
    page.evaluate(LISTEN, f"http://127.0.0.1:{port}{url}")
    page.wait_for_function("() => opened === 1")
    return page


def publish(server: ServerProcess, path: bytes, first: int, last: int) -> None:
    with Client(server.port) as client:
        client.publish(path, [b"%d" % number for number in range(first, last + 1)])


def test_it_goes_on_behind_cuts_and_restarts(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        page = listening(windows, server, proxy.port, "/api/stream/foo")
        # It has seen nothing yet, and must not lose what comes while it is away.
        proxy.cut()
        publish(server, b"/foo", 1, 500)
        page.wait_for_function("() => seen.length === 500")
        publish(server, b"/foo/bar", 501, 1000)
        proxy.cut()
        publish(server, b"/foo", 1001, 1500)
        page.wait_for_function("() => seen.length === 1500")
        assert server.stop() == 0
        server.start()
        publish(server, b"/foo", 1501, 2000)
        proxy.target = server.port
        page.wait_for_function("() => seen.length === 2000")
        assert page.evaluate("seen") == [str(number) for number in range(1, 2001)]
        assert page.evaluate("opened") == 4
        assert page.evaluate("gaps") == []


def test_gaps_are_events(windows: Windows, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--ms", "memory", "--ms-memory-bytes", "64KiB", *SMALL) as server:
        publish(server, b"/foo", 1, 10_000)
        page = listening(windows, server, server.port, "/api/stream/foo?from=5")
        page.wait_for_function("() => seen.at(-1) === '10000'")
        seen = page.evaluate("seen.map(Number)")
        assert seen == list(range(seen[0], 10_001))
        assert page.evaluate("gaps") == [{"first": 5, "last": seen[0] - 1}]
