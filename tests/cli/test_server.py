"""The command as a user meets it: a process with arguments, signals, two streams and an exit status.

Where a server is needed, one that only says what happens to it stands in for `gobbler.server`.
"""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from gobbler.config import OPTIONS

ROOT = Path(__file__).parents[2]
SECONDS = 30

FAKE = """
import sys, types
from gobbler.cli.server import main
import gevent
from gevent import monkey
from gevent.event import Event
from gobbler.errors import ConfigError, StoreLocked, StoreUnavailable

class Server:
    def __init__(self, config):
        self.config = config

    def start(self):
        say("started")

    def stop(self, timeout):
        say(f"stopped within {timeout}")

def say(text):
    print(text, flush=True)

__BODY__
sys.modules["gobbler.server"] = types.SimpleNamespace(Server=Server)
main()
"""


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without its own options."""
    also = {variable.variable for option in OPTIONS for variable in option.also}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GOBBLER_") and k not in also}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | dict(extra)


def gobbler(*args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the real command to its end."""
    command = [sys.executable, "-m", "gobbler", *args]
    return subprocess.run(
        command, env=environment(env or {}), capture_output=True, text=True, timeout=SECONDS, check=False
    )


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command with a stand-in server, whose methods `body` may replace."""
    processes = []

    def begin(body: str = "", *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", FAKE.replace("__BODY__", body), *args],
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that the process says."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end; return exit status, what else was said, and standard error."""
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def test_help_has_every_option_with_its_variable_and_default() -> None:
    done = gobbler("--help")
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r"\s+", " ", done.stdout)
    for option in OPTIONS:
        value = f"/ --no-{option.key}" if option.is_switch else option.kind.metavar
        default = f"; default: {option.default}" if option.default and not option.secret else ""
        assert f" {option.flag} {value} {option.help} [env: {option.env}{default}]" in text


def test_help_shows_no_secret() -> None:
    secrets = {option.env: f"{option.key}-hunter2" for option in OPTIONS if option.secret}
    done = gobbler("--help", env=secrets | {"DATABASE_URL": "postgres://me:hunter2@host/db"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "hunter2" not in done.stdout


def test_help_groups_the_options() -> None:
    out = gobbler("--help").stdout
    groups = list(dict.fromkeys(option.group for option in OPTIONS))
    assert re.findall(r"^(\w.*):$", out, re.M) == [*groups, "Other"]
    assert out.startswith("Usage: gobbler [OPTIONS]\n\n  Run the Gobbler messaging server.\n\nServer:\n")
    lines = [
        "WebSocket:",
        "  --ws / --no-ws                  Serve WebSocket clients.",
        "                                  [env: GOBBLER_WS; default: on]",
        "  --ws-prefix PREFIX              Path that WebSocket clients connect to.",
        "                                  [env: GOBBLER_WS_PREFIX; default: /stream/]",
    ]
    assert "\n".join(lines) in out
    lines = [
        "  --fcm-service-account-file FILE",
        "                                  The service account's key, as Google's console gives it, for the",
        "                                  HTTP v1 protocol.",
        "                                  [env: GOBBLER_FCM_SERVICE_ACCOUNT_FILE]",
    ]
    assert "\n".join(lines) in out


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_help_fits_the_terminal(columns: int) -> None:
    out = gobbler("--help", env={"COLUMNS": str(columns)}).stdout
    assert max(map(len, out.splitlines())) < min(columns, 100)


def test_help_loads_no_server() -> None:
    program = (
        "import sys; from gobbler.cli.server import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted(sys.modules.keys() & {'flask', 'prometheus_client', 'gobbler.server'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.stdout.splitlines()[-1], done.stderr) == ("[]", "")


def test_version() -> None:
    done = gobbler("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"gobbler \d+\S*\n", done.stdout)


@pytest.mark.parametrize(
    ("args", "env", "line"),
    [
        (("--http", "8080"), {},
         "--http: '8080' is not [host]:port, such as :8080, localhost:8080 or [::1]:8080"
         " (from the command line)"),
        (("--ms=disk",), {}, "--ms: 'disk' is none of memory, file (from the command line)"),
        ((), {"GOBBLER_LOG": "loud"},
         "--log: 'loud' is none of panic, fatal, error, warn, info, debug (from environment GOBBLER_LOG)"),
        ((), {"GOBBLER_WS": "perhaps"},
         "--ws: 'perhaps' is neither true, 1, yes, on nor false, 0, no, off (from environment GOBBLER_WS)"),
        ((), {"PORT": "http"}, "--http: 'http' is not a port (from environment PORT)"),
        ((), {"DATABASE_URL": "postgres://me:hunter/2@host/db"},
         "--pg-host: the value is not postgres://user:password@host:port/database"
         " (from environment DATABASE_URL)"),
        (("--apns-cert-bytes", "hunter2"), {},
         "--apns-cert-bytes: the value is not bytes in hexadecimal (from the command line)"),
        (("--fcm-endpoint=http://me:hunter2@host",), {},
         "--fcm-endpoint: the value must have no user, password, query or fragment (from the command line)"),
        (("--fcm", "--fcm-api-key", "hunter2"), {},
         "--fcm-api-key: Google no longer speaks the legacy protocol; name a gateway with --fcm-endpoint"),
        (("--sms",), {"GOBBLER_SMS_API_SECRET": "hunter2"},
         "--sms: needs --sms-api-key, and --sms-api-secret or --sms-signature-secret"),
        (("--fsync", "a\nb\x1b[2J"), {},
         "--fsync: 'a\\nb\\x1b[2J' is neither always, never nor a number of seconds above zero"
         " (from the command line)"),
        (("--config", "/no/such"), {}, "--config: cannot read '/no/such': No such file or directory"),
        ((), {"GOBBLER_CONFIG": "/"}, "--config: cannot read '/': Is a directory"),
        (("--metrics-endpoint", "/api/x"), {},
         "--metrics-endpoint: '/api/x' is taken by the REST interface ('/api/')"),
        (("--http",), {}, "Option '--http' requires an argument."),
        (("--no-ws=1",), {}, "Option '--no-ws' does not take a value."),
        (("serve",), {}, "Got unexpected extra argument (serve)"),
    ],
)  # fmt: skip
def test_a_bad_option_is_one_line_and_status_2(
    args: tuple[str, ...], env: dict[str, str], line: str, tmp_path: Path
) -> None:
    done = gobbler("--storage-path", str(tmp_path / "data"), *args, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"gobbler: {line}\n")
    assert list(tmp_path.iterdir()) == [], "nothing is opened before everything is checked"


def test_an_unknown_option_is_one_line_and_status_2() -> None:
    done = gobbler("--htpp", ":1")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"gobbler: No such option:? '?--htpp'?.*--http.*\n", done.stderr)


def test_a_bad_key_of_the_file_is_one_line_and_status_2(tmp_path: Path) -> None:
    file = tmp_path / "gobbler.toml"
    file.write_text('storage_path = "/data"\n')
    done = gobbler("--config", str(file))
    line = f"'storage_path' is not an option; did you mean 'storage-path'? (from file {file})"
    assert (done.returncode, done.stderr) == (2, f"gobbler: {line}\n")


def test_all_sources_reach_the_server(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "gobbler.toml"
    file.write_text('ms = "memory"\nkvs = "memory"\n')
    body = "Server.start = lambda self: say(self.config.public()) or (_ for _ in ()).throw(OSError('enough'))"
    status, out, _ = end_of(start(body, "--no-ws", "--kvs", "file", f"--config={file}", "--http", "[::1]:1"))
    assert status == 1
    for part in ("'ws': False", "'ms': 'memory'", "'kvs': 'file'", "'http': '[::1]:1'"):
        assert part in out


def test_secrets_are_hidden_from_logs_and_from_the_line_of_a_failing_start(start: Start) -> None:
    texts = ["30820abc", "30820ABC", "pass/word", "pass%2Fword", "key-1", "b'0\\x82\\n\\xbc'"]
    body = (
        "import logging\n"
        "def begin(self):\n"
        f"    logging.getLogger('gobbler.x').info('%s', {texts}, extra={{'also': {texts}}})\n"
        f"    raise StoreUnavailable(' '.join({texts}))\n"
        "Server.start = begin"
    )
    secrets = ("--apns-cert-bytes", "30820aBC", "--apns-cert-password", "pass/word", "--sms-api-key", "key-1")
    status, out, err = end_of(start(body, "--log", "info", *secrets))
    log, line = err.splitlines()
    assert (status, out, line) == (1, "", "gobbler: *** *** *** *** *** b'***'")
    entry = json.loads(log)
    assert (entry["message"], entry["also"]) == (repr(["***"] * 5 + ["b'***'"]),) * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_gracefully(start: Start, number: int) -> None:
    process = start()
    assert line_of(process) == "started"
    process.send_signal(number)
    assert end_of(process) == (0, "stopped within 8.0\n", "")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize(
    "hang",
    [
        "[None for _ in iter(int, 1)]",
        # Again and again: a signal between the last look at signals and a long wait would not end that.
        "[Event().wait(0.1) for _ in iter(int, 1)]",
        "[monkey.get_original('time', 'sleep')(0.1) for _ in iter(int, 1)]",
    ],
)
def test_a_second_signal_exits_at_once(start: Start, number: int, status: int, hang: str) -> None:
    process = start(f"Server.stop = lambda self, timeout: say('stopping') or {hang}")
    assert line_of(process) == "started"
    process.send_signal(signal.SIGTERM)
    assert line_of(process) == "stopping"
    process.send_signal(number)
    assert end_of(process) == (status, "", "")


def test_a_signal_during_the_start_stops_when_it_is_done(start: Start) -> None:
    process = start("Server.start = lambda self: say('starting') or sys.stdin.readline() and say('started')")
    assert line_of(process) == "starting"
    process.send_signal(signal.SIGTERM)
    status, out, err = process.returncode, *process.communicate("go on\n", timeout=SECONDS)
    assert (process.returncode, out, err, status) == (0, "started\nstopped within 8.0\n", "", None)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("StoreLocked('/data is used by another server')", "/data is used by another server"),
        ("StoreUnavailable('a\\nb')", "a\\nb"),
        ("OSError(98, 'Address already in use')", "Address already in use"),
        ("PermissionError(13, 'Permission denied', '/data')", "Permission denied: /data"),
        ("OSError('odd')", "odd"),
    ],
)
@pytest.mark.parametrize(("method", "arguments"), [("start", "self"), ("stop", "self, timeout")])
def test_a_failing_start_or_stop_is_one_line_and_status_1(
    start: Start, method: str, arguments: str, error: str, line: str
) -> None:
    process = start(f"def fail({arguments}): raise {error}\nServer.{method} = fail")
    if method == "stop":
        assert line_of(process) == "started"
        process.send_signal(signal.SIGTERM)
    assert end_of(process) == (1, "", f"gobbler: {line}\n")


def test_credentials_that_cannot_be_used_are_one_line_and_status_2(start: Start) -> None:
    process = start("def fail(self): raise ConfigError('--fcm-ca-file: a')\nServer.start = fail")
    assert end_of(process) == (2, "", "gobbler: --fcm-ca-file: a\n")


def test_a_bug_is_a_traceback_and_status_1(start: Start) -> None:
    status, out, err = end_of(start("Server.start = lambda self: 1 // 0"))
    assert (status, out) == (1, "")
    assert err.startswith("Traceback")
    assert err.endswith("ZeroDivisionError: integer division or modulo by zero\n")


def test_the_standard_library_is_patched_before_all_else(start: Start) -> None:
    names = ("socket", "ssl", "threading", "select", "time")
    process = start(f"say([name for name in {names} if not monkey.is_module_patched(name)])")
    assert line_of(process) == "[]"
    command, patching = (ROOT / "gobbler" / name for name in ("cli/server.py", "patching.py"))
    begin = ast.parse(command.read_text(encoding="utf-8")).body[1:3]
    assert [ast.unparse(node) for node in begin] == ["from gobbler.patching import patch", "patch()"]
    nodes = ast.parse(patching.read_text(encoding="utf-8")).body
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    standard = ["from importlib import metadata", "from typing import Any"]
    assert imports == [*standard, "from gevent import monkey"]


def test_logs_are_json_when_standard_error_is_no_terminal(start: Start) -> None:
    body = "import logging\nServer.start = lambda self: logging.getLogger('gobbler.x').info('here %s', 1)"
    process = start(body, "--log", "info", "--env", "production")
    assert process.stderr is not None
    entry = json.loads(process.stderr.readline())
    assert (entry["message"], entry["level"], entry["environment"]) == ("here 1", "INFO", "production")
    process.send_signal(signal.SIGTERM)
    assert end_of(process)[0] == 0
