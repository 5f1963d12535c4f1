"""Through real TLS; what the answers mean is decided elsewhere. The legacy protocol needs no token."""

import json
import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from gobbler.connectors.fcm.reply import Reply
from gobbler.connectors.fcm.transport import ANSWER_BYTES, LIMITS, Limits, Transport, trust
from gobbler.connectors.outcome import Outage
from gobbler.errors import ConfigError
from tests.connectors.fcm.conftest import PATIENT
from tests.connectors.fcm.patched import Task
from tests.ports import refusing_port
from tests.providers.certificates import Authority
from tests.providers.fcm import API_KEY, FakeFcm
from tests.system.server import eventually

HEADERS = {"Authorization": f"key={API_KEY}"}


def transport(fake: FakeFcm, limits: Limits = PATIENT, path: str = "/legacy") -> Transport:
    return Transport("It", fake.url + path, trust(fake.authority.file), 1, limits)


@pytest.fixture
def post(fake: FakeFcm, limits: Limits) -> Iterator["Post"]:
    made = Post(transport(fake, limits))
    yield made
    made.transport.close()


class Post:
    """Posts through one transport, which has one connection."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def __call__(self, token: str) -> Reply | Outage:
        return self.transport.post(HEADERS, json.dumps({"to": token}).encode())


BROKEN = Outage("CONNECTION", "It broke the connection off")


def test_an_answer(post: Post) -> None:
    reply = post("HTTP~503~17:x")
    assert isinstance(reply, Reply)
    assert (reply.status, reply.wait) == (503, "17")
    assert b"<html" in reply.body


def test_a_path_with_a_query(fake: FakeFcm) -> None:
    made = transport(fake, path="/some/where?key=1")
    posted = made.post(HEADERS, b'{"to": "x"}')
    made.close()
    assert isinstance(posted, Reply)
    assert posted.status == 200


def test_google_asks_for_ten_seconds() -> None:
    assert min(LIMITS.connect, LIMITS.read, LIMITS.total) >= 10


# Connections


def test_a_connection_is_kept(post: Post, fake: FakeFcm) -> None:
    before = fake.stats()["connections"]
    for _ in range(5):
        assert isinstance(post("x"), Reply)
    # One is that of the second question.
    assert fake.stats()["connections"] - before == 2


def test_the_server_closed_an_idle_connection(post: Post, fake: FakeFcm) -> None:
    """It is found out before it is used: the next notification is sent, and once."""
    post("x")
    open_before = fake.stats()["open"]
    assert isinstance(post("bye:x"), Reply)
    deadline = eventually()
    while fake.stats()["open"] == open_before:
        deadline.again()
    sent = fake.stats()["requests"]
    assert isinstance(post("x"), Reply)
    assert fake.stats()["requests"] - sent == 1


def test_the_server_says_that_it_closes_the_connection(post: Post) -> None:
    for _ in range(3):
        assert isinstance(post("goodbye:x"), Reply)
    assert isinstance(post("x"), Reply)


@pytest.mark.parametrize(
    ("token", "outage", "limits"),
    [
        ("drop:x", BROKEN, PATIENT),
        ("drop_after:x", BROKEN, PATIENT),
        ("reset:x", BROKEN, PATIENT),
        ("nonsense:x", BROKEN, PATIENT),
        ("truncated:x", BROKEN, PATIENT),
        # The next is answered, and in time.
        ("silent:x", Outage("TIMEOUT", "It did not answer in time"), replace(PATIENT, read=2.0)),
    ],
)
def test_no_answer(post: Post, fake: FakeFcm, token: str, outage: Outage) -> None:
    """Nobody knows what became of it, so it is not sent again here; the connection is not used again."""
    sent = fake.stats()["requests"]
    assert post(token) == outage
    assert fake.stats()["requests"] - sent == 1
    assert isinstance(post("x"), Reply)


def test_an_answer_without_end_is_cut_off(post: Post) -> None:
    reply = post("huge:x")
    assert reply == Reply(200, b" " * ANSWER_BYTES)
    assert isinstance(post("x"), Reply)


def test_an_answer_that_drips_is_given_up(fake: FakeFcm) -> None:
    """Each byte comes in time, all of them never do. One connection: it must not get lost by that."""
    told = Task(
        f"{fake.url}/legacy",
        str(fake.authority.file),
        api_key=API_KEY,
        tokens=["drip:x", "x"],
        sends=2,
        limits=(10.0, 10.0, 4.0),
    ).run()
    assert told["outcomes"] == {"Outage TIMEOUT": 1, "Sent": 1}
    assert 3.0 <= told["seconds"] < 10.0  # the other may take 4.0 as well


def test_nobody_is_there(fake: FakeFcm) -> None:
    with refusing_port() as port:
        url = f"https://127.0.0.1:{port}"
        outage = Transport("It", url, trust(fake.authority.file), 1, PATIENT).post({}, b"x")
    assert outage == Outage("CONNECTION", "It cannot be reached: [Errno 111] Connection refused")


def test_a_connection_is_closed_before_it_is_used(post: Post, fake: FakeFcm) -> None:
    sent = fake.stats()["requests"]
    fake.script(refuse=1)
    outage = post("x")
    assert isinstance(outage, Outage)
    assert outage.reason in ("CONNECTION", "TLS")
    assert isinstance(post("x"), Reply)
    assert fake.stats()["requests"] - sent == 1


def test_nobody_shakes_hands(fake: FakeFcm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        made = Transport("It", url, trust(fake.authority.file), 1, replace(PATIENT, connect=0.2))
        assert made.post({}, b"x") == Outage("TIMEOUT", "It did not answer in time")


def test_closed(post: Post) -> None:
    post("x")
    post.transport.close()
    post.transport.close()
    assert post("x") == Outage("STOPPED", "the connector is stopping")


def test_closing_lets_what_is_in_use_finish(post: Post, fake: FakeFcm) -> None:
    replies: list[Reply | Outage] = []
    thread = threading.Thread(target=lambda: replies.append(post("slow~inf:x")))
    thread.start()
    deadline = eventually()
    while fake.stats()["in_flight"] < 2:  # and the question itself
        deadline.again()
    post.transport.close()
    fake.script(release=True)
    thread.join()
    assert isinstance(replies[0], Reply)


def test_idle_connections_are_kept_alive(post: Post, fake: FakeFcm) -> None:
    post("x")
    all_of_us = psutil.Process().net_connections("tcp")
    (ours,) = (one for one in all_of_us if getattr(one.raddr, "port", 0) == fake.port)
    with socket.socket(fileno=os.dup(ours.fd)) as copy:
        assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


# Trust


def test_who_is_not_trusted(fake: FakeFcm) -> None:
    made = Transport("It", fake.url, trust(None), 1, PATIENT)
    outage = made.post(HEADERS, b"x")
    assert isinstance(outage, Outage)
    assert outage.reason == "TLS"
    assert "CERTIFICATE_VERIFY_FAILED" in outage.text


def test_a_certificate_for_another_name(fake: FakeFcm) -> None:
    url = fake.url.replace("127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", 0)) as listener:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pair = fake.authority.pair()
        context.load_cert_chain(pair.certificate, pair.key)
        url = f"https://127.0.0.2:{listener.getsockname()[1]}"
        thread = threading.Thread(target=_shake_hands, args=(listener, context))
        thread.start()
        outage = Transport("It", url, trust(fake.authority.file), 1, PATIENT).post(HEADERS, b"x")
        thread.join()
    assert isinstance(outage, Outage)
    assert outage.reason == "TLS"
    assert "not valid for '127.0.0.2'" in outage.text


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    client, _ = listener.accept()
    with client, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(client, server_side=True).recv(1)


def test_the_public_certificates_are_checked_too() -> None:
    context = trust(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(ConfigError, match=f"--fcm-ca-file: {missing} .*No such file or directory"):
        trust(missing)
    empty = tmp_path / "empty.pem"
    empty.write_text("not a certificate")
    with pytest.raises(ConfigError, match=f"--fcm-ca-file: {empty} has no certificates to trust"):
        trust(empty)


def test_another_authority_than_that_of_the_file(fake: FakeFcm, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    outage = Transport("It", fake.url, trust(other.file), 1, PATIENT).post(HEADERS, b"x")
    assert isinstance(outage, Outage)
    assert outage.reason == "TLS"


def test_without_tls() -> None:
    """For a gateway in a network of one's own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_once, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/send"
        reply = Transport("It", url, trust(None), 1, PATIENT).post({}, b"x")
        thread.join()
    assert reply == Reply(200, b"until the end")


def _answer_once(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client, client.makefile("rwb") as stream:
        while stream.readline() != b"\r\n":
            pass
        assert stream.read(1) == b"x"
        stream.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")


def test_the_log_has_no_headers(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    post("echo:x")
    assert "/legacy" in caplog.text
    assert API_KEY not in caplog.text
