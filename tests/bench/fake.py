"""A small server of Gobbler's WebSocket protocol, to be made to misbehave on purpose.

It stands on the `websockets` package, not on Gobbler's own frames, so that it also shows that the load driver
speaks RFC 6455 as others understand it.
"""

import threading
from collections import defaultdict
from types import TracebackType
from typing import Self

from websockets.sync.server import ServerConnection, serve

CONNECTED = '#connected You are connected to the server.\n{"ApplicationId": "a", "UserId": "u", "Time": "1"}'


class FakeServer:
    """Honest: keeps every message, answers every send, delivers to every subscriber in order."""

    def __init__(self) -> None:
        self.stored: dict[str, list[bytes]] = defaultdict(list)
        self.subscribers: dict[str, list[ServerConnection]] = defaultdict(list)
        self._lock = threading.Lock()
        self._server = serve(self._talk, "127.0.0.1", 0, compression=None)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def port(self) -> int:
        return int(self._server.socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()

    def answers(self, path: str, number: int, name: str) -> list[str]:
        """What the publisher is told when message `number` (from 1) of a path, sent as `name`, is stored."""
        return [
            f'#send {name}\n{{"sequenceId": "{number}", "path": "{path}", "publisherMessageId": "{name}"}}'
        ]

    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        """What subscribers are sent at once when message `number` is stored."""
        return [frame]

    def replay(self, path: str) -> list[bytes | str]:
        """What a fetch of a path is answered with."""
        frames = self.stored[path]
        return [f"#fetch-start {path} {len(frames)}", *frames, f"#fetch-done {path}"]

    def _talk(self, connection: ServerConnection) -> None:
        connection.send(CONNECTED)
        for command in connection:
            assert isinstance(command, bytes)
            with self._lock:
                self._obey(connection, command)

    def _obey(self, connection: ServerConnection, command: bytes) -> None:
        first, _, rest = command.partition(b"\n")
        verb, path, *more = first.decode().split(" ")
        if verb == ">":
            headers, _, body = rest.partition(b"\n")
            self._publish(connection, path, "".join(more), b"%s\n%s" % (headers, body))
        elif more:
            for reply in self.replay(path):
                connection.send(reply)
        else:
            self.subscribers[path].append(connection)
            connection.send(f"#subscribed-to {path}")

    def _publish(self, publisher: ServerConnection, path: str, name: str, tail: bytes) -> None:
        number = len(self.stored[path]) + 1
        frame = b"%s,%d,p0,a,%s,1\n%s" % (path.encode(), number, name.encode(), tail)
        self.stored[path].append(frame)
        for answer in self.answers(path, number, name):
            publisher.send(answer)
        for delivery in self.deliveries(number, frame):
            for subscriber in self.subscribers[path]:
                subscriber.send(delivery)
