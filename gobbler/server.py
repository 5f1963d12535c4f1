"""The composition root: the one place that knows every part and puts them together."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final

from flask import Blueprint

from gobbler import app
from gobbler.admin import dashboard, pages
from gobbler.config import ROUTER_PAGE, Config, version
from gobbler.connecting import Connectors
from gobbler.connectors.connector import Stores
from gobbler.health import Health, HubLag, storage_space, storage_writable
from gobbler.kvstore.base import KVStore
from gobbler.kvstore.memory import MemoryKVStore
from gobbler.kvstore.sqlite import SQLiteKVStore
from gobbler.listener import Listener
from gobbler.metrics import Metrics
from gobbler.profiling import profiler
from gobbler.protocol.block import Block
from gobbler.rest import api, browser, events, fetch, openapi, topics
from gobbler.router.intake import Intake
from gobbler.router.routes import Router
from gobbler.service import Service, Stack
from gobbler.storage import StoragePath
from gobbler.store.base import MessageStore
from gobbler.store.filelog.retention import Retention
from gobbler.store.filelog.store import FileStore
from gobbler.store.memory import MemoryStore
from gobbler.websocket.gateway import Gateway
from gobbler.websocket.peer import Services

MESSAGES: Final = "messages"
KEY_VALUES: Final = "kv.sqlite"


class Server:
    """A whole server: a service that starts and stops its parts in order.

    `app` is the WSGI application, for servers of others; with `listen` the
    server also brings its own.
    """

    def __init__(self, config: Config, *, listen: bool = True) -> None:
        """Put the parts together; nothing is opened before `start`."""
        self.config = config
        self.metrics = Metrics(version())
        self.health = Health()
        self.router = Router(self.metrics)
        self.kvstore = _kvstore(config)
        self.store = _store(config, self.kvstore)
        self.store.listen(self._committed)
        self.intake = Intake(self.store, self.metrics)
        self.connectors = Connectors(config, Stores(self.store, self.kvstore), self.metrics, self.router)
        self.gateway = self._gateway()
        self.streams = events.Streams(self.store, self.router, self.metrics)
        self.dashboard = self._dashboard()
        self._lag = HubLag()
        self.app = app.App(self._blueprints(), self.metrics, self.gateway, config.ws_prefix)
        self.listener = Listener(self.app, config.http) if listen else None
        self._check()
        self._stack = Stack(*self._services())

    def start(self) -> None:
        """Start everything; whoever is last opens the door.

        Raises:
            GobblerError: a part cannot start; then none of them is left running.
        """
        self._stack.start()

    def stop(self, timeout: float) -> None:
        """Stop within `timeout` seconds: let nothing in, answer what is in flight, sync, say goodbye."""
        self._stack.stop(timeout)

    def _committed(self, partition: str, blocks: Sequence[Block]) -> None:
        """Count what is stored, then deliver it."""
        self.metrics.stored_bytes_total.inc(sum(len(block.frames) for block in blocks))
        self.router.deliver(partition, blocks)

    def _gateway(self) -> Gateway | None:
        config = self.config
        if not config.ws:
            return None
        services = Services(
            self.intake, self.router, self.store, self.metrics, config.max_message_size, time.time
        )
        return Gateway(services, config.ws_prefix, config.ws_ping_interval)

    def _dashboard(self) -> dashboard.Dashboard:
        return dashboard.Dashboard(
            dashboard.Parts(
                self.config,
                self.health,
                self.metrics,
                self.router,
                self.store,
                self.intake,
                self.connectors.by_name,
                self.gateway,
            )
        )

    def _blueprints(self) -> list[Blueprint]:
        config = self.config
        admin = pages.blueprint(
            self.health,
            self.metrics,
            self.router,
            health_endpoint=config.health_endpoint,
            metrics_endpoint=config.metrics_endpoint,
            routes_page=ROUTER_PAGE,
        )
        return [
            api.blueprint(self.intake, self.router, self.metrics, config.max_message_size),
            topics.blueprint(self.store, self.metrics),
            fetch.blueprint(self.store, self.metrics),
            events.blueprint(self.streams),
            openapi.blueprint(config),
            browser.blueprint(config.ws_prefix, examples=config.examples and config.ws),
            *self.connectors.blueprints(),
            admin,
            *self.dashboard.blueprints(),
        ]

    def _check(self) -> None:
        """Say what makes the server healthy."""
        self.health.add("hub", self._lag.check)
        self.health.add("store", self.store.check)
        self.health.add("kvs", self.kvstore.check)
        for name, connector in self.connectors.by_name.items():
            self.health.add(name, connector.check)
        if _uses_storage(self.config):
            self.health.add("storage", storage_writable(self.config.storage_path))
            self.health.add("space", storage_space(self.config.storage_path))

    def _services(self) -> list[tuple[str, Service]]:
        """Return the parts in the order of starting; they stop in the opposite order."""
        config = self.config
        services: list[tuple[str, Service]] = [("hub watch", self._lag), ("rates", self.dashboard.rates)]
        if _uses_storage(config) or config.profile:
            services.append(("storage path", StoragePath(config.storage_path)))
        if config.profile:
            services.append(("profiler", profiler(config.profile, config.storage_path)))
        services += [
            ("key-value store", self.kvstore),
            ("message store", self.store),
            ("intake", self.intake),
            *self.connectors.services(),
        ]
        if self.gateway is not None:
            services.append(("WebSocket gateway", self.gateway))
        if self.listener is not None:
            services.append(("HTTP listener", self.listener))
        services.append(("event streams", self.streams))  # they end first: the listener waits for answers
        return services


def _uses_storage(config: Config) -> bool:
    return "file" in (config.kvs, config.ms)


def _kvstore(config: Config) -> KVStore:
    if config.kvs == "memory":
        return MemoryKVStore()
    if config.kvs == "postgres":
        return _postgres(config)
    return SQLiteKVStore(config.storage_path / KEY_VALUES, sync=config.fsync == 0)


def _postgres(config: Config) -> KVStore:
    # Imported when it is asked for: psycopg2 takes memory and start-up time.
    from gobbler.kvstore.postgres import PostgresKVStore
    from gobbler.kvstore.postgres_connection import Address

    return PostgresKVStore(
        Address(
            config.pg_host,
            config.pg_port,
            config.pg_user,
            config.pg_password,
            config.pg_dbname,
            config.pg_sslmode,
            config.pg_ca_file,
        )
    )


def _store(config: Config, kvstore: KVStore) -> MessageStore:
    if config.ms == "memory":
        return MemoryStore(config.ms_memory_bytes, kvstore)
    retention = None
    if config.retention_age is not None or config.retention_bytes is not None:
        retention = Retention(config.retention_age, config.retention_bytes)
    return FileStore(
        os.fspath(config.storage_path / MESSAGES),
        sync_seconds=config.fsync,
        segment_bytes=config.segment_bytes,
        retention=retention,
    )
