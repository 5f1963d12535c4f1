"""The REST side: publishing with filters, who is subscribed, push subscriptions, administration.

Below is urllib3: any number of threads may use its pool of connections, which `requests` does not promise of
its sessions.
"""

from __future__ import annotations

import json
import os
import secrets
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationValueError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as NoAnswer

from gobbler.client import commands
from gobbler.client.errors import (
    BadAnswer,
    ClientError,
    ConnectionLost,
    NotConnected,
    PublishUnknown,
    Refused,
    Timeout,
)
from gobbler.client.message import Receipt
from gobbler.client.opening import proxy_of, proxy_parts
from gobbler.client.push import Push
from gobbler.errors import BadRequest, MessageTooLarge

_JSON: Final = {"Accept": "application/json"}
_NOT_SENT: Final = (ConnectTimeoutError, LocationValueError, ProxyError, SSLError)
_LONGEST_REASON: Final = 300
_SHORTEST: Final = 0.001  # urllib3 refuses a time-out of 0


class Rest:
    """A server's REST interface, for any number of threads. Connections are opened as they are needed."""

    def __init__(
        self,
        url: str,
        user: str = "",
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 10.0,
    ) -> None:
        """`url` is like `http://localhost:8080`, `user` who publishes, `timeout` in seconds."""
        self._url = url.rstrip("/")
        self._user = user
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._tls = tls
        self._pool: urllib3.PoolManager | None = None
        self._process = 0

    def __repr__(self) -> str:
        """Show where to."""
        return f"<Rest {self._url}>"

    def publish(
        self,
        topic: str,
        body: bytes | str,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
        filters: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Publish a message and wait until it is in the log.

        `headers` are those of the message; the server capitalises each word of their names. `filters` say
        who gets it: those whose parameters (`user_id`, ...) have all of these values.

        Raises:
            BadRequest, MessageTooLarge: there is something wrong with it.
            Refused: the server did not store it.
            NotConnected: it was not sent.
            PublishUnknown: it was sent, but the answer did not come.
        """
        query = {"messageId": message_id if message_id is not None else secrets.token_hex(8)}
        if self._user:
            query["userId"] = self._user
        query |= commands.filter_parameters(filters or {})
        path = f"/api/message{commands.url_path(topic)}?{urlencode(query)}"
        try:
            answer = self.request(
                "POST", path, commands.encode_body(body), commands.http_headers(headers or {}), timeout
            )
        except (Timeout, ConnectionLost) as error:
            raise PublishUnknown(f"not answered: {error}") from error
        return Receipt.decode(answer.data)

    def subscribers(self, topic: str, timeout: float | None = None) -> list[dict[str, str]]:
        """Return the parameters of each route that a message to a topic would go to.

        Raises:
            BadRequest: the topic is not allowed.
            Refused, NotConnected, Timeout: the server did not answer that.
        """
        found = self.json("GET", f"/api/subscribers{commands.url_path(topic)}", timeout=timeout)
        return [dict(params) for params in found]

    def topics(self, prefix: str = "", timeout: float | None = None) -> Iterator[dict[str, Any]]:
        """Yield what each partition holds (docs/protocol.md, `GET /api/topics`), in the order of names.

        `prefix` is how their topics begin; `timeout` is for each page of them.

        Raises:
            BadAnswer: the server does not list them.
            Refused, NotConnected, Timeout: the server did not answer that.
        """
        after: str | None = ""
        while after is not None:
            query = urlencode({"prefix": prefix, "after": after})
            page = self.json("GET", f"/api/topics?{query}", timeout=timeout)
            try:
                yield from page["topics"]
                after = page["next"]
            except (KeyError, TypeError):
                raise BadAnswer("the server's list of topics is not understood") from None

    def push(self, connector: str) -> Push:
        """Return the push subscriptions of a connector: `fcm`, `apns`, or what its prefix is."""
        return Push(self.json, connector)

    def health(self, endpoint: str = "/admin/healthcheck", timeout: float | None = None) -> dict[str, str]:
        """Return what is wrong with the server: check -> problem; empty when all is well.

        Raises:
            Refused, NotConnected, Timeout: the server did not answer that.
        """
        try:
            answer = self.request("GET", endpoint, timeout=timeout, fine=(200, 503))
            return {str(name): str(text) for name, text in _parse(answer).items()}
        except AttributeError:
            raise BadAnswer("the server's health is not understood") from None

    def metrics(self, endpoint: str = "/admin/metrics", timeout: float | None = None) -> str:
        """Return the metrics in Prometheus' text format.

        Raises:
            Refused, NotConnected, Timeout: the server did not answer that.
        """
        text: str = self.request("GET", endpoint, timeout=timeout).data.decode(errors="replace")
        return text

    def toggle(
        self, connectors: Mapping[str, bool], endpoint: str = "/admin/toggles", timeout: float | None = None
    ) -> list[str]:
        """Start (True) or stop connectors; return what the server says of each.

        Raises:
            BadRequest: there is no such connector.
            Refused, NotConnected, Timeout: the server did not do it.
        """
        query = urlencode({name: str(on).lower() for name, on in connectors.items()})
        answer = self.request("POST", f"{endpoint}?{query}", timeout=timeout)
        lines: list[str] = answer.data.decode(errors="replace").splitlines()
        return lines

    def close(self) -> None:
        """Close the connections that are not in use; others will be opened if it is used again."""
        if self._pool is not None:
            self._pool.clear()

    def json(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        fine: tuple[int, ...] = (200,),
        timeout: float | None = None,
    ) -> Any:
        """Make a request; return the JSON of the answer. `body` is sent as JSON where it is not None.

        Raises:
            BadAnswer: it is none.
            BadRequest, Refused, NotConnected, ConnectionLost, Timeout: see `request`.
        """
        raw = None if body is None else json.dumps(body).encode()
        headers = {} if raw is None else {"Content-Type": "application/json"}
        return _parse(self.request(method, path, raw, headers, timeout, fine))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        fine: tuple[int, ...] = (200,),
    ) -> BaseHTTPResponse:
        """Make a request to a path with its query; return the answer, if its status is `fine`.

        Raises:
            BadRequest, MessageTooLarge: 400 and 413, with the server's reason.
            Refused: another status.
            NotConnected: nothing was sent.
            ConnectionLost, Timeout: something was sent, but not answered (in time).
        """
        seconds = self._timeout if timeout is None else timeout
        all_headers = {**_JSON, **self._headers, **(headers or {})}
        try:
            answer = self._attempt(method, path, body, all_headers, seconds)
        except ConnectionLost:
            if method != "GET":
                raise
            # The server may have closed a connection that was kept: once more, on another one.
            answer = self._attempt(method, path, body, all_headers, seconds)
        if answer.status not in fine:
            raise _refusal(answer)
        return answer

    def _attempt(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> BaseHTTPResponse:
        limit = urllib3.Timeout(total=None if timeout == float("inf") else max(timeout, _SHORTEST))
        pool = self._connections()
        try:
            return pool.request(
                method, self._url + path, body=body, headers=headers, timeout=limit, retries=False
            )
        except _NOT_SENT as error:
            raise NotConnected(f"cannot connect to {self._url}: {error}") from error
        except NoAnswer:
            raise Timeout(f"the server has not answered within {timeout:g} s") from None
        except HTTPError as error:
            raise ConnectionLost(f"the connection to {self._url} was lost: {error}") from error

    def _connections(self) -> urllib3.PoolManager:
        """Return the pool. A process that was forked has its own: two must not use one connection."""
        pool, process = self._pool, os.getpid()
        if pool is None or self._process != process:
            # Where two threads come here at once, the pool that is not kept is good for one request.
            pool = self._pool = _pool(self._url, self._tls)
            self._process = process
        return pool


def _pool(url: str, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = proxy_of(parts.hostname or "", parts.scheme == "https")
    if proxy is None:
        return urllib3.PoolManager(ssl_context=tls)
    host, port, headers = proxy_parts(proxy)
    place = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return urllib3.ProxyManager(place, proxy_headers=headers, ssl_context=tls)


def _parse(answer: BaseHTTPResponse) -> Any:
    try:
        return json.loads(answer.data)
    except ValueError:
        raise BadAnswer("the server's answer is not JSON") from None


def _refusal(answer: BaseHTTPResponse) -> BadRequest | ClientError:
    reason = _reason(answer)
    if answer.status == HTTPStatus.BAD_REQUEST:
        return BadRequest(reason)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return MessageTooLarge(reason)
    return Refused(answer.status, reason)


def _reason(answer: BaseHTTPResponse) -> str:
    """Return what the server said: the JSON's `error`, a line of text, or what its status means."""
    text = answer.data.decode(errors="replace").strip()
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        page = text.startswith("<") or not text or len(text) > _LONGEST_REASON
        return answer.reason or "no reason given" if page else text
