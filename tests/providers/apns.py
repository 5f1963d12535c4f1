"""A fake of APNs: HTTP/2 over TLS, as strict as Apple and as unreliable as it is told to be.

    python -m tests.providers.apns --port 0 --certificate FILE --key FILE --record FILE [options]

What it does with a request is told by the words of the device's token:

    <anything else>              200
    410.Unregistered.x           that status and reason; 410 comes with DIED
    429.TooManyRequests.7.x      with Retry-After: 7
    500.html.x                   a body that is not JSON
    delay.250.x                  200 after 250 ms
    delay.inf.x, release.x       200, the former when the latter comes on whatever connection
    silent.x                     no answer
    freeze.x                     no answer, and nothing read from this connection any more
    expired.x                    403 ExpiredProviderToken, until another provider token comes
    refuse.x, reset.x            RST_STREAM with REFUSED_STREAM or INTERNAL_ERROR
    goawayafter.x                200, and GOAWAY: what comes after it is not looked at
    goawaybefore.x               GOAWAY: it and what comes after it are not looked at
    goawaygraceful.x             200, GOAWAY with the largest id, then with its own
    goawayreason.Word.x          as goawaybefore, with a reason
    dropbefore.x, dropafter.x    the connection is dropped, before or after it was decided; the record tells
                                 of each drop with the status 0, and in `accepted` the last ids of
                                 its connection
    garbage.x                    bytes that are no HTTP/2
    once.<one of these>          that the first time, then 200

`GET /stats` by HTTP/1.1 on the same port tells the counters.
"""

import argparse
import asyncio
import json
import logging
import math
import random
import re
import ssl
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

import jwt
from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

DIED: Final = 1_700_000_000_000
"""When devices were unregistered, in milliseconds."""

LARGEST_ID: Final = 2**31 - 1
REMEMBERED: Final = 1000
"""How many of the ids that were accepted last a connection knows."""
LINGER_SECONDS: Final = 5.0
"""How long a connection that was said goodbye to waits for the client to close it."""
HEADERS: Final = ("push-type", "topic", "priority", "expiration", "collapse-id")


class Options(argparse.Namespace):
    port: int
    certificate: str
    key: str
    record: Path
    client_ca: str | None
    token_key: Path | None
    topic: str
    max_streams: int
    window: int
    delay_ms: float
    fail_percent: float
    drop_percent: float
    goaway_every: int
    no_http2: bool
    tls12: bool


class ServerConnection(H2Connection):
    """h2's, without its look at every open stream for each request, and alive after a GOAWAY."""

    def __init__(self, max_streams: int, window: int) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.state_machine = Patient()
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
            SettingCodes.INITIAL_WINDOW_SIZE: window,
        }
        self.local_settings = Settings(client=False, initial_values=settings)

    @property
    def open_inbound_streams(self) -> int:
        return 0


class Patient(H2ConnectionStateMachine):
    def process_input(self, input_: ConnectionInputs) -> list[events.Event]:
        return [] if input_ is ConnectionInputs.SEND_GOAWAY else super().process_input(input_)


class Fake:
    """What all connections share."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.counters: Counter[str] = Counter()
        self.seen: set[str] = set()
        self.held: list[Callable[[], None]] = []
        self.expired: dict[str, str] = {}
        self.chance = random.Random(0)
        self._record = options.record.open("a", encoding="utf-8")
        self._public_key = options.token_key.read_bytes() if options.token_key else None
        self.check_token = cache(self._check_token)

    def record(self, line: dict[str, Any]) -> None:
        self._record.write(json.dumps(line) + "\n")
        self._record.flush()

    def stats(self) -> dict[str, int]:
        return dict(self.counters)

    def _check_token(self, authorization: str) -> str:
        """Return the reason to refuse a provider token, or nothing."""
        self.counters["tokens"] += 1
        kind, _, token = authorization.partition(" ")
        try:
            header = jwt.get_unverified_header(token)
            key: Any = self._public_key or b""
            claims = jwt.decode(
                token, key, ["ES256"], options={"verify_signature": bool(key), "verify_iat": False}
            )
        except jwt.PyJWTError:
            return "InvalidProviderToken"
        whole = header.get("alg") == "ES256" and header.get("kid") and claims.get("iss")
        if kind != "bearer" or not whole or type(claims.get("iat")) is not int:
            return "InvalidProviderToken"
        return "ExpiredProviderToken" if claims["iat"] < time.time() - 3600 else ""


class Request:
    """A request as it comes in; `headers` without the leading `apns-`."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.names = [name.decode() for name, _ in headers]
        self.headers = {name.decode().removeprefix("apns-"): value.decode() for name, value in headers}
        self.body = b""
        self.token = self.headers[":path"].removeprefix("/3/device/")

    def problem(self, fake: Fake, certified: bool) -> tuple[int, str]:
        """What Apple would refuse: status and reason, or (200, "")."""
        headers = self.headers
        authorization = headers.get("authorization")
        if authorization is None and not certified:
            return 403, "MissingProviderToken"
        if authorization is not None and (reason := fake.check_token(authorization)):
            return 403, reason
        if headers[":method"] != "POST":
            return 405, "MethodNotAllowed"
        if not headers[":path"].startswith("/3/device/"):
            return 404, "BadPath"
        return self._message_problem(fake.options.topic)

    def _message_problem(self, topic: str) -> tuple[int, str]:
        headers = self.headers
        push_type, priority = headers.get("push-type", ""), headers.get("priority", "10")
        voip = push_type == "voip"
        checks = {
            "MissingDeviceToken": bool(self.token),
            "DuplicateHeaders": len(set(self.names)) == len(self.names),
            "MissingTopic": "topic" in headers,
            "BadTopic": headers.get("topic", "").startswith(topic),
            "InvalidPushType": bool(re.fullmatch("[a-z]+", push_type)),
            "BadPriority": priority in {"10", "5", "1"} and (push_type, priority) != ("background", "10"),
            "BadExpirationDate": headers.get("expiration", "0").isdigit(),
            "BadCollapseId": len(headers.get("collapse-id", "").encode()) <= 64,
            "BadMessageId": str(UUID(headers["id"])) == headers["id"],
            "PayloadEmpty": bool(self.body),
        }
        for reason, right in checks.items():
            if not right:
                return 400, reason
        return (413, "PayloadTooLarge") if len(self.body) > (5120 if voip else 4096) else (200, "")

    def facts(self, status: int, reason: str) -> dict[str, Any]:
        payload = self.body.decode("utf-8", "replace")
        chosen = {name.replace("-", "_"): self.headers.get(name) for name in HEADERS}
        facts = {"token": self.token, "apns_id": self.headers.get("id"), "payload": payload}
        return facts | chosen | {"status": status, "reason": reason, "time": time.time()}


class Secure(asyncio.Protocol):
    """TLS. asyncio's own ends a handshake that fails without telling the client why."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._shaken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        plain = b""
        try:
            if not self._shaken:
                self.tls.do_handshake()
                self._shaken = True
                self.begun()
            while chunk := self.tls.read(65536):
                plain += chunk
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.transport.write(self._outgoing.read())
            self.transport.close()
            return
        self.transport.write(self._outgoing.read())
        if plain:
            self.received(plain)

    def write(self, data: bytes) -> None:
        self.tls.write(data)
        self.transport.write(self._outgoing.read())

    def begun(self) -> None:
        raise NotImplementedError

    def received(self, data: bytes) -> None:
        raise NotImplementedError


class Session(Secure):
    """A connection."""

    def __init__(self, fake: Fake, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.fake = fake
        self.counters = fake.counters
        self.options = fake.options
        self.requests: dict[int, Request] = {}
        self.unanswered = 0
        self.decided = 0
        self.last_id = LARGEST_ID
        self.leaving = False
        self.accepted: deque[str] = deque(maxlen=REMEMBERED)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.counters["open"] += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.counters["open"] -= 1

    def begun(self) -> None:
        self.certified = bool(self.tls.getpeercert(binary_form=True))
        self.is_http2 = self.tls.selected_alpn_protocol() == "h2"
        if self.is_http2:
            self.counters["connections"] += 1
            self.limit = self.options.max_streams if self.certified else 1
            self.h2 = ServerConnection(self.limit, self.options.window)
            self.h2.initiate_connection()
            self.flush()

    def received(self, data: bytes) -> None:
        if not self.is_http2:
            self.tell_stats()
            return
        try:
            for event in self.h2.receive_data(data):
                self.happened(event)
        except H2Error as error:
            self.counters["protocol errors"] += 1
            sys.stderr.write(f"the client breaks HTTP/2: {error!r}\n")
            self.transport.close()
            return
        self.flush()

    def tell_stats(self) -> None:
        body = json.dumps(self.fake.stats()).encode()
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.write(head + body)
        self.transport.close()

    def flush(self) -> None:
        if (data := self.h2.data_to_send()) and not self.transport.is_closing():
            self.write(data)

    def happened(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            self.opened(event.stream_id, Request(cast(Any, event.headers)))
        elif isinstance(event, events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self.requests:
                self.requests[event.stream_id].body += event.data
        elif isinstance(event, events.StreamEnded):
            if event.stream_id in self.requests:
                self.decide(event.stream_id, self.requests[event.stream_id])
        elif isinstance(event, events.StreamReset):
            self.counters["resets"] += 1
            self.requests.pop(event.stream_id, None)
        elif isinstance(event, events.PingReceived):
            self.counters["pings"] += 1
        elif isinstance(event, events.ConnectionTerminated):
            self.counters["goodbyes"] += 1

    def opened(self, stream_id: int, request: Request) -> None:
        self.counters["streams"] += 1
        if stream_id > self.last_id:
            self.counters["ignored"] += 1
            return
        self.requests[stream_id] = request
        self.counters["most streams"] = max(self.counters["most streams"], len(self.requests))
        if len(self.requests) > self.limit:
            self.counters["violations"] += 1
            self.reset(stream_id, ErrorCodes.REFUSED_STREAM)

    # Decisions

    def decide(self, stream_id: int, request: Request) -> None:
        if self.transport.is_closing():  # dropped: what came along is not looked at
            return
        words = request.token.split(".")
        if words[0] == "once":
            words = ["200"] if request.token in self.fake.seen else words[1:]
            self.fake.seen.add(request.token)
        act = getattr(self, f"do_{words[0]}", None)
        if act is not None:
            act(stream_id, request, words)
        elif not self.fail_by_chance(stream_id, request):
            self.answer(stream_id, request, words)
        self.decided += 1
        if self.decided == self.options.goaway_every:
            self.go_away(stream_id)

    def fail_by_chance(self, stream_id: int, request: Request) -> bool:
        dice = self.fake.chance.random() * 100
        if dice < self.options.drop_percent:
            act = self.do_dropbefore if dice < self.options.drop_percent / 2 else self.do_dropafter
            act(stream_id, request, [])
            return True
        if dice < self.options.drop_percent + self.options.fail_percent:
            self.answer(stream_id, request, self.fake.chance.choice(_FAILURES))
            return True
        return False

    def answer(self, stream_id: int, request: Request, words: list[str], delay: float | None = None) -> None:
        """Record a decision and answer, now or later."""
        status, reason = request.problem(self.fake, self.certified)
        if status == 200 and re.fullmatch("[1-5][0-9][0-9]", words[0]):
            status, reason = int(words[0]), words[1] if len(words) > 1 else ""
        self.fake.record(request.facts(status, reason))
        if status == 200:
            self.accepted.append(request.headers["id"])
        self.counters[f"status {status}"] += 1
        headers = [(":status", str(status)), ("apns-id", request.headers.get("id", ""))]
        if words[2:] and words[2].isdigit():
            headers.append(("retry-after", words[2]))
        seconds = self.options.delay_ms / 1000 if delay is None else delay
        self.unanswered += 1
        later = partial(self.answer_later, stream_id, headers, _body(status, reason))
        if seconds == math.inf:
            self.fake.held.append(later)
        elif seconds:
            asyncio.get_running_loop().call_later(seconds, later)
        else:
            self.answer_now(stream_id, headers, _body(status, reason))

    def answer_later(self, stream_id: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer_now(stream_id, headers, body)
        self.flush()

    def answer_now(self, stream_id: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.unanswered -= 1
        if self.requests.pop(stream_id, None) is not None:
            self.h2.send_headers(stream_id, headers, end_stream=not body)
            if body:
                self.h2.send_data(stream_id, body, end_stream=True)
            del self.h2.streams[stream_id]
            if headers[0][1] == "200" and self.limit < self.options.max_streams:
                self.limit = self.options.max_streams
                self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self.limit})
        self.leave_when_done()

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        del self.requests[stream_id]
        self.h2.reset_stream(stream_id, code)

    def go_away(self, last_id: int, reason: str = "") -> None:
        """Look at nothing after a stream; answer the others, then close."""
        self.counters["goaways"] += 1
        self.last_id = last_id
        for stream_id in [each for each in self.requests if each > last_id]:
            del self.requests[stream_id]
            self.counters["ignored"] += 1
        text = json.dumps({"reason": reason}).encode() if reason else None
        self.h2.close_connection(last_stream_id=last_id, additional_data=text)
        self.leaving = True
        self.leave_when_done()

    def leave_when_done(self) -> None:
        if self.leaving and not self.unanswered:
            self.flush()
            # The client comes first: a close while it sends could cost it answers that it has not read yet.
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.close)

    # Scripts

    def do_delay(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.answer(stream_id, request, ["200"], float(words[1]) / 1000)

    def do_release(self, stream_id: int, request: Request, words: list[str]) -> None:
        while self.fake.held:
            self.fake.held.pop(0)()
        self.answer(stream_id, request, ["200"])

    def do_silent(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.fake.record(request.facts(0, "silent"))

    def do_freeze(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.fake.record(request.facts(0, "freeze"))
        self.transport.pause_reading()

    def do_expired(self, stream_id: int, request: Request, words: list[str]) -> None:
        token = request.headers["authorization"]
        first = self.fake.expired.setdefault(request.token, token)
        self.answer(stream_id, request, ["403", "ExpiredProviderToken"] if first == token else ["200"])

    def do_refuse(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.reset(stream_id, ErrorCodes.REFUSED_STREAM)

    def do_reset(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.reset(stream_id, ErrorCodes.INTERNAL_ERROR)

    def do_goawayafter(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.answer(stream_id, request, ["200"])
        self.go_away(stream_id)

    def do_goawaybefore(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.go_away(max(0, stream_id - 2))

    def do_goawaygraceful(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.h2.close_connection(last_stream_id=LARGEST_ID)
        self.answer(stream_id, request, ["200"])
        asyncio.get_running_loop().call_later(0.05, self.go_away, stream_id)

    def do_goawayreason(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.go_away(max(0, stream_id - 2), words[1])

    def do_dropbefore(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.counters["drops"] += 1
        # The answers to what was accepted last on this connection may not have come either.
        self.fake.record(request.facts(0, "dropped") | {"accepted": list(self.accepted)})
        self.transport.abort()

    def do_dropafter(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.fake.record(request.facts(200, "dropafter"))
        self.do_dropbefore(stream_id, request, words)

    def do_garbage(self, stream_id: int, request: Request, words: list[str]) -> None:
        self.write(b"\0\0\x05\x01\x04\0\0\0\x01HELLO")


_FAILURES: Final = (["500", "InternalServerError"], ["503", "ServiceUnavailable"], ["503", "Shutdown"])


def _body(status: int, reason: str) -> bytes:
    if status == 200:
        return b""
    if reason == "html":
        return b"<html>no JSON</html>"
    facts: dict[str, str | int] = {"reason": reason}
    return json.dumps(facts | {"timestamp": DIED} if status == 410 else facts).encode()


def _context(options: Options) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    context.set_alpn_protocols(["http/1.1"] if options.no_http2 else ["h2", "http/1.1"])
    if options.tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if options.client_ca:
        context.load_verify_locations(options.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _parse() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--client-ca", help="ask for certificates that this authority has signed")
    parser.add_argument("--token-key", type=Path, help="the public key (PEM) to verify provider tokens with")
    parser.add_argument("--topic", default="", help="how the topics of all requests must begin")
    parser.add_argument("--max-streams", type=int, default=500, help="after the first success; before it 1")
    parser.add_argument("--window", type=int, default=65535, help="how much a stream may send at first")
    parser.add_argument("--delay-ms", type=float, default=0, help="before an answer")
    parser.add_argument("--fail-percent", type=float, default=0, help="500 or 503")
    parser.add_argument("--drop-percent", type=float, default=0, help="connections dropped, by requests")
    parser.add_argument("--goaway-every", type=int, default=0, help="requests on a connection")
    parser.add_argument("--no-http2", action="store_true")
    parser.add_argument("--tls12", action="store_true", help="nothing newer")
    return parser.parse_args(namespace=Options())


async def serve(options: Options) -> None:
    fake = Fake(options)
    loop = asyncio.get_running_loop()
    context = _context(options)
    server = await loop.create_server(lambda: Session(fake, context), "127.0.0.1", options.port, backlog=1000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    logging.getLogger("hpack").setLevel(logging.WARNING)
    asyncio.run(serve(_parse()))
