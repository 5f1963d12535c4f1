"""The client library: `Client` speaks with a Gobbler over WebSocket, `Client.rest` over REST.

It is for threads, and for greenlets where gevent has patched the process. It needs nothing of the server.
"""

from gobbler.client.client import Client
from gobbler.client.errors import (
    BadAnswer,
    ClientError,
    Closed,
    ConnectionLost,
    FetchFailed,
    MessagesLost,
    NotConnected,
    PublishFailed,
    PublishUnknown,
    Refused,
    SubscribeFailed,
    Timeout,
)
from gobbler.client.message import Gap, Message, Receipt
from gobbler.client.publishing import Publication
from gobbler.client.push import Push
from gobbler.client.rest import Rest
from gobbler.client.settings import Settings
from gobbler.client.subscription import Subscription
from gobbler.errors import BadRequest, GobblerError, InvalidMessage, InvalidTopic, MessageTooLarge

__all__ = [
    "BadAnswer",
    "BadRequest",
    "Client",
    "ClientError",
    "Closed",
    "ConnectionLost",
    "FetchFailed",
    "Gap",
    "GobblerError",
    "InvalidMessage",
    "InvalidTopic",
    "Message",
    "MessageTooLarge",
    "MessagesLost",
    "NotConnected",
    "Publication",
    "PublishFailed",
    "PublishUnknown",
    "Push",
    "Receipt",
    "Refused",
    "Rest",
    "Settings",
    "SubscribeFailed",
    "Subscription",
    "Timeout",
]
