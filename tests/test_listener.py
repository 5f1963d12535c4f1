"""The listening socket. What a connection may do is in test_handler.py, a taken port in tests/system."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from gevent import socket

from gobbler.app import App
from gobbler.errors import ListenError
from gobbler.kinds import Address
from gobbler.listener import Listener

ADDRESSES = Path("/proc/net/if_inet6")
HAS_IPV6 = ADDRESSES.exists() and 31 * "0" + "1" in ADDRESSES.read_text()  # ::1, on a machine that has it


class Fake:
    """An application that answers with the address that was asked."""

    def pre_start_hook(self, handler: object) -> bool:
        return True

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["REMOTE_ADDR"].encode()]


def listener(host: str) -> Listener:
    return Listener(cast(App, Fake()), Address(host, 0))


def get(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).rpartition(b"\r\n")[2]


def test_no_host_means_all_interfaces_of_both_kinds() -> None:
    made = listener("")
    made.start()
    assert get("127.0.0.1", made.port) in (b"127.0.0.1", b"::ffff:127.0.0.1")
    if HAS_IPV6:
        assert get("::1", made.port) == b"::1"
    made.stop(1)


def test_the_port_is_free_after_the_stop() -> None:
    made = listener("127.0.0.1")
    assert made.port == 0
    made.start()
    port = made.port
    assert get("127.0.0.1", port) == b"127.0.0.1"
    made.stop(1)
    made.stop(1)
    with pytest.raises(ConnectionRefusedError):
        get("127.0.0.1", port)
    again = Listener(cast(App, Fake()), Address("127.0.0.1", port))
    again.start()
    assert again.port == port
    again.stop(1)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "Cannot assign requested address"), ("no-such-host.invalid", "")],
)
def test_an_address_that_cannot_be_had(host: str, reason: str) -> None:
    with pytest.raises(ListenError) as failed:
        listener(host).start()
    assert str(failed.value).startswith(f"cannot listen on {host}:0: {reason}")
    assert "\n" not in str(failed.value)


def test_a_port_that_is_taken() -> None:
    first = listener("127.0.0.1")
    first.start()
    second = Listener(cast(App, Fake()), Address("127.0.0.1", first.port))
    with pytest.raises(ListenError, match=f":{first.port}: Address already in use$"):
        second.start()
    second.stop(1)
    first.stop(1)
