"""Gobbler under gunicorn: `gunicorn -c conf/gunicorn.conf.py gobbler.wsgi:app`.

Gobbler's own options come from the environment and from the file that GOBBLER_CONFIG names.
"""

import os
import signal
import sys
import time

from gunicorn.arbiter import Arbiter

from gobbler.config import load
from gobbler.errors import ConfigError

try:
    # GOBBLER_HTTP_LISTEN, or PORT as Heroku sets it. A bad option ends the start here, in one line.
    bind = str(load({}, os.environ).http)
except ConfigError as error:
    sys.exit(f"gobbler: {error}")

worker_class = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"

# One process owns a storage path: it gives out the ids, and it knows every subscriber. Written down
# although it is gunicorn's default, because WEB_CONCURRENCY (Heroku sets it) would change that.
workers = 1

# A connection takes a place for as long as it is open, and who finds no free place hangs without an
# answer. gunicorn's default of 1,000 suits requests, not WebSockets: with it the 1,001st client hangs.
worker_connections = 1_000_000

# The hub beats gunicorn's heart once a second, but not while a worker starts: reading a large storage
# path takes seconds, and a worker that is still reading must not be killed.
timeout = 120

# Less than the 10 seconds after which Docker kills.
graceful_timeout = 8

# gunicorn would put a socket for its control command into the home folder, which may not be writable.
control_socket_disable = True


def on_starting(server: Arbiter) -> None:
    """Refuse a start with more than one worker. Raises: RuntimeError, which gunicorn shows as one line."""
    if server.num_workers > 1:
        raise RuntimeError(
            f"{server.num_workers} workers asked for, but Gobbler runs one worker a storage path. "
            "For more, run another gunicorn with its own GOBBLER_STORAGE_PATH and address."
        )


def nworkers_changed(server: Arbiter, new_value: int, old_value: int | None) -> None:
    """Stay at one worker when SIGTTIN asks for another; at the start `on_starting` refuses it."""
    if old_value is not None and new_value > 1:
        server.log.error("Gobbler runs one worker a storage path: not starting another")
        server.num_workers = 1


def on_reload(server: Arbiter) -> None:
    """End the old worker when SIGHUP asks for a new one, which needs the old one's storage path.

    gunicorn would start the new one first; it would find the path in use, and that ends gunicorn.
    """
    _end_workers(server, signal.SIGTERM, server.cfg.graceful_timeout)
    _end_workers(server, signal.SIGKILL, 1)


def _end_workers(server: Arbiter, signal_number: int, seconds: float) -> None:
    server.kill_workers(signal_number)
    deadline = time.monotonic() + seconds
    while server.WORKERS and time.monotonic() < deadline:
        server.reap_workers()
        time.sleep(0.05)
