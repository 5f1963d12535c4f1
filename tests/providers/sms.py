"""A fake of Vonage's SMS API: HTTP/1.1 over TLS, scripted by the number that an SMS goes to.

A number that begins with 990 is a script; any other is accepted. Digits behind a script are free.

    9900SS      every part has status SS                    990009 4711
    9901SSTT    the first part has status SS, the others TT
    9902HHH     HTTP status HHH; 429 asks to wait 7 seconds, 503 until a date 60 seconds away
    9903K       0 no answer ever · 1 breaks off, and records nothing · 2 breaks off
                3 accepts, then breaks off · 4 accepts, then breaks off within the answer
                5 accepts, then stops within the answer · 6 sends an endless answer, slowly
    9904K       200 with: 0 no JSON · 1 no messages · 2 an empty list · 3 a status that is none
                4 statuses that are numbers (and accepted) · 5 no HTTP · 6 a megabyte
                7 a message that is none
    9905NSS     status SS the first N times, then accepted
    9906K       accepted; the receipt says STATUSES[K]
    9907        refused with status 4 and a text that repeats the credentials and the number
    9908        refused with status 3 and a text of two lines, which is long

A request is checked first as Vonage does: credentials or signature, parameters, alphabet. What was
decided is appended to `--record` before it is answered. `GET /stats` gives counters.
With `--receipts`, what is accepted and names a `callback` has receipts sent there.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import random
import re
import ssl
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

STATUSES = ("delivered", "expired", "failed", "rejected", "accepted", "buffered", "unknown")
WAIT_SECONDS = 7
RECEIPT_TRIES = 50

GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€"
)

Fields = dict[str, str]


class Account:
    """Who may send, and how many requests a second."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.key: str = options.api_key
        self.secret: str = options.api_secret
        self.signature_secret: str = options.signature_secret
        self.method: str = options.signature_method
        self._rate: int = options.rate
        self._recent: list[float] = []

    def refusal(self, fields: Fields) -> str:
        """The status of a request that is wrong as a whole; "" for one that is right."""
        if self._rate and self._too_fast():
            return "1"
        if "sig" in fields and "api_secret" in fields:
            return "32"
        if any(not fields.get(name) for name in ("api_key", "to", "from", "text")):
            return "2"
        if fields["api_key"] != self.key:
            return "4"
        if "sig" in fields:
            return "" if self._signed(fields) else "14"
        return "" if fields.get("api_secret") == self.secret else "4"

    def sign(self, fields: Fields) -> str:
        text = "".join("&" + k + "=" + re.sub("[&=]", "_", fields[k]) for k in sorted(fields)).encode()
        secret = self.signature_secret.encode()
        if self.method == "md5hash":
            return hashlib.md5(text + secret).hexdigest()
        return hmac.new(secret, text, self.method).hexdigest().upper()

    def _signed(self, fields: Fields) -> bool:
        rest = {name: value for name, value in fields.items() if name != "sig"}
        recent = abs(time.time() - int(rest.get("timestamp", "0"))) < 60
        return bool(self.signature_secret) and recent and self.sign(rest) == fields["sig"]

    def _too_fast(self) -> bool:
        now = time.monotonic()
        self._recent = [when for when in self._recent if when > now - 1]
        self._recent.append(now)
        return len(self._recent) > self._rate


def wrong_parameter(fields: Fields) -> str:
    """The status of a request whose parameters are wrong; "" for one that is right."""
    gsm = GSM.issuperset(fields["text"])
    right = (
        re.fullmatch("[0-9]{7,15}", fields["to"])
        and re.fullmatch("[A-Za-z0-9]{1,11}|[0-9]{1,15}", fields["from"])
        and fields.get("type", "text") == ("text" if gsm else "unicode")
        and len(fields.get("client-ref", "")) <= 40
        and 20_000 <= int(fields.get("ttl", "20000")) <= 604_800_000
    )
    if not right:
        return "3"
    return "" if re.match("https?://|$", fields.get("callback", "")) else "23"


def count_parts(text: str) -> int:
    """How many SMS a text takes, by building them."""
    if GSM.issuperset(text):
        pieces = [len(re.sub(r"[\^{}\\\[~\]|€]", "xx", character)) for character in text]
        whole, part = 160, 153
    else:
        pieces = [len(character.encode("utf-16-le")) // 2 for character in text]
        whole, part = 70, 67
    if sum(pieces) <= whole:
        return 1
    parts = [0]
    for piece in pieces:
        if parts[-1] + piece > part:
            parts.append(0)
        parts[-1] += piece
    return len(parts)


class Decision:
    """What to do with a request: the parts' statuses, or an HTTP answer, or how to misbehave."""

    def __init__(
        self, *statuses: str, answer: bytes = b"", behave: str = "", numbers: bool = False, error: str = ""
    ) -> None:
        self.statuses = statuses
        self.answer = answer
        self.behave = behave
        self.numbers = numbers
        self.error = error


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def http_error(status: int) -> bytes:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    after = {429: [f"Retry-After: {WAIT_SECONDS}"], 503: [f"Retry-After: {date}"]}
    return http(status, b"an error", *after.get(status, []), "Location: /elsewhere")


GARBAGE = (
    http(200, b"<html>fine</html>"),
    http(200, b'{"message-count": "1"}'),
    http(200, b'{"message-count": "0", "messages": []}'),
    http(200, b'{"message-count": "1", "messages": [{"status": "fine"}]}'),
    b"",
    b"SMTP 250 fine\r\n\r\n",
    http(200, b"{" + b" " * (1 << 20)),
    http(200, b'{"message-count": "2", "messages": [{"status": "0"}, "fine"]}'),
)
BEHAVIOURS = ("silent", "early", "drop", "accept-drop", "accept-cut", "accept-stop", "drip")


def garbage(kind: int, parts: int) -> Decision:
    answer = GARBAGE[kind]
    return Decision(answer=answer) if answer else Decision(*["0"] * parts, numbers=True)


SCRIPTS: dict[str, Callable[[str, int], Decision]] = {
    "9900": lambda rest, parts: Decision(*[str(int(rest[:2]))] * parts),
    "9901": lambda rest, parts: Decision(str(int(rest[:2])), *[str(int(rest[2:4]))] * (parts - 1)),
    "9902": lambda rest, parts: Decision(answer=http_error(int(rest[:3]))),
    "9903": lambda rest, parts: Decision(*["0"] * parts, behave=BEHAVIOURS[int(rest[0])]),
    "9904": lambda rest, parts: garbage(int(rest[0]), parts),
    "9908": lambda rest, parts: Decision("3", error="no:\n" + "x" * 1000),
}


class Server:
    """All that the connections share."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.account = Account(options)
        self.options = options
        self.stats: Counter[str] = Counter()
        self.chance = random.Random(options.seed)
        self._tries: Counter[str] = Counter()
        self._record = os.open(options.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._tasks: set[asyncio.Task[None]] = set()

    def decide(self, fields: Fields) -> Decision:
        status = self.account.refusal(fields) or wrong_parameter(fields)
        if status:
            return Decision(status)
        chance = self.chance.random() * 100
        if chance < self.options.drop_percent:
            return Decision(behave="drop")
        if chance < self.options.drop_percent + self.options.fail_percent / 2:
            return Decision("1")
        if chance < self.options.drop_percent + self.options.fail_percent:
            return Decision(answer=http(503, b"an error"))
        parts = count_parts(fields["text"])
        return self._scripted(fields["to"], parts, fields) or Decision(*["0"] * parts)

    def _scripted(self, to: str, parts: int, fields: Fields) -> Decision | None:
        kind, rest = to[:4], to[4:]
        if kind == "9905" and self._tries[to] < int(rest[0]):
            self._tries[to] += 1
            return Decision(*[str(int(rest[1:3]))] * parts)
        if kind == "9907":
            secrets = (fields[name] for name in ("api_key", "api_secret", "sig", "to") if name in fields)
            return Decision("4", error="no: " + ", ".join(secrets))
        return SCRIPTS[kind](rest, parts) if kind in SCRIPTS else None

    def messages(self, fields: Fields, decision: Decision) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for status in decision.statuses:
            message: dict[str, Any] = {"status": int(status) if decision.numbers else status}
            if status == "0":
                self.stats["messages"] += 1
                message |= {"to": fields["to"], "message-id": f"{self.stats['messages']:016X}"}
                message |= {"remaining-balance": "3.14", "message-price": "0.0333", "network": "12345"}
            else:
                message["error-text"] = decision.error or f"the words for {status}"
            found.append(message)
        return found

    def record(self, fields: Fields, decision: Decision, messages: list[dict[str, Any]]) -> None:
        told = {name: value for name, value in fields.items() if name not in ("api_key", "api_secret", "sig")}
        answer = decision.answer[:40].decode("ascii", "replace").split("\r")[0]
        line = told | {
            "answer": decision.behave or answer or ",".join(decision.statuses),
            "ids": [message["message-id"] for message in messages if "message-id" in message],
            "names": sorted(fields),
        }
        os.write(self._record, json.dumps(line).encode() + b"\n")

    def send_receipts(self, fields: Fields, messages: list[dict[str, Any]]) -> None:
        if self.options.receipts == "none" or not fields.get("callback"):
            return
        for message in messages:
            if message["status"] == "0":
                task = asyncio.create_task(self._send_receipt(fields, message["message-id"]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _send_receipt(self, fields: Fields, message_id: str) -> None:
        receipt = self._receipt(fields, message_id)
        sent = 0
        for _ in range(RECEIPT_TRIES):  # until it is answered with 200, as Vonage does
            status = await self._post_receipt(fields["callback"], receipt)
            self.stats[f"receipts {status}"] += 1
            sent += status == 200
            if sent == self.options.receipt_times:
                return
            await asyncio.sleep(0.05)

    def _receipt(self, fields: Fields, message_id: str) -> Fields:
        scripted = fields["to"].startswith("9906")
        receipt = {
            "msisdn": fields["to"],
            "to": fields["from"],
            "network-code": "12345",
            "messageId": message_id,
            "price": "0.03330000",
            "status": STATUSES[int(fields["to"][4])] if scripted else STATUSES[0],
            "scts": datetime.now(UTC).strftime("%y%m%d%H%M"),
            "err-code": "0",
            "api-key": self.account.key,
            "client-ref": fields.get("client-ref", ""),
            "message-timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        }
        if self.account.signature_secret:
            receipt |= {"timestamp": str(int(time.time())), "nonce": str(uuid.uuid4())}
            receipt["sig"] = self.account.sign(receipt)
        return receipt

    async def _post_receipt(self, callback: str, receipt: Fields) -> int:
        """Send it, and return the HTTP status, or 0."""
        url = urlsplit(callback)
        try:
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
        except OSError:
            return 0
        writer.write(self._receipt_request(url.path, receipt))
        line = await reader.readline()
        writer.close()
        return int(line.split()[1]) if line else 0

    def _receipt_request(self, path: str, receipt: Fields) -> bytes:
        form, kind = urlencode(receipt), "application/x-www-form-urlencoded"
        if self.options.receipts == "get":
            return f"GET {path}?{form} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        if self.options.receipts == "json":
            form, kind = json.dumps(receipt), "application/json"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
        return f"{head}Content-Length: {len(form)}\r\n\r\n{form}".encode()


class Connection(asyncio.Protocol):
    """One client's connection; requests are answered in their order."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.stats.update(("connections", "open"))

    def connection_lost(self, error: Exception | None) -> None:
        self._server.stats["open"] -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._take():
            pass

    def _take(self) -> bool:
        """Handle one request if it is whole; return whether it was."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        found = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
        length = int(found[1]) if found else 0
        if len(rest) < length:
            return False
        self._buffer = rest[length:]
        self._handle(head.split(b" ", 2)[:2], rest[:length])
        return True

    def _handle(self, line: list[bytes], body: bytes) -> None:
        if line == [b"GET", b"/stats"]:
            self._transport.write(http(200, json.dumps(self._server.stats).encode()))
        elif line == [b"POST", b"/sms/json"]:
            self._send_sms(dict(parse_qsl(body.decode(), keep_blank_values=True)))
        else:
            self._transport.write(http(404, b"no such page"))

    def _send_sms(self, fields: Fields) -> None:
        server = self._server
        decision = server.decide(fields)
        accepted = not decision.behave or decision.behave.startswith("accept")
        messages = server.messages(fields, decision) if accepted else []
        server.stats["requests"] += 1
        server.stats[decision.behave or decision.answer[9:12].decode() or ",".join(decision.statuses)] += 1
        if decision.behave != "early":
            server.record(fields, decision, messages)
        body = {"message-count": str(len(messages)), "messages": messages}
        answer = decision.answer or http(200, json.dumps(body).encode(), "Content-Type: application/json")
        self._later(lambda: self._answer(decision.behave, answer))
        server.send_receipts(fields, messages)

    def _later(self, action: Callable[[], None]) -> None:
        if self._server.options.delay_ms:
            asyncio.get_running_loop().call_later(self._server.options.delay_ms / 1000, action)
        else:
            action()

    def _answer(self, behave: str, answer: bytes) -> None:
        if behave == "":
            self._transport.write(answer)
        elif behave in ("early", "drop", "accept-drop"):
            self._transport.abort()
        elif behave == "accept-cut":
            self._transport.write(answer[:-10])
            self._transport.close()
        elif behave == "accept-stop":
            self._transport.write(answer[:-10])
        elif behave == "drip":
            self._transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._drip()

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"1\r\n \r\n")
            asyncio.get_running_loop().call_later(0.05, self._drip)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    for name in ("certificate", "key", "record"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--api-key", default="abcd1234")
    parser.add_argument("--api-secret", default="an-api-secret-0123")
    parser.add_argument("--signature-secret", default="", help="accept signatures, and sign receipts")
    parser.add_argument("--signature-method", default="sha256")
    parser.add_argument("--rate", type=int, default=0, help="more requests a second have status 1")
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--fail-percent", type=float, default=0, help="half status 1, half HTTP 503")
    parser.add_argument("--drop-percent", type=float, default=0, help="read, not accepted, broken off")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--receipts", choices=("none", "get", "form", "json"), default="none")
    parser.add_argument("--receipt-times", type=int, default=1, help="how often each receipt is sent")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    server = Server(options)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: Connection(server), "127.0.0.1", options.port, ssl=context, backlog=1024
    )
    sys.stdout.write(f"{listener.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(parse_options()))
