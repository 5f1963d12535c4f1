"""The browser client, in a browser, against a server."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.system.client import Client
from tests.system.server import ServerProcess, eventually
from tests.web.browser import Windows
from tests.web.proxy import Proxy

SETUP = """async (options) => {
    const gobbler = await import("/client/gobbler.js");
    Object.assign(globalThis, gobbler);
    globalThis.client = new Client({ backoff: { min: 5, max: 50 }, ...options });
    await client.connected();
    // A test looks at plain values.
    globalThis.plain = ({ path, id, userId, messageId, headers, text }) => (
        { path, id, userId, messageId, headers, text });
    globalThis.refusal = async (promise) => {
        try { return { value: await promise }; } catch ({ message, ...others }) {
            return { message, ...others };
        }
    };
}"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for the tests that leave it running; each has a partition of its own."""
    with ServerProcess(tmp_path_factory.mktemp("web") / "data") as started:
        yield started


def connected(windows: Windows, server: ServerProcess, **options: Any) -> Page:
    """Return a page with a client that is connected."""
    page = windows.open(f"http://127.0.0.1:{server.port}/api/")
    page.evaluate(SETUP, options)
    return page


def run(page: Page, script: str, argument: object = None) -> Any:
    """Run the body of an async function; `given` is the argument."""
    return page.evaluate(f"async (given) => {{ {script} }}", argument)


def publish(server: ServerProcess, path: str, *bodies: str, query: str = "") -> None:
    for body in bodies:
        assert server.request("POST", f"/api/message{path}{query}", body.encode()) == (200, b"OK")


def test_a_message_goes_out_and_comes_back(windows: Windows, shared: ServerProcess) -> None:
    page = connected(windows, shared, user="Ford Prefect/42".replace("/", "-"))
    found = run(
        page,
        """const subscription = client.subscribe("/round/trip/");
        await subscription.ready;
        const receipt = await client.publish("/round/trip/deeper", "grün\\n\\n\\u{1F600}", {
            messageId: "m-1", headers: { Colour: "blue", n: 1, deep: { a: [null] } } });
        for await (const message of subscription)
            return { receipt, message: plain(message), last: subscription.last, app: message.applicationId,
                     mine: client.applicationId, time: message.time - receipt.time };""",
    )
    assert found["receipt"] | {"time": 0} == {
        "id": 1, "path": "/round/trip/deeper", "messageId": "m-1", "time": 0,
    }  # fmt: skip
    assert found["message"] == {
        "path": "/round/trip/deeper", "id": 1, "userId": "Ford Prefect-42", "messageId": "m-1",
        "headers": {"Colour": "blue", "n": 1, "deep": {"a": [None]}}, "text": "grün\n\n\N{GRINNING FACE}",
    }  # fmt: skip
    assert (found["last"], found["time"]) == (1, 0)
    assert found["app"] == found["mine"] != ""


def test_bodies_are_bytes(windows: Windows, shared: ServerProcess) -> None:
    page = connected(windows, shared)
    found = run(
        page,
        """const bytes = Uint8Array.from({ length: 300 }, (_, number) => number % 256);
        await client.publish("/bytes", bytes);
        await client.publish("/bytes", bytes.buffer);
        await client.publish("/bytes", new DataView(bytes.buffer, 10, 5));
        await client.publish("/bytes", "\\uFEFFa");
        await client.publish("/bytes");
        const live = [], wanted = client.subscribe("/bytes", { from: 0 });
        for await (const message of wanted) { live.push(message); if (live.length === 5) break; }
        const fetched = await client.fetch("/bytes");
        return [live, fetched].map((all) => all.map((message) => [...message.bytes]))
            .concat([live, fetched].map((all) => all.map((message) => message.text.length)));""",
    )
    whole = [number % 256 for number in range(300)]
    wanted = [whole, whole, whole[10:15], list(b"\xef\xbb\xbfa"), []]
    assert found[:2] == [wanted, wanted]
    assert found[2] == found[3]
    assert found[2][2:] == [5, 2, 0]


def test_where_a_subscription_starts(windows: Windows, shared: ServerProcess) -> None:
    publish(shared, "/start", *"abcde")
    page = connected(windows, shared)
    found = run(
        page,
        """const first = async (from) => {
            const subscription = client.subscribe("/start", from === null ? {} : { from });
            await subscription.ready;
            await client.publish("/start", "live");
            for await (const message of subscription) return message.id;
        };
        const ids = [];
        for (const from of given) ids.push(await first(from));
        return ids;""",
        [0, 1, 4, -2, -200, None, None, 4000],
    )
    assert found == [1, 1, 4, 7, 1, 11, 12, 13]


def test_a_callback_is_called_in_order_until_it_is_canceled(windows: Windows, shared: ServerProcess) -> None:
    publish(shared, "/call", *map(str, range(1, 51)))
    page = connected(windows, shared)
    found = run(
        page,
        """const ids = [];
        const subscription = client.subscribe("/call", { from: 0, onMessage: (message) => {
            ids.push(message.id);
            if (message.id === 20) subscription.cancel();
        } });
        await client.publish("/call", "more");
        await client.fetch("/call");
        const refused = await refusal((async () => { for await (const _ of subscription); })());
        return { ids, ended: subscription.ended, last: subscription.last, refused: refused.name };""",
    )
    assert found == {"ids": list(range(1, 21)), "ended": True, "last": 20, "refused": "ArgumentError"}
    deadline = eventually()
    while shared.json("/api/subscribers/call"):
        deadline.again()


def test_an_error_in_a_callback_is_the_pages_and_loses_nothing(
    windows: Windows, shared: ServerProcess
) -> None:
    publish(shared, "/careless", "1", "2", "3")
    page = connected(windows, shared)
    run(
        page,
        """globalThis.ids = [];
        client.subscribe("/careless", { from: 0, onMessage: ({ id }) => {
            ids.push(id);
            if (id === 2) throw new Error("careless");
        } });""",
    )
    page.wait_for_function("ids.length === 3")
    assert [error for error in windows.errors if "careless" in error]
    windows.errors.clear()


def test_subscriptions_that_overlap_each_get_what_is_theirs(windows: Windows, shared: ServerProcess) -> None:
    for number in range(1, 101):
        publish(shared, "/lap/a" if number % 2 else "/lap/b", str(number))
    page = connected(windows, shared)
    found = run(
        page,
        """const seen = {};
        const subscribe = (name, path, from) => client.subscribe(path, { from, onMessage: ({ id }) =>
            (seen[name] ??= []).push(id) });
        const all = ["all", "/lap", 0], again = ["again", "/lap", 51], tail = ["tail", "/lap", -10];
        const a = ["a", "/lap/a", 30], b = ["b", "/lap/b"], a2 = ["a2", "/lap/a"];
        const some = [all, a, again, tail, b, a2].map((one) => subscribe(...one));
        await Promise.all(some.map((one) => one.ready));
        await client.publish("/lap/a", "101");
        await client.publish("/lap/b/deep", "102");
        const until = async (last) => {
            while (Object.entries(last).some(([name, id]) => seen[name]?.at(-1) !== id))
                await new Promise((resolve) => setTimeout(resolve, 5));
        };
        await until({ all: 102, a: 101, again: 102, tail: 102, b: 102, a2: 101 });
        client.cancel("/lap");
        await client.publish("/lap/a", "103");
        await until({ a: 103, a2: 103 });
        return seen;""",
    )
    assert found == {
        "all": list(range(1, 103)),
        "a": [*range(31, 100, 2), 101, 103],
        "again": list(range(51, 103)),
        "tail": list(range(91, 103)),
        "b": [102],
        "a2": [101, 103],
    }
    deadline = eventually()
    while len(shared.json("/api/subscribers/lap/a")) != 2:
        deadline.again()


def test_a_fetch_is_independent_of_everything(windows: Windows, shared: ServerProcess) -> None:
    publish(shared, "/fetch/a", *map(str, range(1, 251)))
    publish(shared, "/fetch/b", "251", query="?userId=zaphod&messageId=m&filterUserID=marvin")
    page = connected(windows, shared, user="marvin")
    found = run(
        page,
        """client.subscribe("/fetch", { from: 0, onMessage: () => {} });
        const ids = async (options) => (await client.fetch("/fetch", options)).map(({ id }) => id);
        const each = [];
        for await (const message of client.fetchEach("/fetch", { from: 5, count: 50 })) {
            each.push(message.id);
            if (message.id === 7) break;
        }
        return { default: await ids(), first: await ids({ from: 0, count: 3 }), each,
                 last: await ids({ from: -3, count: 2 }), many: (await ids({ from: 0, count: 9000 })).length,
                 message: plain((await client.fetch("/fetch", { count: 1 }))[0]),
                 none: await client.fetch("/fetch/none") };""",
    )
    assert found["default"] == list(range(152, 252))
    assert (found["first"], found["last"], found["many"]) == ([1, 2, 3], [249, 250], 251)
    assert (found["each"], found["none"]) == ([5, 6, 7], [])
    assert found["message"] == {
        "path": "/fetch/b", "id": 251, "userId": "zaphod", "messageId": "m", "headers": {}, "text": "251",
    }  # fmt: skip


@pytest.mark.parametrize("topic", ["/odd/..", "/odd/.", "/odd/%2F", "/odd/grün", "/odd/a?b#c", "/odd/+&=;"])
def test_odd_topics(windows: Windows, shared: ServerProcess, topic: str) -> None:
    page = connected(windows, shared)
    found = run(
        page,
        """const subscription = client.subscribe(given);
        await subscription.ready;
        await client.publish(given, "x");
        for await (const { path } of subscription)
            return [path, (await client.fetch(given)).length, (await client.subscribers(given)).length];""",
        topic,
    )
    assert found[0] == topic
    assert found[1] >= 1
    assert found[2] == 1


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("client.publish('foo')", "topic must begin with '/'"),
        ("client.publish('/')", "topic has no segment"),
        ("client.publish('/a//b')", "topic has an empty segment"),
        ("client.publish('/a b')", "topic holds a comma, white space or a control character"),
        ("client.publish('/a\\n- /b')", "topic holds a comma, white space or a control character"),
        ("client.publish('/a,b')", "topic holds a comma, white space or a control character"),
        ("client.publish('/\\uD800')", "text holds half of a character"),
        ("client.publish('/' + 'ü'.repeat(600))", "topic is longer than 1024 bytes"),
        ("client.publish('/a', 'x', { messageId: 'a b' })",
         "message id holds a comma, white space or a control character"),
        ("client.publish('/a', 'x', { messageId: 'a'.repeat(257) })", "message id is longer than 256 bytes"),
        ("client.publish('/a', 7)", "a body is a string, an ArrayBuffer or a view of one"),
        ("client.fetch('/a', { count: 1.5 })", "count is not a whole number"),
        ("client.fetch('/a', { from: NaN })", "from is not a whole number"),
        ("(async () => client.subscribe('/a', { from: '7' }))()", "from is not a whole number"),
        ("(async () => client.subscribe('a'))()", "topic must begin with '/'"),
        ("(async () => new Client({ user: 'a/b' }))()",
         "user id holds a comma, a slash or a control character"),
        ("(async () => new Client({ user: '..' }))()", "user id must not be .."),
        ("(async () => new Client({ url: 'ftp://host' }))()",
         "not an address such as http://localhost:8080: ftp://host"),
    ],
)  # fmt: skip
def test_what_the_server_would_refuse_is_refused_here(
    windows: Windows, shared: ServerProcess, script: str, text: str
) -> None:
    page = connected(windows, shared)
    refused = run(page, f"return refusal({script});")
    assert (refused["name"], refused["code"], refused["message"]) == ("ArgumentError", "argument", text)


def test_what_the_server_refuses_is_told(windows: Windows, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--max-message-size", "1000") as server:
        page = connected(windows, server)
        found = run(
            page,
            """const large = client.publish("/a", "x".repeat(2000));
            const fine = client.publish("/a", "x");
            return [await refusal(large), (await fine).id,
                    await refusal(client.fetch("/a", { count: 1_000_000 }))];""",
        )
        assert found[0] == {
            "name": "PublishError", "code": "refused", "message": "message is larger than 1000 bytes",
            "stored": False,
        }  # fmt: skip
        assert found[1] == 1
        assert (found[2]["name"], found[2]["status"]) == ("RequestError", 400)
        assert found[2]["message"] == "count must be at most 100000"
        assert "400" in windows.errors.pop()


def test_what_the_server_does_not_even_read_is_refused_too(windows: Windows, tmp_path: Path) -> None:
    """It closes the connection: the largest was at fault, and nobody knows of the others."""
    with ServerProcess(tmp_path / "data", "--max-message-size", "1KiB") as server:
        page = connected(windows, server)
        found = run(
            page,
            """const small = client.publish("/foo", "before");
            const large = client.publish("/foo", "x".repeat(2_000_000));
            const behind = client.publish("/foo", "behind");
            const told = [await refusal(small), await refusal(large), await refusal(behind)];
            await client.connected();
            return [...told, (await client.publish("/foo", "after")).id];""",
        )
        assert found[0]["value"]["id"] == 1
        wanted = {"code": "refused", "stored": False, "message": "message is larger than the server allows"}
        assert wanted.items() <= found[1].items()
        assert {"code": "lost", "stored": None}.items() <= found[2].items()
        assert found[3] == 2


def test_a_request_that_nobody_answers(windows: Windows, shared: ServerProcess) -> None:
    page = connected(windows, shared)
    page.route("**/api/subscribers/**", lambda route: route.abort())
    page.route("**/api/message/**", lambda route: route.abort())
    for request in ("subscribers", "fetch"):
        refused = run(page, "return refusal(client[given]('/foo'))", request)
        wanted = {"name": "ConnectionError", "code": "unreachable", "message": "the server does not answer"}
        assert wanted.items() <= refused.items()


def test_ten_thousand_at_once_are_answered_in_order(windows: Windows, shared: ServerProcess) -> None:
    page = connected(windows, shared)
    found = run(
        page,
        """const sent = Array.from({ length: 10_000 }, (_, number) => client.publish("/burst", `${number}`));
        return (await Promise.all(sent)).map(({ id }) => id);""",
    )
    assert found == list(range(1, 10_001))


def test_who_reads_slowly_pauses_and_loses_nothing(windows: Windows, shared: ServerProcess) -> None:
    """An iterator that is not asked holds some thousand messages; the others stay in the log."""
    with Client(shared.port) as client:
        client.publish(b"/slow", [b"x" * 1000] * 20_000)
    page = connected(windows, shared)
    run(page, "globalThis.subscription = client.subscribe('/slow', { from: 0 }); await subscription.ready;")
    deadline = eventually()
    while shared.json("/api/subscribers/slow"):  # it has paused
        deadline.again()
    found = run(
        page,
        """const ids = [];
        for await (const { id } of subscription) { ids.push(id); if (ids.length === 20_000) break; }
        return ids;""",
    )
    assert found == list(range(1, 20_001))


def test_filters_hold(windows: Windows, shared: ServerProcess) -> None:
    page = connected(windows, shared, user="marvin")
    run(
        page,
        """globalThis.texts = [];
        const subscription = client.subscribe("/filter", { onMessage: ({ text }) => texts.push(text) });
        await subscription.ready;""",
    )
    publish(shared, "/filter", "for ford", query="?filterUserID=ford")
    publish(shared, "/filter", "for marvin", query="?filterUserID=marvin")
    publish(shared, "/filter", "for all")
    page.wait_for_function("texts.length === 2")
    assert page.evaluate("texts") == ["for marvin", "for all"]
    assert run(page, "return (await client.fetch('/filter')).map(({ text }) => text);") == [
        "for marvin",
        "for all",
    ]


def test_other_origins_and_prefixes(windows: Windows, shared: ServerProcess, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--ws-prefix", "/ws/gobbler") as other:
        publish(other, "/there", "hello")
        page = connected(windows, shared, url=f"http://127.0.0.1:{other.port}", prefix="/ws/gobbler/")
        assert run(page, "return (await client.fetch('/there'))[0].text;") == "hello"
        found = run(
            page,
            """for await (const { text } of client.subscribe("/there", { from: 0 })) return text;""",
        )
        assert found == "hello"


# Losing the connection


def test_gaps_are_told(windows: Windows, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--ms", "memory", "--ms-memory-bytes", "1MiB") as server:
        with Client(server.port) as client:
            client.publish(b"/gap", [b"x" * 1000] * 3000)
        page = connected(windows, server)
        found = run(
            page,
            """const gaps = [], first = [];
            const told = { from: 5, onGap: (gap) => gaps.push(gap) };
            for await (const { id } of client.subscribe("/gap", told)) { first.push(id); break; }
            await client.fetch("/gap", { ...told, count: 1 }).then(([{ id }]) => first.push(id));
            return { gaps, first };""",
        )
        kept = found["first"][0]
        assert kept > 1000
        assert found == {"gaps": [{"path": "/gap", "first": 5, "last": kept - 1}] * 2, "first": [kept, kept]}


def test_a_subscription_goes_on_behind_a_restart(windows: Windows, server: ServerProcess) -> None:
    publish(server, "/restart", "1")
    with Proxy(server.port) as proxy:
        page = connected(windows, server, url=f"http://127.0.0.1:{proxy.port}")
        run(
            page,
            """globalThis.seen = { old: [], live: [], empty: [] };
            const ready = Object.entries({ old: ["/restart", { from: 0 }], live: ["/restart"],
                                           empty: ["/nothing/yet"] }).map(([name, [path, options]]) =>
                client.subscribe(path, { ...options, onMessage: ({ id }) => seen[name].push(id) }).ready);
            await Promise.all(ready);""",
        )
        for number in range(2, 5):
            assert server.stop() == 0
            server.start()
            # Nobody is connected: what had seen nothing yet must not lose these either.
            publish(server, "/restart", str(number))
            publish(server, "/nothing/yet", str(number))
            proxy.target = server.port
            page.wait_for_function(
                "(last) => Object.keys(last).every((name) => seen[name].at(-1) === last[name])",
                arg={"old": number, "live": number, "empty": number - 1},
            )
        assert page.evaluate("seen") == {"old": [1, 2, 3, 4], "live": [2, 3, 4], "empty": [1, 2, 3]}


def test_a_publish_waits_for_a_connection_or_for_its_time(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        page = connected(windows, server, url=f"http://127.0.0.1:{proxy.port}")
        assert server.stop() == 0
        page.wait_for_function("client.state !== 'open'")
        run(
            page,
            """globalThis.patient = client.publish("/wait", "patient");
            globalThis.hasty = refusal(client.publish("/wait", "hasty", { timeout: 50 }));""",
        )
        assert run(page, "return await hasty;") == {
            "name": "PublishError", "code": "timeout", "stored": False,
            "message": "there was no connection to send it in time",
        }  # fmt: skip
        server.start()
        proxy.target = server.port
        assert run(page, "return (await patient).id;") == 1
        assert server.json("/api/message/wait")[0]["body"] == "patient"


def test_what_was_on_its_way_may_have_been_stored(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        page = connected(windows, server, url=f"http://127.0.0.1:{proxy.port}")
        server.process.suspend()
        run(page, "globalThis.unsure = refusal(client.publish('/unsure', 'x'));")
        proxy.cut()
        refused = run(page, "return await unsure;")
        assert (refused["code"], refused["stored"]) == ("lost", None)
        server.process.resume()
        page.wait_for_function("client.state === 'open'")


def test_close_waits_for_answers_and_then_nothing_works(windows: Windows, shared: ServerProcess) -> None:
    page = connected(windows, shared)
    found = run(
        page,
        """const subscription = client.subscribe("/close");
        const sent = Array.from({ length: 100 }, () => client.publish("/close", "x"));
        await client.close();
        const stored = (await Promise.all(sent)).length;
        return { stored, state: client.state, ended: subscription.ended,
                 publish: (await refusal(client.publish("/close"))).code,
                 subscribe: (await refusal((async () => client.subscribe("/close"))())).code,
                 connected: (await refusal(client.connected())).code };""",
    )
    assert found == {
        "stored": 100, "state": "closed", "ended": True,
        "publish": "closed", "subscribe": "closed", "connected": "closed",
    }  # fmt: skip


def test_connect_gives_up_where_nobody_answers(windows: Windows, shared: ServerProcess) -> None:
    with Proxy(1) as nobody:
        page = connected(windows, shared)
        refused = run(page, f"return refusal(connect({{ url: 'http://127.0.0.1:{nobody.port}' }}, 200));")
    assert (refused["name"], refused["code"]) == ("ConnectionError", "timeout")


def test_states_are_told(windows: Windows, server: ServerProcess) -> None:
    with Proxy(server.port) as proxy:
        page = connected(windows, server, url=f"http://127.0.0.1:{proxy.port}")
        run(
            page,
            f"""globalThis.told = [];
            globalThis.watched = new Client({{ url: "http://127.0.0.1:{proxy.port}", backoff: {{ min: 1 }},
                onState: (state, {{ retryIn }}) => told.push(retryIn === undefined ? state : [state]) }});
            await watched.connected();""",
        )
        proxy.cut()
        page.wait_for_function("told.length >= 5")
        run(page, "await watched.close();")
        assert page.evaluate("told") == ["connecting", "open", ["waiting"], "connecting", "open", "closed"]


def test_two_hundred_cuts_during_fifty_thousand_messages(windows: Windows, server: ServerProcess) -> None:
    """Each message comes once and in order, to subscriptions of one connection and of another."""
    messages, cuts = 50_000, 200
    chosen = random.Random(3)
    # Two connections are cut, each after about so many bytes of the messages, which both get.
    budget = 1.6 * 46 * messages / cuts
    with Proxy(server.port, lambda: chosen.uniform(0.2, 1.5) * budget) as proxy:
        page = connected(windows, server, url=f"http://127.0.0.1:{proxy.port}")
        run(
            page,
            """globalThis.seen = { all: [], below: [] };
            const note = (name) => ({ onMessage: ({ id, text }) => seen[name].push([id, text]) });
            await Promise.all([client.subscribe("/cut", note("all")).ready,
                               client.subscribe("/cut/below", note("below")).ready]);""",
        )
        publisher = threading.Thread(target=flood, args=(server.port, messages))
        publisher.start()
        page.wait_for_function(
            "(count) => seen.all.at(-1)?.[0] === count && seen.below.at(-1)?.[0] === count",
            arg=messages,
            timeout=100_000,
        )
        publisher.join(10)
        # Looked at there: handing over 100,000 values takes seconds.
        wrong = page.evaluate(
            """Object.values(seen).map((found) => [found.length, found.filter(([id, text], place) =>
                id !== place + 1 || text !== `${id}`).slice(0, 5)])"""
        )
    assert wrong == [[messages, []], [messages, []]]
    assert proxy.cuts >= cuts, proxy.cuts


def flood(port: int, messages: int) -> None:
    """Publish numbered messages in small groups, with pauses."""
    moment = threading.Event()
    with Client(port) as client:
        for first in range(1, messages + 1, 100):
            client.publish(b"/cut/below", [b"%d" % number for number in range(first, first + 100)])
            moment.wait(0.01)


def test_a_fetch_goes_on_where_it_was_cut(windows: Windows, shared: ServerProcess) -> None:
    with Client(shared.port) as client:
        client.publish(b"/long", [b"x" * 500] * 5000)
    chosen = random.Random(4)
    with Proxy(shared.port, lambda: chosen.uniform(200_000, 900_000)) as proxy:
        page = connected(windows, shared, url=f"http://127.0.0.1:{proxy.port}")
        found = run(
            page, "return (await client.fetch('/long', { from: 101, count: 4800 })).map(({ id }) => id);"
        )
    assert found == list(range(101, 4901))
    assert proxy.cuts > 3


def test_one_subscription_too_many_is_told(windows: Windows, shared: ServerProcess) -> None:
    page = connected(windows, shared)
    found = run(
        page,
        """const all = Array.from({ length: 10_001 }, (_, number) => client.subscribe(`/many-${number}`));
        await Promise.all(all.slice(0, -1).map((one) => one.ready));
        const last = all.at(-1);
        const refused = await refusal(last.ready);
        const thrown = await refusal((async () => { for await (const _ of last); })());
        await client.publish("/many-7", "still here");
        for await (const { text } of all[7]) return { refused, thrown, ended: last.ended, text };""",
    )
    wanted = {"name": "SubscriptionError", "code": "subscription", "message": "more than 10000 subscriptions"}
    assert found == {"refused": wanted, "thrown": wanted, "ended": True, "text": "still here"}


def test_a_connection_that_is_only_silent_is_kept_and_a_dead_one_is_not(
    windows: Windows, server: ServerProcess
) -> None:
    page = windows.open(f"http://127.0.0.1:{server.port}/api/")
    page.clock.install()
    page.evaluate(SETUP, {})
    first = page.evaluate("client.applicationId")
    for _ in range(4):  # two minutes, in which a server that is asked answers
        page.clock.run_for(31_000)
        run(page, "await client.publish('/alive', 'x');")
    assert page.evaluate("client.applicationId") == first
    server.process.suspend()
    page.clock.run_for(32_000)
    assert page.evaluate("client.state") == "open"
    page.clock.run_for(11_000)
    assert page.evaluate("client.state") in ("waiting", "connecting")
    server.process.resume()
    page.clock.run_for(1_000)
    run(page, "await client.connected();")
    assert page.evaluate("client.applicationId") != first
