"""The server for gunicorn's workers of gevent-websocket.

    gunicorn -k geventwebsocket.gunicorn.workers.GeventWebSocketWorker gobbler.wsgi:app

Configured by the environment (and GOBBLER_CONFIG). The worker has monkey
patched everything before it imports this. One worker a storage path: a second
one finds it locked, says so, and gunicorn stops.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import Any, Final

from geventwebsocket.gunicorn.workers import GeventWebSocketWorker
from gunicorn.workers.ggevent import PyWSGIServer

from gobbler import logs
from gobbler.config import Config, load
from gobbler.errors import ConfigError, GobblerError
from gobbler.handler import Connections, Handler
from gobbler.server import Server
from gobbler.text import one_line

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 6.0
"""Less than the `graceful_timeout` after which gunicorn kills: 8 in conf/gunicorn.conf.py, else 30.
The worker looks only once a second whether it has been told to end."""

_APP_LOAD_ERROR: Final = 4  # gunicorn's own status: it stops instead of starting the worker again and again


class WorkerServer(PyWSGIServer):  # type: ignore[misc]
    """The HTTP server that the worker makes: gunicorn's, which ends with Gobbler and not before.

    gunicorn only stops to listen and then waits for the connections to end by
    themselves, and it does not know of those that have become WebSockets.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what gunicorn gives."""
        super().__init__(*args, **options)
        self.pre_start_hook = server.app.pre_start_hook
        self.logger = log  # gevent-websocket would make one of its own, with a handler
        self.connections = Connections()

    def close(self) -> None:
        """Accept nothing more, and stop Gobbler; again: do nothing."""
        super().close()
        server.streams.stop(0)  # they do not end by themselves
        self.connections.end(STOP_SECONDS / 2)
        _stop()


def _configured() -> Config:
    try:
        config = load({}, os.environ)
    except ConfigError as error:
        _give_up(error)
    logs.setup(config.log, config.env)
    logging.logProcesses = True  # gunicorn's own lines name the process
    for secret in config.secrets():
        logs.hide(secret)
    return config


def _give_up(error: GobblerError) -> None:
    sys.stderr.write(f"gobbler: {one_line(logs.redact(str(error)))}\n")
    sys.exit(_APP_LOAD_ERROR)


def _started() -> Server:
    made = Server(_configured(), listen=False)
    try:
        made.start()
    except GobblerError as error:
        _give_up(error)
    return made


def _stop() -> None:
    """Stop the server. gunicorn ignores whatever is raised here."""
    try:
        server.stop(STOP_SECONDS / 2)
    except Exception:  # the top: nobody else would log it
        log.exception("the server did not stop as it should")


server = _started()
app = server.app
# The worker makes its server from these once this module is loaded.
GeventWebSocketWorker.server_class = WorkerServer
GeventWebSocketWorker.wsgi_handler = Handler
atexit.register(_stop)  # for a worker that ends without closing its server, as SIGQUIT wants it
