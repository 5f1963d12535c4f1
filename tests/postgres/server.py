"""A PostgreSQL server as a process of its own, on a free loopback port.

    with PostgresServer() as postgres:
        store = PostgresKVStore(postgres.address())

It takes half a second to be made; a module or a session of tests can share one.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psycopg2
import psycopg2.extensions

from gobbler.kvstore.postgres_connection import Address
from tests.providers.certificates import Pair
from tests.system.server import eventually

USER = "gobbler"
PASSWORD = "the password of the tests"
DATABASE = "gobbler"

# Who the server runs as when root runs the tests: it refuses to run as root.
ORDINARY_USER, ORDINARY_GROUP = "nobody", "nogroup"
AS_ROOT = os.geteuid() == 0
IDENTITY: dict[str, Any] = (
    {"user": ORDINARY_USER, "group": ORDINARY_GROUP, "extra_groups": []} if AS_ROOT else {}
)


class PostgresServer:
    """A server with the user and the database `gobbler`; a context manager that ends it.

    On the port a password is needed, and with a `pair` it has TLS. `settings` are lines of
    its configuration: `max_connections=20`.
    """

    def __init__(self, *settings: str, pair: Pair | None = None) -> None:
        self._binaries = _binaries()
        # Not pytest's folder: its parents are closed to other users. Not $TMPDIR: sockets need short paths.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        self._own(self.folder)
        self.port = _free_port()
        self._settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
            "fsync=off",
            "shared_buffers=16MB",
            *settings,
            *(self._tls(pair) if pair else []),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._create()
            self.start()
            self.sql(f"CREATE DATABASE {DATABASE}", dbname="postgres")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it and wait until it lets clients in; after a `stop`, on the same port."""
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        for setting in self._settings:
            command += ["-c", setting]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, cwd="/", **IDENTITY)
        deadline = eventually()
        while not self._is_ready(self._process):
            deadline.again()

    def stop(self, number: signal.Signals = signal.SIGQUIT) -> None:
        """End it, at once (`pg_ctl stop -m immediate`) or as another signal says; again: do nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    def address(self, **changes: Any) -> Address:
        """How to reach it, but for the changes."""
        return replace(Address("127.0.0.1", self.port, USER, PASSWORD, DATABASE), **changes)

    def sql(self, statements: str, *parameters: object, dbname: str = DATABASE) -> list[tuple[Any, ...]]:
        """Run statements, each for itself, and return the rows of the last."""
        with self.connection(dbname) as connection, connection.cursor() as cursor:
            cursor.execute(statements, parameters or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def connection(self, dbname: str = DATABASE) -> Iterator[psycopg2.extensions.connection]:
        """Connect through the socket, which needs no password; in autocommit mode."""
        made = psycopg2.connect(host=str(self.folder), port=self.port, user=USER, dbname=dbname)
        with closing(made) as connection:
            connection.autocommit = True
            yield connection

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _create(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n", encoding="utf-8")
        self._own(password)
        command = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", USER, "--no-sync"]
        command += ["--auth-host=scram-sha-256", "--auth-local=trust", f"--pwfile={password}"]
        command += ["--encoding=UTF8", "--locale=C"]
        made = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **IDENTITY)
        assert made.returncode == 0, made.stderr

    def _tls(self, pair: Pair) -> list[str]:
        key, certificate = self.folder / "server.key", self.folder / "server.pem"
        for source, target in (pair.key, key), (pair.certificate, certificate):
            shutil.copy(source, target)
            target.chmod(0o600)
            self._own(target)
        return ["ssl=on", f"ssl_key_file={key}", f"ssl_cert_file={certificate}"]

    def _own(self, path: Path) -> None:
        if AS_ROOT:
            shutil.chown(path, ORDINARY_USER, ORDINARY_GROUP)

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self._log.read_text(encoding="utf-8")
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return False
        # The first line is the process, the eighth its state; an earlier process may have left the file.
        return lines[0] == str(process.pid) and "ready" in "".join(lines[7:8])


def _binaries() -> Path:
    """Where the newest server is installed: Debian has its programs outside of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    installed = str(found[-1]) if found else shutil.which("initdb")
    assert installed, "PostgreSQL is not installed (Debian's package postgresql)"
    return Path(installed).parent


def _free_port() -> int:
    """A port that stays free while the server is down: the system gives away only higher ones by itself."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
