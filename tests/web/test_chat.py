"""The chat as people use it, in windows of a browser."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from tests.system.client import Client
from tests.system.server import ServerProcess, eventually
from tests.web.browser import NARROW, SECONDS, WIDE, Scheme, Windows, faint, overflow, screenshot
from tests.web.proxy import Proxy

expect.set_options(timeout=SECONDS * 1000)

GREETING = "Good morning! Does this thing keep what we say?"
LONG = (
    "It does. Everything is in the log, and I shall remember it for thirty-seven million years: "
    "even averylongwordthatnoscreenofanytelephoneiswideenoughforunlessitisbrokensomewhereinitsmiddle."
)


def visit(
    windows: Windows, port: int, room: str = "", size: tuple[int, int] = WIDE, scheme: Scheme = "light"
) -> Page:
    return windows.open(f"http://127.0.0.1:{port}/examples/chat{room}", size, scheme)


def join(page: Page, name: str) -> Page:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("status")).to_have_text("Connected")
    return page


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def say_to_nobody(server: ServerProcess, page: Page, proxy: Proxy, text: str) -> None:
    """Suspend the server, say something in the empty room, and wait until the server could read it."""
    expect(page.get_by_text("Nothing has been said here yet")).to_be_visible()
    expect(page.get_by_text("Only you (Ada) are here")).to_be_visible()
    page.route("**/api/subscribers/**", lambda route: route.abort())  # so that nothing else is sent
    server.process.suspend()
    before, deadline = proxy.sent, eventually()
    say(page, text)
    while proxy.sent == before:
        deadline.again()


def message(page: Page, text: str) -> Locator:
    """The bubble with this text, which must be there once."""
    found = page.get_by_role("log").get_by_text(text, exact=True)
    expect(found).to_have_count(1)
    return found


def texts(page: Page) -> list[str]:
    return page.get_by_role("log").locator(".text").all_text_contents()


def posted(server: ServerProcess, count: int, path: str = "/chat/lobby") -> None:
    for number in range(1, count + 1):
        body = f"message {number}".encode()
        assert server.request("POST", f"/api/message{path}?userId=Ford", body) == (200, b"OK")


def test_two_people_talk(windows: Windows, server: ServerProcess) -> None:
    ada, marvin = (join(visit(windows, server.port), name) for name in ("Ada", "Marvin"))
    say(ada, GREETING)
    message(marvin, GREETING)
    say(marvin, "Life. Don't talk to me about life.")
    say(marvin, LONG)
    for page in (ada, marvin):
        message(page, LONG)
        assert texts(page) == [GREETING, "Life. Don't talk to me about life.", LONG]
    assert ada.locator(".who").all_text_contents() == ["You", "Marvin", "Marvin"]
    assert marvin.locator(".first .who").all_text_contents() == ["Ada", "You"]
    expect(ada.get_by_text("Marvin and you (Ada)")).to_be_visible()
    expect(marvin.get_by_text("Ada and you (Marvin)")).to_be_visible()
    expect(ada.locator("[data-fate]")).to_have_count(0)
    first, *_ = server.json("/api/message/chat/lobby")
    assert (first["userId"], first["body"]) == ("Ada", GREETING)


def test_who_arrives_sees_what_was_said(windows: Windows, server: ServerProcess) -> None:
    posted(server, 120)
    page = join(visit(windows, server.port), "Ada")
    message(page, "message 120")
    assert texts(page) == [f"message {number}" for number in range(71, 121)]
    expect(message(page, "message 120")).to_be_in_viewport()
    for first in (21, 1):
        page.get_by_role("button", name="Show earlier messages").click()
        message(page, f"message {first}")
        assert texts(page) == [f"message {number}" for number in range(first, 121)]
    expect(page.get_by_role("button", name="Show earlier messages")).to_be_hidden()
    assert page.locator(".first .who").all_text_contents() == ["Ford"]
    assert page.locator(".day").all_text_contents() == ["Today"]


def test_an_empty_room_says_so(windows: Windows, server: ServerProcess) -> None:
    page = join(visit(windows, server.port), "Ada")
    expect(page.get_by_text("Nothing has been said here yet")).to_be_visible()
    expect(page.get_by_text("Only you (Ada) are here")).to_be_visible()
    say(page, "first")
    expect(page.get_by_text("Nothing has been said here yet")).to_be_hidden()
    message(page, "first")


def test_the_conversation_goes_on_behind_a_restart(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        ada, marvin = (join(visit(windows, proxy.port), name) for name in ("Ada", "Marvin"))
        say(ada, "before")
        message(marvin, "before")
        assert server.stop() == 0
        for page in (ada, marvin):
            expect(page.get_by_role("status")).to_contain_text("Offline")
        say(ada, "while it was away")
        expect(ada.get_by_text("waits for the connection")).to_be_visible()
        assert faint(ada) == []
        screenshot(ada, "chat-offline-1280")
        server.start()
        proxy.target = server.port
        for page in (ada, marvin):
            expect(page.get_by_role("status")).to_have_text("Connected")
            message(page, "while it was away")
        say(marvin, "after")
        for page in (ada, marvin):
            message(page, "after")
            assert texts(page) == ["before", "while it was away", "after"]


def test_trying_at_once(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        page = join(visit(windows, proxy.port, size=NARROW), "Ada")
        expect(page.get_by_text("Only you (Ada) are here")).to_be_visible()
        head = page.get_by_role("banner").bounding_box()
        assert server.stop() == 0
        page.get_by_role("button", name="Try now").wait_for()
        assert page.get_by_role("banner").bounding_box() == head, "nothing moves"
        server.start()
        # It has just tried by itself, and will not again while we do.
        expect(page.locator("#countdown")).to_have_text(re.compile("next try in [45] s"))
        proxy.target = server.port
        page.get_by_role("button", name="Try now").click()
        expect(page.get_by_role("status")).to_have_text("Connected", timeout=1500)


def test_what_may_not_have_arrived_can_be_sent_again(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        page = join(visit(windows, proxy.port), "Ada")
        say_to_nobody(server, page, proxy, "into the void")
        server.kill()  # it has got the message, and never looked at it
        expect(page.get_by_text("may not have arrived")).to_be_visible()
        screenshot(page, "chat-unsure-1280")
        server.start()
        proxy.target = server.port
        expect(page.get_by_role("status")).to_have_text("Connected")
        expect(page.get_by_text("may not have arrived")).to_be_visible()
        page.get_by_role("button", name="Send again").click()
        expect(page.locator("[data-fate]")).to_have_count(0)
        assert texts(page) == ["into the void"]
        assert len(server.json("/api/message/chat/lobby")) == 1


def test_what_did_arrive_is_not_asked_for_again(windows: Windows, server: ServerProcess) -> None:
    """The connection is lost between the message and its answer; the replay tells that it was stored."""
    with Proxy(server.port) as proxy:
        page = join(visit(windows, proxy.port), "Ada")
        say_to_nobody(server, page, proxy, "was it heard?")
        proxy.cut()
        expect(page.get_by_text("may not have arrived")).to_be_visible()
        server.process.resume()
        expect(page.locator("[data-fate]")).to_have_count(0)
        assert texts(page) == ["was it heard?"]
        assert len(server.json("/api/message/chat/lobby")) == 1


def test_what_is_written_offline_waits_as_long_as_it_takes(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    page.clock.install()
    with Proxy(server.port) as proxy:
        page.goto(f"http://127.0.0.1:{proxy.port}/examples/chat")
        join(page, "Ada")
        assert server.stop() == 0
        expect(page.get_by_role("status")).to_contain_text("Offline")
        say(page, "hours ago")
        page.clock.fast_forward("03:00:00")
        page.clock.resume()
        expect(page.get_by_text("waits for the connection")).to_be_visible()
        server.start()
        proxy.target = server.port
        page.clock.fast_forward(10_000)
        expect(page.locator("[data-fate]")).to_have_count(0)
        assert texts(page) == ["hours ago"]


def test_who_leaves_what_is_not_sent_is_asked(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        page = join(visit(windows, proxy.port), "Ada")
        assert server.stop() == 0
        expect(page.get_by_role("status")).to_contain_text("Offline")
        say(page, "do not lose me")
        asked: list[str] = []

        def dismiss(dialog: Dialog) -> None:
            asked.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", dismiss)
        page.get_by_role("button", name="Leave").click()
        assert asked == ["Some of your messages have not been sent, and would be lost. Leave?"]
        message(page, "do not lose me")
        prevented = "() => !dispatchEvent(new Event('beforeunload', { cancelable: true }))"
        assert page.evaluate(prevented)
        server.start()
        proxy.target = server.port
        expect(page.locator("[data-fate]")).to_have_count(0)
        assert not page.evaluate(prevented)


def test_what_is_too_large_is_not_sent(windows: Windows, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--max-message-size", "1KiB") as server:
        page = join(visit(windows, server.port), "Ada")
        for length in (1025, 2_000_000):
            say(page, "x" * length)
            refused = page.get_by_text(re.compile("not sent: message is larger than")).last
            expect(refused).to_be_in_viewport()
        expect(page.get_by_text("not sent: message is larger than")).to_have_count(2)
        say(page, "short")
        expect(page.locator("[data-fate]")).to_have_count(2)
        assert [one["body"] for one in server.json("/api/message/chat/lobby")] == ["short"]


def test_what_is_too_large_can_be_made_shorter(windows: Windows, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--max-message-size", "1KiB") as server:
        page = join(visit(windows, server.port), "Ada")
        say(page, "x" * 1025)
        field = page.get_by_role("textbox", name="Message")
        expect(page.get_by_text("not sent: message is larger than")).to_be_visible()
        screenshot(page, "chat-refused-1280")
        field.fill("and this")
        page.get_by_role("button", name="Edit").click()
        expect(field).to_be_focused()
        expect(field).to_have_value("x" * 1025 + "\nand this")
        assert texts(page) == []
        expect(page.get_by_text("Today")).to_have_count(0)
        expect(page.locator("#empty")).to_be_visible()
        say(page, "short")
        expect(page.locator("[data-fate]")).to_have_count(0)
        assert texts(page) == ["short"]


def test_one_name_in_two_windows(windows: Windows, server: ServerProcess) -> None:
    first, second = (join(visit(windows, server.port), "Ada") for _ in range(2))
    say(first, "from the one")
    message(second, "from the one")
    say(second, "from the other")
    for page in (first, second):
        message(page, "from the other")
        assert texts(page) == ["from the one", "from the other"]
        expect(page.get_by_text("Only you (Ada, in 2 windows) are here")).to_be_visible()


def test_text_is_text(windows: Windows, server: ServerProcess) -> None:
    page = join(visit(windows, server.port), "<i>Ada<")
    text = '<img src=x onerror="alert(1)"> & \N{GRINNING FACE}'
    say(page, text)
    message(page, text)
    expect(page.get_by_role("log").get_by_role("img")).to_have_count(0)
    other = join(visit(windows, server.port), "Marvin")
    message(other, text)
    expect(other.locator(".first .who")).to_have_text("<i>Ada<")


def test_everything_with_the_keyboard(windows: Windows, server: ServerProcess) -> None:
    page = visit(windows, server.port)
    expect(page.get_by_label("Your name")).to_be_focused()
    page.keyboard.type("Ada")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Room")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Join")).to_be_focused()
    page.keyboard.press("Enter")
    box = page.get_by_role("textbox", name="Message")
    expect(box).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    message(page, "one\ntwo")
    page.keyboard.press("Enter")
    expect(box).to_have_value("")
    assert len(texts(page)) == 1, "nothing is not sent"
    order = []
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
        order.append(page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
    assert order[:2] == ["Messages", "Leave"]
    page.get_by_role("button", name="Leave").press("Enter")
    expect(page.get_by_label("Your name")).to_be_focused()
    deadline = eventually()
    while server.json("/api/subscribers/chat/lobby"):
        deadline.again()


def test_what_a_screen_reader_is_told(windows: Windows, server: ServerProcess) -> None:
    posted(server, 3)
    page = join(visit(windows, server.port), "Ada")
    message(page, "message 3")
    log = page.get_by_role("log", name="Conversation")
    expect(log).to_have_attribute("aria-live", "polite")
    assert log.get_by_role("listitem").count() == 4  # a day, and three messages
    expect(page.get_by_role("heading", level=1)).to_have_text("lobby")
    # My message is added once, and not again when it is stored.
    page.evaluate(
        """() => { globalThis.added = [];
        new MutationObserver((all) => added.push(...all.flatMap((one) => [...one.addedNodes].map((node) =>
            node.textContent)))).observe(document.getElementById("log"), { childList: true }); }"""
    )
    say(page, "read me once")
    expect(page.locator("[data-fate]")).to_have_count(0)
    message(page, "read me once")
    assert len([text for text in page.evaluate("added") if "read me once" in text]) == 1


@pytest.mark.parametrize(
    ("name", "room", "field", "problem"),
    [
        ("", "lobby", "Your name", "Please enter a name."),
        ("a,b", "lobby", "Your name", "A name has no commas and slashes."),
        ("Ada", "", "Room", "A room is one word without commas and slashes."),
        ("Ada", "a b", "Room", "A room is one word without commas and slashes."),
        ("..", "lobby", "Your name", "That does not work: user id must not be ..."),
    ],
)
def test_the_door_says_what_is_wrong(
    windows: Windows, server: ServerProcess, name: str, room: str, field: str, problem: str
) -> None:
    page = visit(windows, server.port)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Room").fill(room)
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("alert").filter(has_text=problem)).to_be_visible()
    expect(page.get_by_label(field)).to_be_focused()
    expect(page.get_by_label(field)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("log")).to_be_hidden()


def test_rooms_are_apart_and_have_addresses(windows: Windows, server: ServerProcess) -> None:
    lobby, cellar = (join(visit(windows, server.port, room), "Ada") for room in ("", "#cellar%2F1"[:7]))
    say(cellar, "down here")
    message(cellar, "down here")
    say(lobby, "up here")
    message(lobby, "up here")
    assert (texts(lobby), texts(cellar)) == (["up here"], ["down here"])
    assert cellar.url.endswith("/examples/chat#cellar")
    expect(cellar).to_have_title("cellar · Gobbler")
    cellar.reload()
    message(cellar, "down here")  # who loads the page again is in the room again
    cellar.get_by_role("button", name="Leave").click()
    cellar.get_by_label("Room").fill("lobby")
    join(cellar, "Ada")
    message(cellar, "up here")
    assert texts(cellar) == ["up here"]


def test_who_reads_back_is_not_torn_away(windows: Windows, server: ServerProcess) -> None:
    posted(server, 50)
    page = join(visit(windows, server.port, size=NARROW), "Ada")
    message(page, "message 50")
    page.get_by_label("Messages").evaluate("(scroll) => { scroll.scrollTop = 0; }")
    expect(message(page, "message 1")).to_be_in_viewport()
    posted(server, 2)
    button = page.get_by_role("button", name="New messages")
    expect(button).to_be_visible()
    expect(page).to_have_title("(2) lobby · Gobbler")
    expect(page.get_by_role("log").get_by_text("message 1", exact=True).first).to_be_in_viewport()
    screenshot(page, "chat-unread-390")
    button.click()
    expect(button).to_be_hidden()
    expect(page).to_have_title("lobby · Gobbler")
    expect(page.get_by_role("log").get_by_text("message 2", exact=True).last).to_be_in_viewport()


def test_who_has_just_begun_to_read_back_is_not_torn_away(windows: Windows, server: ServerProcess) -> None:
    """A message that comes between a scroll and the event of it, which is kept from the page here."""
    posted(server, 50)
    page = join(visit(windows, server.port, size=NARROW), "Ada")
    message(page, "message 50")
    page.evaluate("() => addEventListener('scroll', (event) => event.stopImmediatePropagation(), true)")
    page.get_by_label("Messages").evaluate("(scroll) => { scroll.scrollTop = 0; }")
    posted(server, 1)
    expect(page.get_by_role("button", name="New messages")).to_be_visible()
    expect(page.get_by_role("log").get_by_text("message 1", exact=True).first).to_be_in_viewport()


def test_what_comes_is_followed_while_it_scrolls(windows: Windows, server: ServerProcess) -> None:
    """With motion, scrolling to one message takes longer than the next one needs to come."""
    page = visit(windows, server.port, size=NARROW)
    page.emulate_media(reduced_motion="no-preference")
    join(page, "Ada")
    with Client(server.port, "/stream/user/Ford") as ford:
        for number in range(10):
            ford.publish(b"/chat/lobby", [b"line\n" * 30 + b"%d" % number])
    expect(page.locator(".text")).to_have_count(10)
    expect(page.locator(".text").last).to_contain_text("9")
    expect(page.locator(".facts").last).to_be_in_viewport()
    expect(page.get_by_role("button", name="New messages")).to_be_hidden()
    expect(page).to_have_title("lobby · Gobbler")


def test_a_telephones_keyboard_and_a_long_text_leave_the_end_in_sight(
    windows: Windows, server: ServerProcess
) -> None:
    posted(server, 50)
    page = join(visit(windows, server.port, size=NARROW), "Ada")
    expect(message(page, "message 50")).to_be_in_viewport()
    page.set_viewport_size({"width": 390, "height": 380})
    expect(message(page, "message 50")).to_be_in_viewport(ratio=1)
    page.get_by_role("textbox", name="Message").fill("a\n" * 10)
    expect(message(page, "message 50")).to_be_in_viewport(ratio=1)
    page.get_by_label("Messages").evaluate("(scroll) => { scroll.scrollTop = 0; }")
    posted(server, 1)
    button = page.get_by_role("button", name="New messages")
    expect(button).to_be_visible()
    box, field = button.bounding_box(), page.get_by_role("textbox", name="Message").bounding_box()
    assert box is not None
    assert field is not None
    assert box["y"] + box["height"] <= field["y"]
    screenshot(page, "chat-keyboard-390")


def test_what_comes_to_a_window_behind_others_is_counted(windows: Windows, server: ServerProcess) -> None:
    page = join(visit(windows, server.port), "Ada")
    expect(page.get_by_text("Nothing has been said here yet")).to_be_visible()
    seen = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(seen, True)
    posted(server, 2)
    expect(page).to_have_title("(2) lobby · Gobbler")
    page.evaluate(seen, False)
    expect(page).to_have_title("lobby · Gobbler")


def test_earlier_messages_that_cannot_be_had(windows: Windows, server: ServerProcess) -> None:
    posted(server, 60)
    with Proxy(server.port) as proxy:
        page = join(visit(windows, proxy.port), "Ada")
        page.route("**/api/message/**", lambda route: route.abort())
        page.evaluate("() => { const wait = setTimeout; setTimeout = (run, for_) => wait(run, for_ / 50); }")
        page.get_by_role("button", name="Show earlier messages").click()
        again = page.get_by_role("button", name="Earlier messages cannot be had now. Try again")
        expect(again).to_be_visible()
        page.unroute("**/api/message/**")
        again.click()
        message(page, "message 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
def test_how_it_looks(windows: Windows, server: ServerProcess, size: tuple[int, int], scheme: Scheme) -> None:
    page = visit(windows, server.port, size=size, scheme=scheme)
    looked_at(page, f"chat-door-{size[0]}-{scheme}")
    other = join(visit(windows, server.port), "Marvin")
    join(page, "Ada")
    lines = [
        (page, GREETING),
        (page, "I mean, when nobody is here."),
        (other, "Life. Don't talk to me about life."),
        (other, LONG),
        (page, "Splendid."),
        (other, "I think you ought to know I'm feeling very depressed."),
    ]
    for who, text in lines:
        say(who, text)
        message(page, text)
    expect(page.get_by_text("Marvin and you (Ada)")).to_be_visible()
    expect(page.locator("[data-fate]")).to_have_count(0)
    looked_at(page, f"chat-{size[0]}-{scheme}")


def looked_at(page: Page, name: str) -> None:
    assert overflow(page) == []
    assert faint(page) == []
    assert screenshot(page, name).stat().st_size > 5000


def test_the_prefix_of_websockets_may_be_another(windows: Windows, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--ws-prefix", "/ws/") as server:
        page = join(visit(windows, server.port), "Ada")
        say(page, "here, too")
        message(page, "here, too")
        expect(page.locator("[data-fate]")).to_have_count(0)
        (item,) = json.loads(server.request("GET", "/api/message/chat")[1])
        assert re.fullmatch(r"chat-\w+-\w+", item["messageId"])
