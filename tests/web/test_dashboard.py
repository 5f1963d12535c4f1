"""The admin dashboard in a browser, as somebody uses it who looks after a server."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.push.connected import FCM, SMS, Connected
from tests.system.client import Client
from tests.system.server import ServerProcess, eventually
from tests.web.browser import NARROW, SECONDS, WIDE, Scheme, Windows, faint, screenshot
from tests.web.proxy import Proxy

SECTIONS = ("Overview", "Topics", "Messages", "Sessions", "Subscriptions", "Connectors", "System")
REFUSED = "Failed to load resource: the server responded with a status of 4"
expect.set_options(timeout=SECONDS * 1000)

MARKUP = '<img src="x" onerror="alert(1)"><b>not bold</b>'


def visit(
    windows: Windows,
    port: int,
    section: str = "",
    size: tuple[int, int] = WIDE,
    scheme: Scheme = "light",
) -> Page:
    """Open the dashboard, and wait until the server has answered."""
    page = windows.open(f"http://127.0.0.1:{port}/admin/{section}", size, scheme)
    expect(page.locator("#state")).to_have_text("Live")
    return page


def go(page: Page, section: str) -> None:
    page.get_by_role("navigation", name="Sections").get_by_role("link", name=section).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(section))


def plot(page: Page, title: str) -> Locator:
    return page.get_by_role("figure").filter(has_text=re.compile(f"^{title}"))


def rows(page: Page) -> Locator:
    return page.locator("tbody tr:not(.detail):visible")


def publish(server: ServerProcess, path: str, *bodies: str, query: str = "", **headers: str) -> None:
    for body in bodies:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = server.request("POST", f"/api/message{path}{query}", body.encode(), given)
        assert answer == (200, b"OK")


@contextmanager
def traffic(server: ServerProcess) -> Iterator[None]:
    """Publish to `/live` and have it delivered, all the while."""
    over = threading.Event()

    def run() -> None:
        with Client(server.port) as publisher, Client(server.port, "/stream/user/listener") as subscriber:
            subscriber.subscribe(b"/live")
            while not over.wait(0.02):
                publisher.publish(b"/live", [b"x" * 100] * 10)
                for _ in range(10):
                    subscriber.next()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def slow_reader(server: ServerProcess) -> Iterator[Client]:
    """A client, `sloth`, that is subscribed to much and reads nothing of it."""
    with Client(server.port, "/stream/user/sloth", receive_bytes=4096) as client:
        client.subscribe(b"/bulk")
        with Client(server.port) as publisher:
            publisher.publish(b"/bulk", [b"y" * 500_000] * 20, window=1)
        yield client


def test_rates_move_while_messages_do(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    for title in ("Messages in", "Messages out", "Bytes in", "Bytes out"):
        expect(plot(page, title).locator(".value")).to_have_text(re.compile(r"^0( B)?$"))
    with traffic(server):
        for title in ("Messages in", "Messages out", "Bytes in", "Bytes out"):
            expect(plot(page, title).locator(".value")).not_to_have_text(re.compile(r"^0( B)?$"))
        expect(plot(page, "Sessions").locator(".value")).to_have_text("2")
        drawn = plot(page, "Messages in").get_by_role("img")
        expect(drawn).to_have_accessible_name(re.compile(r"now [1-9][\d,.]* /s; at most [1-9][\d,.]* within"))
        line = plot(page, "Messages in").locator(".line")
        expect(line).to_have_attribute("d", re.compile(r"^M[\d. ]+(L[\d. ]+)+"))
    expect(plot(page, "Sessions").locator(".value")).to_have_text("0")


def test_a_page_that_is_opened_later_shows_the_past(windows: Windows, server: ServerProcess) -> None:
    publish(server, "/foo", *["x"] * 50)
    deadline = eventually()
    while len(server.json("/admin/api/rates")["samples"]) < 4:
        deadline.again()
    page = visit(windows, server.port)
    expect(plot(page, "Messages in").get_by_role("img")).to_have_accessible_name(re.compile("at most [1-9]"))


def test_pointing_at_a_plot_tells_when_it_was_how_much(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    figure = plot(page, "Messages out")
    note = figure.locator(".note")
    expect(note).to_have_text(re.compile("^5 min ago"))
    figure.locator("svg").hover()
    expect(note).to_have_text(re.compile(r"^\d\d:\d\d:\d\d · live [\d.,]+, replayed [\d.,]+$"))
    page.get_by_role("heading", level=1).hover()
    expect(note).to_have_text(re.compile("^5 min ago"))


def test_health_says_what_is_wrong(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    verdict = page.locator(".verdict")
    expect(verdict).to_have_text("All 5 health checks pass")
    moved = server.folder.with_name("moved")
    server.folder.rename(moved)
    expect(verdict).to_have_text("2 checks of 5 fail")
    expect(page.locator(".problems")).to_contain_text("storage: the storage path is not writable")
    go(page, "System")
    expect(page.locator(".checks li[data-state=bad]").first).to_contain_text("storage")
    screenshot(page, "dashboard-ill-1280")
    moved.rename(server.folder)
    expect(page.locator(".checks li[data-state=bad]")).to_have_count(0)


def test_from_topics_to_a_message(windows: Windows, server: ServerProcess) -> None:
    publish(server, "/orders/eu", json.dumps({"n": 1}), MARKUP, query="?userId=shop", X_Gobbler_Trace="t-1")
    publish(server, "/orders", "for one", query="?filterUserID=marvin")
    publish(server, "/other", "x")
    page = visit(windows, server.port)
    go(page, "Topics")
    expect(rows(page)).to_have_count(2)
    cells = rows(page).first.get_by_role("cell")
    expect(cells.nth(1)).to_have_text("3")
    expect(cells.nth(3)).to_have_text("1")
    expect(cells.nth(4)).to_have_text("3")
    page.get_by_label("Topics that begin with").fill("/ord")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("link", name="/orders", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Messages in /orders")
    expect(rows(page)).to_have_count(3)
    expect(rows(page).first).to_contain_text("for one")
    expect(rows(page).first).to_contain_text("filtered")
    page.get_by_role("button", name="Message 1").click()
    detail = page.locator("#message-1")
    expect(detail.get_by_role("region", name="Headers")).to_have_text(re.compile(r'"Trace": "t-1"'))
    expect(detail.get_by_role("region", name="Body")).to_have_text('{"n": 1}')
    detail.get_by_role("button", name="Format the JSON").click()
    assert detail.get_by_role("region", name="Body").text_content() == '{\n  "n": 1\n}'
    page.get_by_role("button", name="Message 2").click()
    expect(page.locator("#message-2").get_by_role("region", name="Body")).to_have_text(MARKUP)
    expect(page.locator("main").get_by_role("img")).to_have_count(0)
    page.get_by_role("button", name="Message 3").click()
    expect(page.locator("#message-3")).to_contain_text("user_id = marvin")


def test_paging_through_messages(windows: Windows, server: ServerProcess) -> None:
    with Client(server.port) as client:
        client.publish(b"/foo", [b"%d" % number for number in range(1, 121)])
    page = visit(windows, server.port, "#messages?topic=%2Ffoo")

    def ids() -> tuple[str | None, str | None]:
        return rows(page).first.locator(".id").text_content(), rows(page).last.locator(".id").text_content()

    steps = [("Older", "70", "21"), ("Older", "20", "1"), ("Newer", "70", "21"), ("Oldest", "50", "1")]
    steps += [("Newest", "120", "71")]
    expect(rows(page).first).to_contain_text("120")
    assert ids() == ("120", "71")
    for name, first, last in steps:
        page.get_by_role("button", name=name).press("Enter")
        expect(rows(page).first.locator(".id")).to_have_text(first)
        expect(page.locator("nav[aria-label=Pages] button:focus")).to_have_count(1)
        assert ids() == (first, last)
    page.get_by_label("From id").fill("33")
    page.get_by_role("button", name="Show").click()
    expect(rows(page).last.locator(".id")).to_have_text("33")
    assert ids() == ("82", "33")


def test_bodies_that_are_large_or_no_text(windows: Windows, server: ServerProcess) -> None:
    large = "A long text. " * 1000
    publish(server, "/foo", large)
    assert server.request("POST", "/api/message/foo", bytes(range(256)) * 2)[0] == 200
    publish(server, "/foo", "")
    page = visit(windows, server.port, "#messages?topic=%2Ffoo")
    for number in (1, 2, 3):
        page.get_by_role("button", name=f"Message {number}").click()
    first = page.locator("#message-1")
    expect(first).to_contain_text("This is only the beginning of 12.7 KiB.")
    first.get_by_role("button", name="Show all").click()
    expect(first.get_by_role("region", name="Body")).to_have_text(large)
    with page.expect_download() as download:
        first.get_by_role("link", name="Download").click()
    assert download.value.path().read_text() == large
    expect(page.locator("#message-2").get_by_role("region")).to_contain_text("0000  00 01 02 03")
    expect(page.locator("#message-2").get_by_role("region")).to_contain_text("256 more bytes")
    expect(page.locator("#message-3")).to_contain_text("empty")


def test_a_test_message_is_published_and_arrives(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port, "#messages?topic=%2Ffoo")
    expect(page.get_by_text("This topic holds no messages.")).to_be_visible()
    with Client(server.port) as client:
        client.subscribe(b"/foo")
        page.get_by_role("button", name="Publish here").click()
        dialog = page.get_by_role("dialog", name="Publish a test message")
        expect(dialog.get_by_label("Body")).to_be_focused()
        expect(dialog.get_by_label("Topic")).to_have_value("/foo")
        dialog.get_by_label("Topic").fill("/foo/bar")
        dialog.get_by_role("button", name="Add a header").click()
        dialog.get_by_label("Name of a header").fill("Color")
        dialog.get_by_label("Its value").fill("blue")
        dialog.get_by_label("Body").fill("hello from the dashboard")
        screenshot(page, "dashboard-publish-1280")
        dialog.get_by_role("button", name="Publish").click()
        expect(dialog.get_by_role("status")).to_have_text("Stored in /foo/bar with the id 1 (show it).")
        expect(dialog.get_by_role("button", name="Publish")).to_be_focused()
        got = client.next()
        assert got.startswith(b"/foo/bar,1,")
        assert got.endswith(b'\n{"Color":"blue"}\nhello from the dashboard')
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("hello from the dashboard")
    publish(server, "/foo", "from elsewhere")
    expect(rows(page).first).to_contain_text("from elsewhere")


def test_what_cannot_be_published_is_told_why(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    page.get_by_role("button", name="Publish").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Topic").fill("/a b")
    dialog.get_by_role("button", name="Publish").click()
    expect(dialog.get_by_role("alert")).to_have_text("topic holds white space")
    expect(dialog.get_by_label("Topic")).to_be_focused()
    dialog.get_by_label("Topic").fill("/foo")
    dialog.get_by_label("Only for the user").fill("marvin")
    dialog.get_by_label("Topic").press("Enter")
    expect(dialog.get_by_role("status")).to_contain_text("with the id 1")
    dialog.get_by_role("link", name="show it").click()
    expect(dialog).to_be_hidden()
    expect(rows(page).first).to_contain_text("filtered")
    assert [error[: len(REFUSED)] for error in windows.errors] == [REFUSED]
    windows.errors.clear()


def test_who_reads_slowly_is_seen(windows: Windows, server: ServerProcess) -> None:
    with Client(server.port, "/stream/user/marvin") as quick, slow_reader(server):
        for path in (b"/a", b"/b", b"/c"):
            quick.subscribe(path)
        page = visit(windows, server.port)
        expect(page.get_by_role("region", name="Slow readers")).to_contain_text("sloth")
        go(page, "Sessions")
        expect(page.locator(".summary")).to_have_text("2 sessions, 1 slow")
        first = rows(page).first
        expect(first).to_contain_text("sloth")
        expect(first).to_contain_text("slow, catching up")
        expect(first).to_contain_text("MiB")
        page.get_by_text("3 topics").click()
        expect(page.get_by_role("link", name="/b", exact=True)).to_be_visible()
        screenshot(page, "dashboard-slow-1280")
        page.get_by_label("User or application id").fill("marv")
        expect(rows(page)).to_have_count(1)
        page.get_by_label("User or application id").fill("nobody")
        expect(page.get_by_text("No session has such an id.")).to_be_visible()


def test_who_is_subscribed(windows: Windows, connected: Connected) -> None:
    server = connected.server
    connected.subscribe("fcm", "0123456789abcdef0123", "ford", "/foo")
    with Client(server.port, "/stream/user/marvin") as client:
        client.subscribe(b"/foo/bar")
        page = visit(windows, server.port)
        go(page, "Subscriptions")
        page.get_by_label("Topics that begin with").fill("/foo")
        expect(rows(page)).to_have_count(2)
        expect(rows(page).first).to_contain_text("1 FCM")
        page.get_by_label("Who gets messages to").fill("/foo/bar/baz")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Subscribers of /foo/bar/baz")
        expect(rows(page)).to_have_count(2)
        expect(rows(page).first).to_contain_text("marvin")
        expect(rows(page).last).to_contain_text("012345…0123")
        assert "0123456789abcdef0123" not in page.content()
        page.get_by_role("link", name="All subscriptions").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Subscriptions")


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    with Connected(tmp_path_factory.mktemp("dashboard"), FCM, SMS) as made:
        yield made


def test_a_connector_is_turned_off_and_on(windows: Windows, connected: Connected) -> None:
    connected.subscribe("fcm", "a-token", "ford", "/pushed")
    page = visit(windows, connected.server.port)
    go(page, "Connectors")
    card = page.get_by_role("region", name="Firebase Cloud Messaging")
    switch, badge = card.get_by_role("switch"), card.get_by_role("status")
    expect(badge).to_have_text("on")
    switch.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(switch).to_have_attribute("aria-checked", "true")
    switch.click()
    screenshot(page, "dashboard-confirm-1280")
    page.get_by_role("dialog").get_by_role("button", name="Turn off").click()
    expect(page.locator("#toasts")).to_contain_text("fcm was successfully stopped.")
    expect(badge).to_have_text("off")
    expect(switch).to_have_attribute("aria-checked", "false")
    connected.publish("/pushed", "while it was off")
    assert connected.received("fcm") == []
    switch.focus()
    page.keyboard.press("Space")
    page.get_by_role("dialog").get_by_role("button", name="Turn on").click()
    expect(badge).to_have_text("on")
    expect(card.locator(".facts div").first).to_have_text("Sent1")
    assert [FCM.body(one) for one in connected.received("fcm")] == ["while it was off"]
    expect(page.get_by_role("region", name="SMS").get_by_role("status")).to_have_text("on")


def test_what_failed_last_in_a_connector(windows: Windows, connected: Connected) -> None:
    page = visit(windows, connected.server.port, "#connectors")
    card = page.get_by_role("region", name="SMS")
    expect(card).to_contain_text("Nothing has failed")
    for _ in range(3):
        connected.publish("/sms", "no JSON at all")
    expect(card.locator(".failures")).to_contain_text("refused for good")
    expect(card.locator(".failures")).to_contain_text("3 times, last")


def test_the_page_goes_on_behind_a_restart(windows: Windows, server: ServerProcess) -> None:
    publish(server, "/foo", "before")
    with Proxy(server.port) as proxy:
        page = visit(windows, proxy.port, "#messages?topic=%2Ffoo", NARROW)
        expect(rows(page)).to_have_count(1)
        head = page.get_by_role("banner").bounding_box()
        assert server.stop() == 0
        expect(page.locator("#state")).to_have_text("Reconnecting …")
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
        expect(rows(page)).to_have_count(1)
        screenshot(page, "dashboard-away-390")
        assert faint(page) == []
        assert page.get_by_role("banner").bounding_box() == head, "nothing moves"
        server.start()
        proxy.target = server.port
        expect(page.locator("#state")).to_have_text("Live")
        expect(page.locator("#away")).to_be_hidden()
        expect(page.locator("#toasts")).to_contain_text("The server has been started again.")
        publish(server, "/foo", "after")
        expect(rows(page)).to_have_count(2)
        go(page, "Overview")
        expect(plot(page, "Messages in").locator(".value")).to_have_text(re.compile(r"^[\d.]+$"))


def test_a_server_that_hangs_is_away_too(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    server.process.suspend()
    expect(page.locator("#state")).to_have_text("Reconnecting …")
    server.process.resume()
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#toasts")).to_be_empty()


def test_an_empty_server_has_something_to_say(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    said = {
        "Topics": "Nothing has been published yet.",
        "Messages": "Which topic?",
        "Sessions": "Nobody is connected.",
        "Subscriptions": "Nobody is subscribed to anything.",
        "Connectors": "No connector is turned on.",
        "System": "No errors since the server was started.",
        "Overview": "Everybody keeps up.",
    }
    for section, text in said.items():
        go(page, section)
        expect(page.get_by_text(text)).to_be_visible()


def test_the_options_without_secrets(windows: Windows, connected: Connected) -> None:
    page = visit(windows, connected.server.port, "#system")
    secret = page.get_by_role("row", name="--sms-api-secret ***")
    expect(secret).to_be_visible()
    everything = rows(page).count()
    page.get_by_label("Only what is not the default").check()
    assert 0 < rows(page).count() < everything
    expect(secret).to_be_visible()
    expect(page.get_by_role("row", name="--kvs file")).to_be_hidden()
    page.get_by_label("Only what is not the default").uncheck()
    expect(page.get_by_role("row", name="--max-message-size 1 MiB")).to_be_visible()
    expect(page.get_by_role("row", name="--ws-ping-interval 30 s")).to_be_visible()


def test_by_keyboard_alone(windows: Windows, server: ServerProcess) -> None:
    publish(server, "/foo", "1", "2")
    page = visit(windows, server.port)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("link", name="Topics", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.get_by_role("link", name="/foo", exact=True).focus()
    page.keyboard.press("Enter")
    message = page.get_by_role("button", name="Message 1")
    message.focus()
    page.keyboard.press("Enter")
    expect(message).to_have_attribute("aria-expanded", "true")
    expect(message).to_be_focused()
    publish(server, "/foo", "3")
    expect(page.get_by_text("New messages are shown when this one is closed.")).to_be_visible()
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(3)
    expect(message).to_be_focused()


def test_going_back(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    go(page, "Topics")
    go(page, "System")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Topics")
    expect(page).to_have_title("Topics · Gobbler")
    current = page.locator("nav [aria-current=page]")
    expect(current).to_have_text("Topics")


FINGER = 40


def small(page: Page) -> list[str]:
    """Return what is too small for a finger, or does not get what is touched within such a square."""
    found: list[str] = page.evaluate(_SMALL, FINGER)
    return found


# Links within a sentence are as high as its lines. What is scrolled away cannot be asked for.
_SMALL = """(least) => [...document.querySelectorAll("header *, main *, dialog *")]
    .filter((one) => one.matches("a, button, input, select, summary, textarea") && one.checkVisibility())
    .filter((one) => !one.closest(".empty, .done, label"))
    .flatMap((one) => {
        const whole = one.closest("tr.message") ?? one; // it is opened by touching any part of it
        one.scrollIntoView({ block: "center", inline: "center" });
        const { left, top, width, height } = whole.getBoundingClientRect();
        const [x, y] = [left + Math.min(width / 2, 20), top + height / 2];
        const hit = (away) => { const at = document.elementFromPoint(x, y + away);
            return whole.contains(at); };
        return hit(1 - least / 2) && hit(least / 2 - 1) ? [] : [one.outerHTML.slice(0, 100)];
    })"""

NAMELESS = """() => [...document.querySelectorAll("main button, main input, main select, main a, header *")]
    .filter((one) => one.matches("a, button, input, select"))
    .filter((one) => one.checkVisibility())
    .filter((one) => !(one.getAttribute("aria-label") || one.getAttribute("aria-labelledby")
        || one.textContent.trim() || one.labels?.length))
    .map((one) => one.outerHTML)"""
SIDEWAYS = "() => document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def busy(connected: Connected) -> Iterator[Connected]:
    """A server with something to see in every section."""
    server = connected.server
    for number in range(30):
        connected.subscribe("fcm", f"token-{number:02}-0123456789", f"user-{number}", "/news")
    for number in range(60):
        publish(server, f"/user-{number:02}/inbox", "hello", query="?userId=shop")
    for number in range(40):
        order = json.dumps({"order": number, "items": [{"sku": f"A{number}", "quantity": 2}]})
        wanted = "&filterUserID=marvin" if number % 7 == 0 else ""
        publish(server, "/orders/eu", order, query=f"?userId=shop{wanted}", X_Gobbler_Trace=f"t-{number}")
    publish(server, "/news", "breaking")
    publish(server, "/sms", "no JSON at all")
    with traffic(server), slow_reader(server), Client(server.port, "/stream/user/marvin") as client:
        for path in (b"/orders", b"/orders/eu", b"/user-42"):
            client.subscribe(path)
        yield connected


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_how_it_looks(windows: Windows, busy: Connected, size: tuple[int, int], scheme: Scheme) -> None:
    page = visit(windows, busy.server.port, "", size, scheme)
    for section in SECTIONS:
        go(page, section)
        if section == "Messages":
            page.get_by_label("Topic, with all below it").fill("/orders")
            page.get_by_role("button", name="Show").click()
            page.get_by_role("button", name="Message 40").click()
            expect(page.get_by_role("region", name="Body")).to_be_visible()
        expect(page.locator("main")).not_to_contain_text(re.compile("Loading|Asking|…$"))
        screenshot(page, f"dashboard-{section.lower()}-{size[0]}-{scheme}")
        assert not page.evaluate(SIDEWAYS), section
        assert page.evaluate(NAMELESS) == [], section
        assert faint(page) == [], section
        assert page.locator("table:not(:has(caption))").count() == 0
        assert levels(page) == sorted(levels(page)), section
        if size == NARROW:
            assert small(page) == [], section


def levels(page: Page) -> list[str]:
    """Return the first heading of each level, as they come."""
    found: list[str] = page.locator("main").evaluate(
        """(main) => [...main.querySelectorAll("h1, h2, h3, h4")].map((one) => one.localName)"""
    )
    return list(dict.fromkeys(found))


LONG_TOPIC = "/" + "/".join(["a-topic-with-a-long-name"] * 30)
LONG_USER = "u" * 200


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_long_names_push_nothing_out(windows: Windows, server: ServerProcess, size: tuple[int, int]) -> None:
    publish(server, LONG_TOPIC, "the body", query=f"?userId={LONG_USER}")
    publish(server, "/" + "x" * 500, "another")
    with (
        Client(server.port, f"/stream/user/{LONG_USER}") as long,
        Client(server.port, "/stream/user/ada") as ada,
    ):
        long.subscribe(LONG_TOPIC.encode())
        ada.subscribe(b"/" + b"x" * 500)
        topic = quote(LONG_TOPIC, safe="")
        messages, subscribers = f"#messages?topic={topic}", f"#subscriptions?topic={topic}"
        for section in ("#topics", messages, "#sessions", "#subscriptions", subscribers):
            page = visit(windows, server.port, section, size)
            expect(rows(page).first).to_be_visible()
            assert page.evaluate(CUT) == [], section
            assert 0 < rows(page).evaluate_all(LARGEST, "height") < 300, section
        page = visit(windows, server.port, "#sessions", size)
        expect(page.get_by_text("live", exact=True).first).to_be_in_viewport()
        page = visit(windows, server.port, messages, size)
        body = rows(page).first.get_by_text("the body")
        expect(body).to_be_in_viewport()
        assert body.evaluate_all(LARGEST, "width") > 50


# Of all at one moment: the page replaces its rows when it refreshes them.
LARGEST = "(found, side) => Math.max(...found.map((one) => one.getBoundingClientRect()[side]))"

CUT = """() => [...document.querySelectorAll("main .table, main td:not(.preview)")]
    .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
    .map((one) => `${one.outerHTML.slice(0, 80)} ${one.scrollWidth} > ${one.clientWidth}`)"""


def test_what_has_the_focus_is_not_below_the_head_or_the_pager(
    windows: Windows, server: ServerProcess
) -> None:
    for number in range(60):
        publish(server, f"/topic-{number:02}", "x")
    page = visit(windows, server.port, "#topics")
    expect(rows(page)).to_have_count(50)
    page.get_by_label("Topics that begin with").focus()
    for key in ["Tab"] * 60 + ["Shift+Tab"] * 60:
        page.keyboard.press(key)
        assert page.evaluate(UNCOVERED), page.evaluate("document.activeElement.outerHTML")


UNCOVERED = """() => {
    const one = document.activeElement, { left, top, height } = one.getBoundingClientRect();
    const hit = (down) => one.contains(document.elementFromPoint(left + 2, top + down));
    return hit(2) && hit(height - 2);
}"""


def test_sections_say_that_they_load_and_then_come_at_once(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    held: list[Route] = []

    def hold(route: Route) -> None:  # what is built in, Playwright cannot call
        held.append(route)

    page.route("**/api/topics*", hold)
    go(page, "Topics")
    expect(page.get_by_text("Loading …")).to_be_visible()
    expect(page.get_by_label("Topics that begin with")).to_be_hidden()
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    expect(page.get_by_text("Nothing has been published yet.")).to_be_visible()
    expect(page.get_by_text("Loading …")).to_have_count(0)


def test_the_log_is_emptied_below_an_open_page(windows: Windows, tmp_path: Path) -> None:
    options = ("--segment-bytes", "64KiB", "--retention-bytes", "64KiB")
    with ServerProcess(tmp_path / "data", *options) as server:
        page = visit(windows, server.port, "#messages?topic=%2Ffoo")
        publish(server, "/foo", *["x" * 10_000] * 30)
        expect(page.locator(".summary")).to_have_text(
            re.compile(r"Ids (1[0-9]|2[0-9]) to 30; no others are kept")
        )
        expect(rows(page).first).to_contain_text("30")
        page.get_by_label("From id").fill("9999")
        page.get_by_role("button", name="Show").click()
        expect(
            page.get_by_text(re.compile(r"There are no messages here: the ids \d+ to 30 are kept"))
        ).to_be_visible()


def test_only_what_is_looked_at_is_asked_for(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    go(page, "System")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.split("/admin/api/")[1].split("?")[0]))
    deadline = eventually(SECONDS)
    while asked.count("rates") < 3 or "options" not in asked:
        page.wait_for_timeout(50)
        deadline.again()
    assert set(asked) <= {"rates", "status", "health", "storage", "options"}
