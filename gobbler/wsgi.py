"""The server for gunicorn's workers of gevent-websocket.

    gunicorn -k geventwebsocket.gunicorn.workers.GeventWebSocketWorker gobbler.wsgi:app

Configured by the environment (and GOBBLER_CONFIG). The worker has monkey
patched everything before it imports this. One worker a storage path: a second
one finds it locked, says so, and gunicorn stops.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import Final

from gunicorn.workers.ggevent import PyWSGIServer

from gobbler import logs
from gobbler.app import App
from gobbler.config import Config, load
from gobbler.errors import ConfigError, GobblerError
from gobbler.server import Server

STOP_SECONDS: Final = 8.0
_APP_LOAD_ERROR: Final = 4  # gunicorn's own status: it stops instead of starting the worker again and again


def _configured() -> Config:
    try:
        config = load({}, os.environ)
    except ConfigError as error:
        _give_up(error)
    logs.setup(config.log, config.env)
    for secret in config.secrets():
        logs.hide(secret)
    return config


def _give_up(error: GobblerError) -> None:
    sys.stderr.write(f"gobbler: {logs.one_line(logs.redact(str(error)))}\n")
    sys.exit(_APP_LOAD_ERROR)


def _started() -> App:
    server = Server(_configured(), listen=False)
    try:
        server.start()
    except GobblerError as error:
        _give_up(error)
    # gunicorn makes the server and gevent-websocket's handler asks that for this hook.
    PyWSGIServer.pre_start_hook = staticmethod(server.app.pre_start_hook)
    atexit.register(server.stop, STOP_SECONDS)
    return server.app


app = _started()
