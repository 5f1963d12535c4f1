"""What the client brings along: nothing of the server, and no gevent."""

import subprocess
import sys

from tests.system.server import ROOT

FOREIGN = (
    "gevent",
    "greenlet",
    "flask",
    "werkzeug",
    "geventwebsocket",
    "prometheus_client",
    "psycopg2",
    "kafka",
    "click",
)
ALLOWED = ("gobbler", "gobbler.errors", "gobbler.client", "gobbler.protocol", "gobbler.websocket")


def loaded() -> list[str]:
    """The modules of an interpreter that has loaded the client and done nothing else."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import gobbler.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_is_usable_without_the_server() -> None:
    modules = loaded()
    assert [name for name in modules if name.split(".")[0] in FOREIGN] == []
    ours = [name for name in modules if name.split(".")[0] == "gobbler"]
    others = [
        name
        for name in ours
        if name not in ALLOWED and not name.startswith(("gobbler.client.", "gobbler.protocol."))
    ]
    assert set(others) <= {"gobbler.websocket.frames", "gobbler.websocket.speedups"}  # and its routine in C
