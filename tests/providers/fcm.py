"""A fake FCM: HTTP v1, the legacy protocol and the OAuth token endpoint, HTTP/1.1 over TLS.

    python -m tests.providers.fcm --port 0 --certificate FILE --key FILE --record FILE [more options]

| request | |
|---|---|
| POST /v1/projects/<project>/messages:send | HTTP v1: checked as FCM checks it |
| POST /token | OAuth: an access token for an assertion (RS256, checked with `--public-key`) |
| GET /stats | counters, violations of the protocols, and the tokens granted, as JSON |
| POST /script | new values for members of `Behaviour`; `revoke` all tokens, `forgive` all violations |
| POST any other path | the legacy protocol |

What a device's token begins with decides what becomes of its notifications: `<name>[~<argument>]:...`
with a name of `V1` or `LEGACY` (the argument is for Retry-After: seconds, or `date` and seconds), or:

| name | |
|---|---|
| HTTP~<status>[~<Retry-After>] | this status, with a page of HTML |
| first~<n>~<name>[~<argument>] | the first n attempts as <name>, then as usual |
| canonical~<token> | legacy: sent, and the device has a new token |
| slow~<milliseconds> | sent, answered late; with `inf`, when a `/script` says `release` |
| silent | never answered |
| drop, drop_after, reset | closed instead of answered: before or after it is sent, or with a RST |
| truncated, nonsense, huge, drip | an answer that breaks off, is no HTTP, never ends, never ends slowly |
| garbage, list | 200, but with HTML or an array |
| bye, goodbye | sent, then closed: without and with saying so beforehand |
| echo | 400, and the answer repeats the request and its authorization |

Everything that is decided is recorded before it is answered. No name and no load option: it is sent.
"""

import argparse
import asyncio
import json
import math
import random
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt

from tests.providers.process import Provider
from tests.providers.service_account import EMAIL, PROJECT, ServiceAccount

API_KEY = "AAAAkey-of-the-legacy-protocol"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIMIT = 4096
MEMBERS = {"token", "topic", "condition", "notification", "data", "android", "apns", "webpush", "fcm_options"}

Json = dict[str, Any]


def fcm_error(code: str) -> Json:
    return {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}


def bad_request(name: str) -> Json:
    violation = {"field": name, "description": f"Invalid value at '{name}'"}
    return {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}


def quota_failure(subject: str) -> Json:
    violation = {"subject": subject, "description": f"{subject} exceeded"}
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}


def error_info(reason: str) -> Json:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


# name -> status, canonical code, message, details
V1: dict[str, tuple[int, str, str, list[Json]]] = {
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found.", [fcm_error("UNREGISTERED")]),
    "NOT_FOUND": (404, "NOT_FOUND", "Requested entity was not found.", []),
    "INVALID_TOKEN": (
        400,
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
        [fcm_error("INVALID_ARGUMENT")],
    ),
    "INVALID_TOKEN_FIELD": (
        400,
        "INVALID_ARGUMENT",
        "Request contains an invalid argument.",
        [fcm_error("INVALID_ARGUMENT"), bad_request("message.token")],
    ),
    "INVALID_ARGUMENT": (
        400,
        "INVALID_ARGUMENT",
        "Invalid value at 'message.android.ttl'",
        [fcm_error("INVALID_ARGUMENT"), bad_request("message.android.ttl")],
    ),
    "INVALID_UNNAMED": (400, "INVALID_ARGUMENT", "Request contains an invalid argument.", []),
    "SENDER_ID_MISMATCH": (
        403,
        "PERMISSION_DENIED",
        "SenderId mismatch",
        [fcm_error("SENDER_ID_MISMATCH")],
    ),
    "PERMISSION_DENIED": (403, "PERMISSION_DENIED", "Permission denied", [error_info("SERVICE_DISABLED")]),
    "THIRD_PARTY_AUTH_ERROR": (
        401,
        "UNAUTHENTICATED",
        "Request is missing required authentication credential.",
        [fcm_error("THIRD_PARTY_AUTH_ERROR")],
    ),
    "UNAUTHENTICATED": (
        401,
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials.",
        [error_info("ACCESS_TOKEN_EXPIRED")],
    ),
    "QUOTA_EXCEEDED": (
        429,
        "RESOURCE_EXHAUSTED",
        "Message rate exceeded",
        [fcm_error("QUOTA_EXCEEDED"), quota_failure("message rate")],
    ),
    "DEVICE_QUOTA_EXCEEDED": (
        429,
        "RESOURCE_EXHAUSTED",
        "Device message rate exceeded",
        [fcm_error("QUOTA_EXCEEDED"), quota_failure("device message rate")],
    ),
    "RATE_LIMIT_EXCEEDED": (
        429,
        "RESOURCE_EXHAUSTED",
        "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute'",
        [error_info("RATE_LIMIT_EXCEEDED")],
    ),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered.", [fcm_error("INTERNAL")]),
    "UNAVAILABLE": (
        503,
        "UNAVAILABLE",
        "The service is currently unavailable.",
        [fcm_error("UNAVAILABLE")],
    ),
    "UNSPECIFIED_ERROR": (500, "UNKNOWN", "Unknown Error.", [fcm_error("UNSPECIFIED_ERROR")]),
}

# What stands in `results[0].error` of an answer with status 200.
LEGACY = {
    "MissingRegistration",
    "InvalidRegistration",
    "NotRegistered",
    "InvalidPackageName",
    "MismatchSenderId",
    "InvalidParameters",
    "MessageTooBig",
    "InvalidDataKey",
    "InvalidTtl",
    "Unavailable",
    "InternalServerError",
    "DeviceMessageRateExceeded",
    "TopicsMessageRateExceeded",
    "InvalidApnsCredential",
    "NeverHeardOf",
}

COUNTERS = (
    "connections",
    "open",
    "requests",
    "token_requests",
    "unauthenticated",
    "in_flight",
    "most_in_flight",
)

HTML = b"<!DOCTYPE html><html lang=en><title>Error (Server Error)!!1</title></html>"
JSON_TYPE = "application/json; charset=UTF-8"


class FakeFcm(Provider):
    """Runs the fake; `account` is a service account that it knows, `file` its file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.account = ServiceAccount(folder)
        super().__init__(
            "tests.providers.fcm", folder, "--public-key", str(self.account.public_key), *options
        )

    @property
    def file(self) -> Path:
        return self.account.write(f"{self.url}/token")

    def script(self, **changes: object) -> None:
        self.ask("/script", json.dumps(changes).encode())


@dataclass
class Behaviour:
    """What `/script` can change. `fail_percent` fails with 503; half of `drop_percent` was sent.

    `refuse`: so many of the next connections are closed at once.
    """

    delay_ms: float = 0.0
    fail_percent: float = 0.0
    drop_percent: float = 0.0
    expires_in: int | str | None = 3600
    refuse: int = 0
    token: list[str] = field(default_factory=list)
    """What becomes of the next requests for an access token: a name of above, or an error of OAuth."""
    next: list[str] = field(default_factory=list)
    """What becomes of the next notifications, whatever their tokens say."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """`how` is a name of the second table, where it is more than bytes to write."""

    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})
    how: str = ""
    delay: float = 0.0

    def encode(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Whatever", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def as_json(status: int, value: object) -> Reply:
    return Reply(status, json.dumps(value).encode())


def v1_error(status: int, canonical: str, message: str, details: list[Json]) -> Reply:
    return as_json(
        status, {"error": {"code": status, "message": message, "status": canonical, "details": details}}
    )


def refusal(message: str, *details: Json) -> Reply:
    return v1_error(400, "INVALID_ARGUMENT", message, list(details))


def page(status: int) -> Reply:
    return Reply(status, HTML, {"Content-Type": "text/html; charset=UTF-8"})


class Fake:
    """Decides; knows nothing of connections."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.behaviour = Behaviour(options.delay_ms, options.fail_percent, options.drop_percent)
        self.behaviour.expires_in = options.expires_in
        self.stats: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.violations: list[str] = []
        self.held: list[Callable[[], None]] = []
        self._project = options.project
        self._api_key = options.api_key
        self._public_key = options.public_key and options.public_key.read_bytes()
        self._record = options.record.open("ab", buffering=0)
        self._tokens: dict[str, float] = {}  # access token -> when it expires
        self._attempts: Counter[str] = Counter()

    def violation(self, text: str) -> None:
        if len(self.violations) < 100:
            self.violations.append(text)

    def decide(self, request: Request) -> Reply:
        if request.path == "/stats":
            told = {"violations": self.violations, "granted": [*self._tokens]}
            return as_json(200, {**self.stats, **told})
        if request.path == "/script":
            return self._script(json.loads(request.body))
        if request.path == "/token":
            return self._token(request)
        self.stats["requests"] += 1
        if request.path.startswith("/v1/"):
            return self._v1(request)
        return self._legacy(request)

    def _script(self, changes: Json) -> Reply:
        if changes.pop("revoke", False):
            self._tokens.clear()
        if changes.pop("forgive", False):
            self.violations.clear()
        if changes.pop("release", False):
            while self.held:
                self.held.pop(0)()
        for name, value in changes.items():
            assert hasattr(self.behaviour, name), name
            setattr(self.behaviour, name, value)
        return as_json(200, {})

    # The token endpoint

    def _token(self, request: Request) -> Reply:
        self.stats["token_requests"] += 1
        name, *arguments = self.behaviour.token.pop(0).split("~") if self.behaviour.token else [""]
        if wrong := self._check_assertion(request):
            self.violation(wrong)
            return as_json(400, {"error": "invalid_grant", "error_description": wrong})
        if name in ("", "slow"):
            reply = self._grant()
            reply.delay = float(arguments[0]) / 1000 if arguments else 0.0
            return reply
        if name == "no_token":
            return as_json(200, {"expires_in": 3600, "token_type": "Bearer"})
        if name == "bad_token":
            return as_json(200, {"access_token": "a token\nwith: a header", "expires_in": 3600})
        if name.startswith(("invalid_", "unauthorized_")):
            return as_json(400, {"error": name, "error_description": "Invalid JWT Signature."})
        return shape(name, arguments) or self._grant()

    def _check_assertion(self, request: Request) -> str:
        form = parse_qs(request.body.decode())
        if form.get("grant_type") != [GRANT]:
            return "grant_type is not that of an assertion"
        try:
            if self._public_key:
                claims = jwt.decode(
                    form["assertion"][0], self._public_key, algorithms=["RS256"], audience=AUDIENCE
                )
            else:
                claims = jwt.decode(form["assertion"][0], options={"verify_signature": False})
        except (jwt.InvalidTokenError, KeyError) as error:
            return f"the assertion is not valid: {error!r}"
        if claims.get("iss") != EMAIL or claims.get("scope") != SCOPE:
            return "the assertion has another issuer or scope"
        return ""

    def _grant(self) -> Reply:
        token = f"ya29.{secrets.token_hex(24)}"
        lifetime = self.behaviour.expires_in
        self._tokens[token] = time.monotonic() + (lifetime if isinstance(lifetime, int) else 0)
        return as_json(200, {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"})

    # HTTP v1

    def _v1(self, request: Request) -> Reply:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self._tokens.get(bearer, 0.0) < time.monotonic():
            self.stats["unauthenticated"] += 1
            return v1_error(*V1["UNAUTHENTICATED"])
        if request.path != f"/v1/projects/{self._project}/messages:send":
            return v1_error(*V1["NOT_FOUND"])
        message, wrong = self._read_v1(request)
        if wrong:
            self.violation(json.loads(wrong.body)["error"]["message"])
        token = str(message.pop("token", ""))
        reply = wrong or self._scripted(token, self._v1_named)
        if reply is None:
            reply = as_json(200, {"name": f"projects/{self._project}/messages/{secrets.token_hex(8)}"})
        return self._decided(request, token, message, reply)

    def _read_v1(self, request: Request) -> tuple[Json, Reply | None]:
        """Return the message, and what is wrong with it."""
        try:
            whole = json.loads(request.body.decode())
        except ValueError:
            return {}, refusal("Invalid JSON payload received.")
        if unknown := whole.keys() - {"message", "validate_only"}:
            return {}, refusal(f"Invalid JSON payload received. Unknown name {sorted(unknown)}")
        message = whole.get("message", {})
        return message, check_v1(message)

    def _v1_named(self, name: str) -> Reply | None:
        return v1_error(*V1[name]) if name in V1 else None

    # The legacy protocol

    def _legacy(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"key={self._api_key}":
            self.stats["unauthenticated"] += 1
            return page(401)
        try:
            message = json.loads(request.body.decode())
            token = message.pop("to")
        except (ValueError, KeyError):
            self.violation("legacy: not JSON, or no `to`")
            return Reply(400, b"JSON_PARSING_ERROR", {"Content-Type": "text/plain"})
        if set(message) & {"registration_ids", "condition"} or size(message) > LIMIT:
            self.violation("legacy: other targets, or too large")
            reply: Reply | None = results({"error": "InvalidParameters"})
        else:
            reply = self._scripted(token, self._legacy_named)
        return self._decided(request, token, message, reply or results({"message_id": "0:1"}))

    def _legacy_named(self, name: str) -> Reply | None:
        if name.startswith("canonical~"):
            return results({"message_id": "0:1", "registration_id": name.partition("~")[2]})
        return results({"error": name}) if name in LEGACY else None

    # Both

    def _scripted(self, token: str, named: Callable[[str], Reply | None]) -> Reply | None:
        """Return what the token or the load options ask for, if anything."""
        head, colon, _ = token.partition(":")
        script = self.behaviour.next.pop(0) if self.behaviour.next else head if colon else ""
        name, *arguments = script.split("~")
        if name == "first":
            self._attempts[token] += 1
            if self._attempts[token] > int(arguments[0]):
                return None
            name, *arguments = arguments[1:]
        if reply := named(script):
            return reply
        if reply := named(name):
            if arguments:
                reply.headers["Retry-After"] = retry_after(arguments[0])
            return reply
        return shape(name, arguments) or self._at_random()

    def _at_random(self) -> Reply | None:
        behaviour = self.behaviour
        if behaviour.drop_percent and random.random() * 100 < behaviour.drop_percent:
            return Reply(0, how=random.choice(("drop", "drop_after")))
        if behaviour.fail_percent and random.random() * 100 < behaviour.fail_percent:
            return v1_error(*V1["UNAVAILABLE"])
        return None

    def _decided(self, request: Request, token: str, payload: Json, reply: Reply) -> Reply:
        """Record it, unless it is dropped before it was sent."""
        if reply.how == "echo":
            reply = refusal(f"{request.body.decode()} {request.headers['authorization']}")
        reply.delay = reply.delay or self.behaviour.delay_ms / 1000
        if reply.how in ("drop", "reset", "silent", "nonsense"):
            return reply
        status = reply.status or 200
        self.stats[f"status_{status}"] += 1
        line = {
            "token": token,
            "payload": payload,
            "status": status,
            "how": reply.how,
            "time": time.time(),
            "headers": {name: value for name, value in request.headers.items() if name != "authorization"},
        }
        self._record.write(json.dumps(line).encode() + b"\n")
        return reply


def shape(name: str, arguments: list[str]) -> Reply | None:
    """Return a reply that is the same for all protocols; None: there is none of that name."""
    if name == "HTTP":
        reply = page(int(arguments[0]))
        if arguments[1:]:
            reply.headers["Retry-After"] = retry_after(arguments[1])
        return reply
    if name == "slow":
        return as_sent(delay=float(arguments[0]) / 1000)
    if name in ("garbage", "list"):
        return page(200) if name == "garbage" else as_json(200, [])
    if name in ("bye", "goodbye"):
        closing = {"Connection": "close"} if name == "goodbye" else {}
        return as_sent(how="bye", headers={"Content-Type": JSON_TYPE, **closing})
    if name in ("silent", "drop", "drop_after", "reset", "truncated", "nonsense", "huge", "drip", "echo"):
        return Reply(0, how=name)
    return None


def as_sent(**more: Any) -> Reply:
    """Both protocols understand it."""
    return Reply(200, json.dumps({"name": "projects/x/messages/1", "message_id": 1}).encode(), **more)


def retry_after(argument: str) -> str:
    seconds = argument.removeprefix("date")
    return seconds if seconds == argument else formatdate(time.time() + int(seconds), usegmt=True)


def results(result: Json) -> Reply:
    """A legacy answer for one device."""
    sent = "message_id" in result
    whole = {
        "multicast_id": random.getrandbits(62),
        "success": int(sent),
        "failure": int(not sent),
        "canonical_ids": int("registration_id" in result),
        "results": [result],
    }
    return as_json(200, whole)


def check_v1(message: Json) -> Reply | None:  # noqa: PLR0911 - one for each rule
    """Refuse what FCM would refuse."""
    if unknown := message.keys() - MEMBERS:
        name = sorted(unknown)[0]
        return refusal(f"Invalid JSON payload received. Unknown name \"{name}\" at 'message'")
    if len(message.keys() & {"token", "topic", "condition"}) != 1:
        return refusal("Recipient of the message is not set.", bad_request("message"))
    if wrong := [
        key for key in message.get("data", {}) if key == "from" or key.startswith(("google", "gcm."))
    ]:
        return refusal(f"Invalid data payload key: {wrong[0]}", fcm_error("INVALID_ARGUMENT"))
    if any(not isinstance(value, str) for value in message.get("data", {}).values()):
        return refusal("Invalid value at 'message.data[0].value' (TYPE_STRING)", bad_request("message.data"))
    ttl = message.get("android", {}).get("ttl", "1s")
    if not isinstance(ttl, str) or not ttl.endswith("s"):
        return refusal("Invalid value at 'message.android.ttl'", bad_request("message.android.ttl"))
    if size(message) > LIMIT:
        return refusal("Message is too big", fcm_error("INVALID_ARGUMENT"))
    return None


def size(message: Json) -> int:
    """Keys and values of what reaches the device."""
    parts = [*message.get("data", {}).items(), *message.get("notification", {}).items()]
    return sum(len(key.encode()) + len(str(value).encode()) for key, value in parts)


class Connection(asyncio.Protocol):
    """Reads one request after the other."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake
        self._buffer = b""
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._fake.stats["connections"] += 1
        self._fake.stats["open"] += 1
        if self._fake.behaviour.refuse:
            self._fake.behaviour.refuse -= 1
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._fake.stats["open"] -= 1
        if self._timer:
            self._timer.cancel()
        self._done()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        if self._busy:
            self._fake.violation("a second request before the first was answered")
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        method, path, _ = first.split(" ")
        if "host" not in headers or (method == "POST" and "content-length" not in headers):
            self._fake.violation("no Host or Content-Length")
        self._buffer = rest[length:]
        self._begin(Request(method, path, headers, rest[:length]))

    def _begin(self, request: Request) -> None:
        self._busy = True
        stats = self._fake.stats
        stats["in_flight"] += 1
        stats["most_in_flight"] = max(stats["most_in_flight"], stats["in_flight"])
        reply = self._fake.decide(request)
        if reply.delay == math.inf:
            self._fake.held.append(lambda: self._answer(reply))
        elif reply.delay:
            self._timer = asyncio.get_running_loop().call_later(reply.delay, self._answer, reply)
        else:
            self._answer(reply)

    def _done(self) -> None:
        if self._busy:
            self._busy = False
            self._fake.stats["in_flight"] -= 1

    def _answer(self, reply: Reply) -> None:
        if reply.how == "silent":
            return
        self._done()
        if reply.how in ("drop", "drop_after"):
            self._transport.close()
        elif reply.how == "reset":
            self._transport.abort()
        elif reply.how == "nonsense":
            self._transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            self._transport.close()
        elif reply.how == "truncated":
            self._transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"name": "x"}')
            self._transport.close()
        elif reply.how == "huge":
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
            self._transport.write(b" " * (1 << 20))
        elif reply.how == "drip":
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
            self._drip()
        else:
            self._transport.write(reply.encode())
            if reply.how == "bye":
                self._transport.close()

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b" ")
            self._timer = asyncio.get_running_loop().call_later(0.02, self._drip)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    for name in ("certificate", "key", "record"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--public-key", type=Path)
    parser.add_argument("--project", default=PROJECT)
    parser.add_argument("--api-key", default=API_KEY)
    parser.add_argument("--expires-in", type=int, default=3600)
    for name in ("delay-ms", "fail-percent", "drop-percent"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    fake = Fake(options)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(fake),
        "127.0.0.1",
        options.port,
        ssl=context,
        backlog=1024,
        ssl_shutdown_timeout=0.1,  # clients that keep a connection do not say goodbye
    )
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - see process.py
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(parse_arguments()))
