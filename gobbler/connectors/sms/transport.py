"""HTTP to the provider, through `requests`; above all: whether a request that failed was written.

    connect (name, TCP, TLS) --fails--> nothing was written: it may be tried again
       | done
    write, read the answer ----fails--> it may have been carried out: nobody knows

The exceptions of requests and urllib3 do not tell these apart: a time-out of the TLS handshake is a
ReadTimeout, and a handshake that the server breaks off is the same ProtocolError as an answer that it
breaks off. So connections are of a class of ours, which raises `_NotConnected`, and nothing else, for
whatever goes wrong before there is a connection.

A server may close a kept connection in the moment in which it is used again, and the request would be
lost without anyone knowing. urllib3 looks for the end of a connection before it uses it; in addition,
one that was idle for more than IDLE_SECONDS is not used again, as servers keep them for longer.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import gevent
import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError, NewConnectionError, ReadTimeoutError

from gobbler.connectors.sms.answer import Reply
from gobbler.errors import ConfigError

IDLE_SECONDS: Final = 1.0
"""How long a connection may be idle and still be used again; servers keep them for 2 s and more."""

ANSWER_BYTES: Final = 64 << 10
"""No answer is read beyond this; ten parts take 2 KiB."""

_NO_ANSWER: Final = "there was no whole answer in time"

_HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "Gobbler",
}


class Timeouts(NamedTuple):
    """Seconds: to connect, to wait for the next bytes of an answer, and for all of it together.

    A time-out while reading leaves an outcome that nobody knows, so it is a patient one.
    """

    connect: float = 10.0
    read: float = 30.0
    whole: float = 60.0


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no answer; `written`: the request may have been carried out. `text` names no address."""

    written: bool
    text: str


class _NotConnected(NewConnectionError):
    """Nothing was written, as there was no connection."""


class _Late(gevent.Timeout):
    """`Timeouts.whole` is over. A class of its own, so that no other time-out is taken for it."""


class _Watched:
    """What our connections add to urllib3's: errors of connecting, and when they were last used."""

    last_used = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether the connection may be used again."""
        fresh = time.monotonic() - self.last_used < IDLE_SECONDS
        return fresh and bool(super().is_connected)  # type: ignore[misc]

    def connect(self) -> None:
        """Connect. Raises: _NotConnected, whatever goes wrong."""
        try:
            super().connect()  # type: ignore[misc]
        except (OSError, HTTPError, _Late) as error:
            raise _NotConnected(self, _told(error)) from error  # type: ignore[arg-type]

    def getresponse(self) -> Any:
        """Return the head of the answer."""
        response = super().getresponse()  # type: ignore[misc]
        self.last_used = time.monotonic()
        return response


class _PlainConnection(_Watched, HTTPConnection):
    """For an endpoint without TLS."""


class _SecureConnection(_Watched, HTTPSConnection):
    """For an endpoint with TLS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Keeps as many connections as are used at once, tries once, trusts what its context trusts."""

    def __init__(self, context: ssl.SSLContext, connections: int) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Give all connections one context: requests has each read all certificates anew."""
        host, _ = super().build_connection_pool_key_attributes(request, True, cert)
        secure = {"cert_reqs": "CERT_REQUIRED", "ssl_context": self._context}
        return host, secure if host["scheme"] == "https" else {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: it would make connections trust the public certificates as well."""


class Transport:
    """Posts forms to one address; for many greenlets at once."""

    def __init__(self, url: str, ca_file: Path | None, connections: int, timeouts: Timeouts) -> None:
        """Get ready to have up to `connections` requests under way; connect to nobody.

        Raises: ConfigError: the address or the certificates to trust cannot be used.
        """
        self._request = _request(url)
        self._timeouts = timeouts
        # Without a session: there are no cookies, redirections, proxies and passwords from the
        # environment to be had, and each request costs a quarter less.
        self._adapter = _Adapter(_context(ca_file), connections)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._adapter.close()

    def post(self, form: bytes) -> Reply | Failure:
        """Post a form, once, and return the answer or what went wrong."""
        try:
            with _Late(self._timeouts.whole):
                return self._post(form)
        except (OSError, HTTPError) as error:  # requests' are among the former; the latter is urllib3's
            return _failure(error)
        except _Late:
            return Failure(True, _NO_ANSWER)

    def _post(self, form: bytes) -> Reply:
        request = self._request.copy()
        request.prepare_body(form, None)
        timeouts = (self._timeouts.connect, self._timeouts.read)
        response = self._adapter.send(request, stream=True, timeout=timeouts)
        with response:
            # What else an error says is of no use, and may be long in coming.
            fine = response.status_code == 200
            body = response.raw.read(ANSWER_BYTES + 1, decode_content=True) if fine else b""
        return Reply(response.status_code, body, response.headers.get("Retry-After", ""))


def _request(url: str) -> requests.PreparedRequest:
    """Return a request without a body."""
    try:
        return requests.Request("POST", url, headers=_HEADERS).prepare()
    except (requests.RequestException, ValueError) as error:
        raise ConfigError("--sms-endpoint: is not an address that can be used") from error


def _context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what checks the provider's certificate."""
    file = ca_file or Path(DEFAULT_CA_BUNDLE_PATH)
    try:
        context = ssl.create_default_context(cafile=str(file))
    except OSError as error:
        problem = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"--sms-ca-file: {str(file)!r} cannot be used: {problem}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _failure(error: OSError | HTTPError) -> Failure:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, _NotConnected):
        return Failure(False, _told(reason.__cause__))
    if isinstance(error, requests.Timeout | ReadTimeoutError):
        return Failure(True, _NO_ANSWER)
    return Failure(True, "the connection broke before the whole answer was there")


def _told(error: BaseException | None) -> str:
    """Say why there is no connection, without the address: what is at the bottom of an error."""
    while error is not None and not isinstance(error, OSError | _Late):
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the provider's certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError | _Late):
        return "no connection in time"
    return getattr(error, "strerror", None) or "no connection"
