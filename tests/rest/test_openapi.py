"""The OpenAPI document: it names everything that is served, and what it says of each is true."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gobbler.config import Config, load
from gobbler.rest.openapi import document
from gobbler.server import Server
from tests.system.server import ServerProcess

SETTINGS = Path(__file__).with_name("schemathesis.toml")
# Pages and files for people; and where a WebSocket begins.
NOT_REST = re.compile(r"/client/|/examples/|/admin/$|/admin/files/|/stream")
METHODS = {"get", "post", "put", "delete", "patch"}
PLAIN = {"ms": "memory", "kvs": "memory"}
NOBODY = "127.0.0.1:9"  # discard: nothing listens there


def everything(folder: Path) -> dict[str, str]:
    """Options that turn all connectors on; their providers cannot be reached."""
    key = folder / "AuthKey.p8"
    private = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return PLAIN | {
        "fcm": "on", "fcm_api_key": "fcm-secret-0", "fcm_endpoint": f"http://{NOBODY}",
        "apns": "on", "apns_endpoint": f"https://{NOBODY}", "apns_app_topic": "com.example.app",
        "apns_key_file": str(key), "apns_key_id": "ABC123DEFG", "apns_team_id": "DEF123GHIJ",
        "sms": "on", "sms_api_key": "sms-key-0", "sms_api_secret": "sms-secret-0",
        "sms_endpoint": f"http://{NOBODY}",
    }  # fmt: skip


def elsewhere() -> dict[str, str]:
    """Options that move what can be moved."""
    return {
        "fcm_prefix": "/push/google/", "apns_prefix": "/push/apple/", "sms_receipt_endpoint": "/hook",
        "health_endpoint": "/well", "metrics_endpoint": "/numbers", "toggles_endpoint": "/switches",
    }  # fmt: skip


def configured(folder: Path, **options: str) -> Config:
    return load({"storage_path": str(folder / "data"), "http": "127.0.0.1:0"} | options, {})


def served(config: Config) -> set[tuple[str, str]]:
    """(method, path) of all that the application serves, in the words of the document."""
    found = set()
    for rule in Server(config, listen=False).app.flask.url_map.iter_rules():
        if not NOT_REST.match(rule.rule):
            path = re.sub(r"<(?:\w+:)?_?(\w+)>", r"{\1}", rule.rule).replace("{rest}", "{topic}")
            methods = rule.methods or set()
            if rule.endpoint in ("fcm.subscription", "apns.subscription"):
                path = path.replace("{topic}", "{device_token}/{user_id}/{topic}")
            found |= {(method.lower(), path) for method in methods - {"HEAD", "OPTIONS"}}
    return found


def described(config: Config) -> set[tuple[str, str]]:
    paths = document(config)["paths"]
    return {(method, path) for path, item in paths.items() for method in METHODS & item.keys()}


@pytest.mark.parametrize("turned", ["off", "on", "moved", "without pages"])
def test_the_document_names_what_is_served_and_nothing_else(tmp_path: Path, turned: str) -> None:
    options = {
        "off": PLAIN,
        "on": everything(tmp_path),
        "moved": everything(tmp_path) | elsewhere(),
        "without pages": everything(tmp_path) | dict.fromkeys([*elsewhere()][2:], ""),
    }[turned]
    config = configured(tmp_path, **options)
    assert described(config) == served(config)


def test_operations_have_names_of_their_own(tmp_path: Path) -> None:
    found = document(configured(tmp_path, **everything(tmp_path)))
    operations = [item[method] for item in found["paths"].values() for method in METHODS & item.keys()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {tag["name"] for tag in found["tags"]} == {tag for one in operations for tag in one["tags"]}
    assert all(operation["summary"] for operation in operations)


def test_the_document_has_no_loose_ends(tmp_path: Path) -> None:
    text = str(found := document(configured(tmp_path, **everything(tmp_path))))
    wanted = set(re.findall(r"#/components/(\w+)/(\w+)", text))
    assert wanted == {(kind, name) for kind, named in found["components"].items() for name in named}


# Against a running server


def test_it_is_served_to_everyone(server: ServerProcess) -> None:
    status, body = server.request("GET", "/api/openapi.json")
    assert (status, json.loads(body)["openapi"]) == (200, "3.1.0")
    assert {path for _, path in described_by(server)} >= {"/api/message/{topic}", "/fcm/", "/sms/receipt"}


def options_of(options: dict[str, str]) -> Iterator[str]:
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        yield from [flag] if value == "on" else [flag, value]


def check(server: ServerProcess, folder: Path, examples: int, seconds: float) -> None:
    """Have schemathesis call every operation with what the document allows, and with what it does not."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "run", "--no-color",
        "--phases", "coverage,fuzzing", "--max-examples", str(examples), "--generation-deterministic",
        # One worker: hypothesis in two threads makes CPython 3.11 fail in `ast.parse`, now and then.
        "--request-timeout", "20", "--workers", "1",
        f"http://127.0.0.1:{server.port}/api/openapi.json",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested, done.stdout
    # All but a stream, which never ends, and what it has read to begin with.
    assert int(tested[1]) == len(described_by(server)) - 2
    assert [line for line in server.lines if "internal error" in line or "Traceback" in line] == []


def described_by(server: ServerProcess) -> set[tuple[str, str]]:
    paths = server.json("/api/openapi.json")["paths"]
    return {(method, path) for path, item in paths.items() for method in METHODS & item.keys()}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", *options_of(everything(tmp_path))) as started:
        yield started


@pytest.mark.timeout(450)
def test_the_server_does_what_the_document_says(server: ServerProcess, tmp_path: Path) -> None:
    check(server, tmp_path, 5, 400)


@pytest.mark.long
def test_the_server_does_what_the_document_says_at_length(server: ServerProcess, tmp_path: Path) -> None:
    check(server, tmp_path, 300, 1200)
