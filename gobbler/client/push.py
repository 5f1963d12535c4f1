"""Push subscriptions: of which topics a device gets notifications, and through which connector."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote, urlencode

from gobbler.client import commands
from gobbler.client.errors import BadAnswer, Refused

_NOT_FOUND = "subscription not found"


class Request(Protocol):
    """Makes a request with a JSON body, and returns the JSON of the answer."""

    def __call__(self, method: str, path: str, body: object = None, *, fine: tuple[int, ...] = ...) -> Any:
        """Answer with one of the statuses `fine`. Raises: ClientError, BadRequest: see `Rest.request`."""


class Push:
    """The subscriptions of one connector.

    Every call raises what `Rest.request` does; `Refused` with 404 where the server has no such connector.
    """

    def __init__(self, request: Request, connector: str) -> None:
        """`connector` is the prefix of its pages: `fcm`, `apns`."""
        self._request = request
        self._prefix = f"/{quote(connector.strip('/'))}/"

    def subscribe(self, device_token: str, user_id: str, topic: str) -> bool:
        """Have a device notified of a topic and all below it; say whether that is new."""
        return "subscribed" in self._request("POST", self._path(device_token, user_id, topic))

    def unsubscribe(self, device_token: str, user_id: str, topic: str) -> bool:
        """End a subscription; say whether there was one.

        Raises:
            Refused: the server has no such connector, or could not do it.
        """
        try:
            self._request("DELETE", self._path(device_token, user_id, topic))
        except Refused as error:
            if error.reason != _NOT_FOUND:
                raise
            return False
        return True

    def topics(self, *, user_id: str | None = None, device_token: str | None = None) -> list[str]:
        """Return the topics of a user, of a device, or of both; at least one is needed."""
        given = {"user_id": user_id, "device_token": device_token}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        return [f"/{topic}" for topic in self._request("GET", f"{self._prefix}?{query}")]

    def substitute(self, field: str, old_value: str, new_value: str) -> int:
        """Replace a value of `field` (`device_token` or `user_id`) everywhere; return in how many.

        Raises:
            BadAnswer: the server does not say how many.
        """
        change = {"field": field, "old_value": old_value, "new_value": new_value}
        answer = self._request("POST", f"{self._prefix}substitute/", change)
        try:
            return int(answer["modified"])
        except (KeyError, TypeError, ValueError):
            raise BadAnswer("the server does not say how many it has modified") from None

    def _path(self, device_token: str, user_id: str, topic: str) -> str:
        device = f"{quote(device_token, safe='')}/{quote(user_id, safe='')}"
        return f"{self._prefix}{device}{commands.url_path(topic)}"
