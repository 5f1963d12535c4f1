"""Servers with connectors that are turned on, each against its fake provider."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.providers.certificates import Authority
from tests.providers.process import Provider
from tests.providers.service_account import ServiceAccount
from tests.system.server import ServerProcess, eventually

SMS_SECRET = "an-api-secret-0123"
TOPIC = "com.example.app"


class Kind(NamedTuple):
    """A connector: its fake, the options that turn it on, and what a record of the fake says."""

    name: str
    provider: Callable[[Path, Authority, tuple[str, ...]], Provider]
    options: Callable[[Path, Provider], list[str]]
    body: Callable[[dict[str, Any]], str]
    """The body of the message that a record is about."""
    unanswered: Callable[[dict[str, Any]], bool]
    """Whether a record is of a notification that was accepted, but whose answer cannot have come."""


def _fcm(folder: Path, authority: Authority, options: tuple[str, ...]) -> Provider:
    account = ServiceAccount(folder)
    return Provider(
        "tests.providers.fcm",
        folder,
        "--public-key",
        str(account.public_key),
        *options,
        authority=authority,
    )


def _fcm_options(folder: Path, provider: Provider) -> list[str]:
    file = ServiceAccount(folder).write(f"{provider.url}/token")
    return [
        "--fcm",
        "--fcm-endpoint", provider.url,
        "--fcm-service-account-file", str(file),
        "--fcm-ca-file", str(provider.authority.file),
    ]  # fmt: skip


def _apns(folder: Path, authority: Authority, options: tuple[str, ...]) -> Provider:
    return Provider("tests.providers.apns", folder, *options, authority=authority)


def _apns_options(folder: Path, provider: Provider) -> list[str]:
    file = folder / "AuthKey.p8"
    if not file.exists():
        file.write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return [
        "--apns",
        "--apns-endpoint", provider.url,
        "--apns-app-topic", TOPIC,
        "--apns-key-file", str(file),
        "--apns-key-id", "ABC123DEFG",
        "--apns-team-id", "DEF123GHIJ",
        "--apns-ca-file", str(provider.authority.file),
    ]  # fmt: skip


def _sms(folder: Path, authority: Authority, options: tuple[str, ...]) -> Provider:
    return Provider("tests.providers.sms", folder, *options, authority=authority)


def _sms_options(folder: Path, provider: Provider) -> list[str]:
    return [
        "--sms",
        "--sms-endpoint", f"{provider.url}/sms/json",
        "--sms-api-key", "abcd1234",
        "--sms-api-secret", SMS_SECRET,
        "--sms-from", "Gobbler",
        "--sms-rate", "1000",
        "--sms-ca-file", str(provider.authority.file),
    ]  # fmt: skip


def _fcm_body(record: dict[str, Any]) -> str:
    return str(record["payload"]["data"]["message"])


def _apns_body(record: dict[str, Any]) -> str:
    return str(json.loads(record["payload"])["aps"]["alert"])


FCM = Kind("fcm", _fcm, _fcm_options, _fcm_body, lambda one: one.get("how") == "drop_after")
APNS = Kind("apns", _apns, _apns_options, _apns_body, lambda one: bool(one["reason"] == "dropafter"))
SMS = Kind("sms", _sms, _sms_options, lambda one: str(one["text"]), lambda one: False)


class Connected:
    """Fakes of some kinds and a server with their connectors on; a context manager.

    `fakes` are options of all fakes, `options` the server's. The server may be killed and started
    again: `server`.
    """

    def __init__(
        self, folder: Path, *kinds: Kind, options: tuple[str, ...] = (), fakes: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.kinds = kinds
        self.fakes = {kind.name: kind.provider(folder, self.authority, fakes) for kind in kinds}
        self._options = options
        self._open = ExitStack()
        self.server: ServerProcess

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for fake in self.fakes.values():
                opening.enter_context(fake)
            given = [part for kind in self.kinds for part in kind.options(self.folder, self.fakes[kind.name])]
            self.server = ServerProcess(self.folder / "data", *given, *self._options)
            opening.enter_context(_killed(self.server))
            self.server.start()
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def restart(self) -> None:
        """Kill the server with -9, and start it again on what it left."""
        self.kill()
        self.server.start()

    def kill(self) -> None:
        """Kill the server with -9, and wait until its providers have read all that it has sent them."""
        self.server.kill()
        deadline = eventually()
        for fake in self.fakes.values():
            while fake.stats()["open"] > 1:  # beside the one that asks
                deadline.again()

    def publish(self, path: str, body: str, query: str = "") -> None:
        """Publish, and fail unless it is stored."""
        status, text = self.server.request("POST", f"/api/message{path}{query}", body.encode())
        assert status == 200, text

    def subscribe(self, name: str, token: str, user: str, topic: str) -> None:
        """Subscribe a device."""
        status, text = self.server.request("POST", f"/{name}/{token}/{user}{topic}")
        assert (status, text) == (200, b'{"subscribed":"%b"}\n' % topic.encode()), text

    def received(self, name: str) -> list[dict[str, Any]]:
        """Return what a fake has recorded."""
        return self.fakes[name].received()


def _killed(server: ServerProcess) -> AbstractContextManager[object]:
    stack = ExitStack()
    stack.callback(lambda: server.kill() if hasattr(server, "_process") else None)
    return stack
