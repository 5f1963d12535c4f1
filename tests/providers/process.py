"""A fake provider as a process of its own: it prints the port that it listens on, then serves."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
import weakref
from pathlib import Path
from typing import Any, Self

from tests.providers.certificates import Authority

ROOT = Path(__file__).parents[2]


class Provider:
    """Runs `python -m <module> --port N --certificate FILE --key FILE --record FILE ...`; a context manager.

    The fake appends a line of JSON to `record` for every notification that it accepts or refuses,
    before it answers; `received` reads them. After a `stop`, it comes back on the same `port`.
    """

    def __init__(self, module: str, folder: Path, *options: str, authority: Authority | None = None) -> None:
        self.module = module
        self.options = options
        self.authority = authority or Authority(folder)
        self.record = folder / f"{module.rpartition('.')[2]}.jsonl"
        self.port = 0
        self._pair = self.authority.pair()
        self._context = ssl.create_default_context(cafile=str(self.authority.file))
        self._process: subprocess.Popen[str] | None = None
        self._records: list[dict[str, Any]] = []
        self._read = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens; after a `stop`, on the same port."""
        self.port = self.port or self._keep_port()
        command = [sys.executable, "-m", self.module, "--port", str(self.port)]
        command += ["--certificate", str(self._pair.certificate), "--key", str(self._pair.key)]
        command += ["--record", str(self.record), *self.options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fake provider ended at once"
        self.port = int(line)

    def _keep_port(self) -> int:
        """Return a port that no other server gets, not even between a `stop` and the next `start`.

        A bound socket that does not listen: the fake may bind the port as well, whoever connects is refused.
        """
        kept = socket.socket()
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        weakref.finalize(self, kept.close)
        return int(kept.getsockname()[1])

    def stop(self) -> None:
        """End it at once: every connection breaks; again: do nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def freeze(self) -> None:
        """Have it answer nothing, and accept what the kernel accepts by itself, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stats(self) -> dict[str, Any]:
        """Return its counters; `open` are the connections that it has, the one that asks among them."""
        return self.ask("/stats", None)

    def ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, body, timeout=30, context=self._context) as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    def received(self) -> list[dict[str, Any]]:
        """Return what it has recorded, oldest first; each call reads what is new."""
        if self.record.exists():
            with self.record.open("rb") as file:
                file.seek(self._read)
                whole, end, _ = file.read().rpartition(b"\n")
            self._read += len(whole) + len(end)
            self._records += [json.loads(line) for line in whole.splitlines()]
        return list(self._records)
