"""Options whose effect shows only in a whole server; those of pages are in tests/admin."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from gobbler.config import load
from tests.system.client import Client
from tests.system.server import ServerProcess, eventually

KIB = 1024


def segments(server: ServerProcess) -> list[str]:
    return sorted(path.name for path in server.folder.glob("messages/*/*.log"))


def publish(server: ServerProcess, count: int) -> None:
    with Client(server.port) as client:
        client.publish(b"/foo", [b"x" * KIB] * count, window=10)


def first_kept(server: ServerProcess, count: int) -> int:
    """Ask for everything; return the first id that comes, behind the gap that is told."""
    with Client(server.port) as client:
        client.send(b"+ /foo 1")
        while not (payload := client.next()).startswith(b"/foo,"):
            if payload.startswith(b"!error-gap /foo "):
                first, last = map(int, payload.split()[2:])
        kept = int(payload.split(b",")[1])
        assert (first, last) == (1, kept - 1)
        client.take(kept + 1, count)
        return kept


def test_segment_bytes(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--segment-bytes", "64KiB") as server:
        publish(server, 300)
        assert 4 <= len(segments(server)) <= 6


@pytest.mark.parametrize(
    ("option", "value", "left"), [("--retention-bytes", "130KiB", 3), ("--retention-age", "1s", 1)]
)
def test_retention(tmp_path: Path, option: str, value: str, left: int) -> None:
    with ServerProcess(tmp_path / "data", "--segment-bytes", "64KiB", option, value) as server:
        publish(server, 500)
        deadline = eventually()
        while len(segments(server)) > left:
            deadline.again()
        publish(server, 1)
        assert first_kept(server, 501) > 250


def test_ms_memory_bytes(tmp_path: Path) -> None:
    options = ("--ms", "memory", "--ms-memory-bytes", "1MiB", "--kvs", "memory")
    with ServerProcess(tmp_path / "data", *options) as server:
        publish(server, 3000)
        assert 1500 < first_kept(server, 3000) < 2500


def test_a_memory_store_goes_on_with_its_ids_after_a_restart(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data", "--ms", "memory")
    with server:
        publish(server, 5)
        assert server.stop() == 0
    with server, Client(server.port) as client:
        assert client.publish(b"/foo", [b"x"])[0] > 5


@pytest.mark.parametrize("fsync", ["always", "0.1", "never"])
def test_fsync(tmp_path: Path, fsync: str) -> None:
    server = ServerProcess(tmp_path / "data", "--fsync", fsync)
    with server:
        publish(server, 20)
        server.well()
        assert server.stop() == 0
    with server, Client(server.port) as client:
        assert client.publish(b"/foo", [b"x"]) == [21]


@pytest.mark.parametrize("size", [1, 999, 1000])
def test_max_message_size_is_the_largest_body(tmp_path: Path, size: int) -> None:
    options = ("--ms", "memory", "--kvs", "memory", "--max-message-size", "1000")
    with ServerProcess(tmp_path / "data", *options) as server, Client(server.port) as client:
        assert client.publish(b"/foo", [b"x" * size]) == [1]
        assert server.request("POST", "/api/message/foo", b"x" * size) == (200, b"OK")
        assert client.ask(b"> /foo m\n\n" + b"x" * 1001).startswith(
            b"!error-send m message is larger than 1000 bytes\n"
        )
        refused = server.request("POST", "/api/message/foo", b"x" * 1001)
        assert refused == (413, b"message is larger than 1000 bytes\n")


FCM = ("--fcm", "--fcm-service-account-file")
APNS = ("--apns", "--apns-app-topic", "com.example")
SMS = ("--sms", "--sms-api-key", "k3y", "--sms-api-secret", "s3cret")
TOKEN = ("--apns-key-id", "KEY", "--apns-team-id", "TEAM", "--apns-key-file")


@pytest.mark.parametrize(
    "options",
    [
        (*FCM, "no-such-file"),
        (*APNS, "--apns-cert-file", "no-such-file"),
        (*APNS, *TOKEN, "no-such-file"),
        (*APNS, "--apns-cert-bytes", "5011"),
        (*SMS, "--sms-ca-file", "no-such-file"),
        (*SMS, "--sms-from", "no sender"),
        ("--kafka-brokers", "127.0.0.1:1", "--kafka-security=ssl", "--kafka-ca-file=no-such-file"),
    ],
)
def test_what_the_server_cannot_use_is_one_line_and_status_2(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    server = ServerProcess(tmp_path / "data", "--log", "error", *options)
    server.launch()
    assert server.wait() == 2
    (line,) = server.lines
    assert line.startswith("gobbler: ")
    assert "s3cret" not in line


def certificate(password: str) -> str:
    """Make a certificate with its key as PKCS#12, in hexadecimal."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, SHA256())
    encryption = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"app", key, made, None, encryption).hex()


NOWHERE = "127.0.0.1:1"
GUARDED = {
    "push-retry-delay": "50ms",
    "fcm": "true",
    "fcm-api-key": "fcm-hunter2",
    "fcm-endpoint": f"http://{NOWHERE}/fcm",
    "apns": "true",
    "apns-cert-password": "p12/hunter2",
    "apns-app-topic": "com.example",
    "apns-endpoint": f"https://{NOWHERE}",
    "sms": "true",
    "sms-api-key": "sms-hunter2",
    "sms-api-secret": "secret-hunter2",
    "sms-signature-secret": "signature-hunter2",
    "sms-from": "Gobbler",
    "sms-endpoint": f"http://{NOWHERE}/sms",
    "kafka-brokers": NOWHERE,
    "kafka-security": "sasl_plaintext",
    "kafka-user": "me",
    "kafka-password": "kafka-hunter2",
    "sms-kafka-topic": "sms",
    "subscribe-kafka-topic": "subscribe",
}
"""Every secret but the certificate and that of PostgreSQL; every provider is where nobody listens."""


def test_no_secret_is_shown_by_a_server_whose_providers_are_all_dead(tmp_path: Path) -> None:
    options = GUARDED | {"apns-cert-bytes": certificate(GUARDED["apns-cert-password"])}
    env = {"GOBBLER_" + key.replace("-", "_").upper(): text for key, text in options.items()}
    env["DATABASE_URL"] = "postgres://me:pg%2Fhunter2@host/db"
    secrets = load({}, env).secrets()
    assert len([secret for secret in secrets if "hunter2" in secret]) == 7
    with ServerProcess(tmp_path / "data", "--log", "debug", env=env) as server:
        for path in ("fcm/token/marvin/foo", f"apns/{'a0' * 32}/marvin/foo"):
            assert server.request("POST", f"/{path}") == (200, b'{"subscribed":"/foo"}\n')
        assert server.request("POST", "/api/message/foo", b"hello") == (200, b"OK")
        assert server.request("POST", "/api/message/sms", b'{"to": "49123456789", "text": "hi"}')[0] == 200
        deadline = eventually()
        while len(re.findall("gobbler_push_retried_total{.* [2-9]", metrics := page(server, "metrics"))) < 3:
            deadline.again()
        shown = [metrics, *(page(server, name) for name in ("healthcheck", "router", "toggles"))]
        assert server.stop() == 0
    assert server.text
    assert [secret for secret in (*secrets, "hunter2") if secret in server.text + "".join(shown)] == []


def page(server: ServerProcess, name: str) -> str:
    """Return a page of the administration."""
    return server.request("GET", f"/admin/{name}")[1].decode()
