"""The REST interface over real HTTP: every request, and every refusal with its exact answer."""

import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from tests.system.client import Client, Received, decode
from tests.system.server import ServerProcess

LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--ms", "memory", "--kvs", "memory", "--max-message-size", str(LIMIT))
    with ServerProcess(tmp_path_factory.mktemp("rest") / "data", *options) as started:
        yield started


def raw(server: ServerProcess, request: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def answers(reply: bytes) -> list[tuple[int, bytes]]:
    """Split a connection's bytes into statuses and bodies."""
    found = []
    while reply:
        head, _, reply = reply.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
        size = int(length[1]) if length else 0
        found.append((int(head.split()[1]), reply[:size]))
        reply = reply[size:]
    return found


@pytest.mark.parametrize(
    ("path", "query", "headers", "body", "message"),
    [
        ("/one", "", {}, b"hello", b"/one,N,,A,,T\n\nhello"),
        ("/one/two/three", "", {}, b"", b"/one/two/three,N,,A,,T\n\n"),
        ("/one/", "", {}, b"x", b"/one,N,,A,,T\n\nx"),
        ("/gr%C3%BCn/%2e%2e", "", {}, b"x", "/grün/..,N,,A,,T\n\nx".encode()),
        ("/one%2Ftwo", "", {}, b"x", b"/one/two,N,,A,,T\n\nx"),
        ("/one?", "", {}, b"\x00\xff\n\n", b"/one,N,,A,,T\n\n\x00\xff\n\n"),
        ("/one", "?userId=marvin&messageId=m-1", {}, b"x", b"/one,N,marvin,A,m-1,T\n\nx"),
        ("/one", "?userId=a+b%C3%A9", {}, b"x", "/one,N,a bé,A,,T\n\nx".encode()),
        ("/one", "?userId=first&userId=second", {}, b"x", b"/one,N,first,A,,T\n\nx"),
        ("/one", "?filter=x&filterlow=y&other=z", {}, b"x", b"/one,N,,A,,T\n\nx"),
        ("/one", "", {"X-Gobbler-Correlation-Id": "7", "x-gobbler-other": 'a"b'}, b"x",
         b'/one,N,,A,,T\n{"Correlation-Id":"7","Other":"a\\"b"}\nx'),
        ("/one", "", {"X-Gobbler-Name": "grün".encode()}, b"x", '/one,N,,A,,T\n{"Name":"grün"}\nx'.encode()),
        ("/one", "", {"X-Gobbler-Name": b"gr\xfcn"}, b"x", '/one,N,,A,,T\n{"Name":"grün"}\nx'.encode()),
        ("/one", "", {"X-Other": "1"}, b"x", b"/one,N,,A,,T\n\nx"),
        ("/one", "", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", b"/one,N,,A,,T\n\na=b"),
        ("/one", "", {}, b"b" * LIMIT, b"/one,N,,A,,T\n\n" + b"b" * LIMIT),
    ],
)  # fmt: skip
def test_a_published_message_arrives(
    server: ServerProcess, path: str, query: str, headers: dict[str, str | bytes], body: bytes, message: bytes
) -> None:
    with Client(server.port) as client:
        for topic in (b"/one", "/grün".encode()):
            client.subscribe(topic)
        assert server.request("POST", f"/api/message{path}{query}", body, headers) == (200, b"OK")
        head, _, rest = client.next().partition(b"\n")
        fields = re.fullmatch(rb"(.*),\d+,(.*),[0-9a-f]{16},(.*),\d{10}", head)
        assert fields, head
        assert b"%b,N,%b,A,%b,T\n%b" % (*fields.groups(), rest) == message


@pytest.mark.parametrize(
    ("path", "query", "status", "text"),
    [
        ("/", "", 400, "topic has no segment"),
        ("//one", "", 400, "topic has an empty segment"),
        ("/one//two", "", 400, "topic has an empty segment"),
        ("/one//", "", 400, "topic has an empty segment"),
        ("/one%2F%2Ftwo", "", 400, "topic has an empty segment"),
        ("/one,two", "", 400, "topic holds a comma"),
        ("/one%20two", "", 400, "topic holds white space"),
        ("/one%0Atwo", "", 400, "topic holds white space"),
        ("/one%00two", "", 400, "topic holds a control character"),
        ("/one%FFtwo", "", 400, "topic is not valid UTF-8"),
        ("/" + 1023 * "a" + "b", "", 400, "topic is longer than 1024 bytes"),
        ("/one", "?userId=a,b", 400, "userId holds a comma"),
        ("/one", "?userId=a%0Ab", 400, "userId holds a control character"),
        ("/one", "?userId=%FF", 400, "the query is not valid UTF-8"),
        ("/one", "?messageId=a%2Cb", 400, "messageId holds a comma"),
        ("/one", "?userId=" + "u" * 257, 400, "userId is longer than 256 bytes"),
        ("/one", "?filterUserID=a&filterUserId=b", 400, "filter user_id is given twice"),
        ("/one", "?filterUserID=" + "u" * 2000, 400, "filters are longer than 1024 bytes"),
    ],
)  # fmt: skip
def test_a_bad_request_says_why_and_stores_nothing(
    server: ServerProcess, path: str, query: str, status: int, text: str
) -> None:
    with Client(server.port) as client:
        client.subscribe(b"/one")
        url = f"/api/message{path}{query}"
        assert server.request("POST", url, b"body") == (status, f"{text}\n".encode())
        asked = server.request("POST", url, b"body", {"Accept": "application/json"})
        assert (asked[0], json.loads(asked[1])) == (status, {"error": text})
        assert server.request("POST", "/api/message/one", b"after") == (200, b"OK")
        assert decode(client.next()).body == b"after"


def test_bad_topics_of_subscribers(server: ServerProcess) -> None:
    assert server.request("GET", "/api/subscribers/") == (400, b"topic has no segment\n")
    assert server.request("GET", "/api/subscribers/a%2Cb") == (400, b"topic holds a comma\n")


HEAD = b"POST /api/message/one HTTP/1.1\r\nHost: h\r\n"
TOO_LARGE = b"message is larger than %d bytes\n" % LIMIT


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (HEAD + b"Content-Length: %d\r\n\r\n%b" % (LIMIT + 1, b"x" * (LIMIT + 1)), [(413, TOO_LARGE)]),
        (HEAD + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 100_000, [(413, TOO_LARGE)]),
        (HEAD + b"Content-Length: 200000\r\nExpect: 100-continue\r\n\r\n", [(413, TOO_LARGE)]),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 4 * (b"8000\r\n" + b"x" * 32768 + b"\r\n")
         + b"0\r\n\r\n", [(413, TOO_LARGE)]),
        (HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhi",
         [(100, b""), (200, b"OK")]),
        (HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n",
         [(200, b"OK")]),
        (HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nnonsense",
         [(400, b"the body is not whole\n")]),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [(400, b"")]),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi", [(400, b"")]),
        (HEAD + b"Content-Length: +2\r\n\r\nhi", [(400, b"")]),
        (HEAD + b"Content-Length: -2\r\n\r\nhi", [(400, b"")]),
        (HEAD + b"Connection: close\r\n\r\n", [(200, b"OK")]),
        (HEAD + b"Connection: close\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi", [(200, b"OK")]),
        (b"nonsense\r\n\r\n", [(400, b"")]),
        (b"GET / HTTP/7.1\r\n\r\n", [(400, b"")]),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", [(414, b"")]),
        (b"GET /api/ HTTP/1.1\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", [(431, b"")]),
        (b"GET /api/ HTTP/1.1\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", [(400, b"")]),
        (b"HEAD /api/ HTTP/1.1\r\nHost: h\r\n\r\nGET /nope HTTP/1.0\r\n\r\n", [(200, b""), (404, None)]),
        (HEAD + b"Content-Length: 2\r\n\r\nhi" + HEAD + b"Content-Length: 1\r\nX-Gobbler-: x\r\n\r\n!"
         + HEAD + b"Connection: close\r\n\r\n",
         [(200, b"OK"), (400, b"a header has no name\n"), (200, b"OK")]),
        (b"GET /api/ HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
         b"GET /api/ HTTP/1.1\r\nConnection: close\r\n\r\n",
         [(200, b"Gobbler\n"), (200, b"Gobbler\n")]),
    ],
)  # fmt: skip
def test_how_http_is_read(
    server: ServerProcess, request_: bytes, expected: list[tuple[int, bytes | None]]
) -> None:
    reply = raw(server, request_)
    if request_.startswith(b"HEAD"):  # its length is that of the body that GET would have
        reply = reply.replace(b"Content-Length: 8\r\n", b"", 1)
    found = answers(reply)
    assert [status for status, _ in found] == [status for status, _ in expected]
    assert all(wanted in (None, body) for (_, body), (_, wanted) in zip(found, expected, strict=True))


def test_a_client_that_goes_in_the_middle_of_a_body_leaves_nothing_behind(server: ServerProcess) -> None:
    before = len(server.lines)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 10\r\n\r\nhal")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhal")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    with Client(server.port) as client:
        client.send(b"+ /one 0 1000")
        assert all(not message.body.startswith(b"hal") for message in client_messages(client))
    assert server.lines[before:] == []


def client_messages(client: Client) -> Iterator[Received]:
    count = int(client.next().split()[-1])
    for _, message in zip(range(count), client.messages(), strict=False):
        yield message


def test_long_headers_are_refused(server: ServerProcess) -> None:
    sent = server.request("POST", "/api/message/one", b"", {"X-Gobbler-Long": "x" * 20_000})
    assert sent == (400, b"headers are longer than 16384 bytes\n")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/message/one", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/api/subscribers/one", "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/", "GET, HEAD, OPTIONS"),
        ("POST", "/admin/healthcheck", "GET, HEAD, OPTIONS"),
        ("POST", "/stream/", "GET"),
    ],
)
def test_a_wrong_method_is_told_which_are_right(
    server: ServerProcess, method: str, path: str, allow: str
) -> None:
    reply = raw(server, f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    head, _, body = reply.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 405 METHOD NOT ALLOWED\r\n")
    found = re.search("Allow: (.*)\r\n", head)
    assert found
    assert ", ".join(sorted(found[1].split(", "))) == allow
    assert "text/plain" in head
    assert "<" not in body


@pytest.mark.parametrize("path", ["/", "/nope", "/api/nope", "/stream/nope", "/admin/nope", "/api/message"])
def test_an_unknown_path_is_404_and_never_html(server: ServerProcess, path: str) -> None:
    status, body = server.request("GET", path)
    assert status == (405 if path == "/api/message" else 404) or path == "/api/message"
    assert b"<!doctype" not in body
    status, body = server.request("GET", "/nope", headers={"Accept": "application/json"})
    assert status == 404
    assert list(json.loads(body)) == ["error"]


def test_head_of_the_api(server: ServerProcess) -> None:
    assert server.request("HEAD", "/api/") == (200, b"")


def test_the_answer_as_json(server: ServerProcess) -> None:
    begun = int(time.time())
    status, body = server.request(
        "POST", '/api/message/json?messageId=a"b', b"x", {"Accept": "text/html, application/json;q=0.9"}
    )
    facts = json.loads(body)
    assert (status, list(facts)) == (
        200,
        ["sequenceId", "path", "publisherMessageId", "messagePublishingTime"],
    )
    assert (facts["sequenceId"], facts["path"], facts["publisherMessageId"]) == ("1", "/json", 'a"b')
    assert begun <= int(facts["messagePublishingTime"]) <= time.time()


def test_filters_reach_only_the_routes_that_match(server: ServerProcess) -> None:
    marvin, ford = Client(server.port, "/stream/user/marvin"), Client(server.port, "/stream/user/ford")
    with marvin, ford:
        for client in (marvin, ford):
            client.subscribe(b"/filters")
        for query, body in (("?filterUserID=marvin", b"1"), ("", b"2"), ("?filterUserID=no&filterX=y", b"3")):
            assert server.request("POST", f"/api/message/filters{query}", body) == (200, b"OK")
        assert [decode(marvin.next())[1::2] for _ in range(2)] == [(1, b"1"), (2, b"2")]
        assert decode(ford.next())[1::2] == (2, b"2")
        # A fetch gives what the subscription has given; the count is exact.
        for client, count in ((marvin, b"2"), (ford, b"1")):
            assert client.ask(b"+ /filters 0 10") == b"#fetch-start /filters " + count
            bodies = [decode(client.next()).body for _ in range(int(count))]
            assert bodies == [b"1", b"2"][-int(count) :]
            assert client.next() == b"#fetch-done /filters"


def test_subscribers_of_a_topic(server: ServerProcess) -> None:
    with Client(server.port, "/stream/user/marvin") as marvin, Client(server.port) as other:
        marvin.subscribe(b"/who")
        marvin.subscribe(b"/who/is")
        other.subscribe(b"/who/is/it")
        users = {
            path: [entry["user_id"] for entry in server.json(f"/api/subscribers{path}")]
            for path in ("/who", "/who/is", "/who/is/it", "/whose")
        }
        assert users == {
            "/who": ["marvin"],
            "/who/is": ["marvin", "marvin"],
            "/who/is/it": ["", "marvin", "marvin"],
            "/whose": [],
        }
        entry = server.json("/api/subscribers/who")[0]
        assert list(entry) == ["user_id", "application_id"]
        assert re.fullmatch("[0-9a-f]{16}", entry["application_id"])
