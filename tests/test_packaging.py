"""What is delivered fits together: the wheel, the image, the Procfile, gunicorn's and Gobbler's own files."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gobbler.config import OPTIONS, Config, load

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GUNICORN_CONF = ROOT / "conf" / "gunicorn.conf.py"
DEADLINE = 60.0


def run(*command: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end without the options that the environment may hold."""
    kwargs.setdefault("cwd", ROOT)
    kwargs.setdefault("env", environment())
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, **kwargs)


def environment(**variables: str) -> dict[str, str]:
    foreign = {"PORT", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS"}
    kept = {k: v for k, v in os.environ.items() if k not in foreign and not k.startswith("GOBBLER_")}
    return kept | variables


def option_variables() -> set[str]:
    return {option.env for option in OPTIONS}


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools writes beside its sources; needs no network."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "gobbler", source / "gobbler", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    done = run(*pip, "--wheel-dir", source / "dist", source)
    assert done.returncode == 0, done.stderr
    return next((source / "dist").glob("gobbler-*.whl"))


def test_the_wheel_holds_every_module_and_says_it_is_typed(wheel: Path) -> None:
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "gobbler").rglob("*.py")}
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "gobbler" / "web").rglob("*") if path.is_file()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("gobbler/")}
    assert packed == expected | pages | {"gobbler/py.typed", "gobbler/rest/openapi.json"}


def test_the_wheel_carries_the_one_version_and_the_dependencies(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel)
    name = next(name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(packed.read(name))
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert len(needed) == len(PROJECT["dependencies"])


def test_the_installed_command_prints_its_options(wheel: Path, tmp_path: Path) -> None:
    """From the wheel: what PYTHONPATH names comes before the checkout."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    installed = run(*pip, "--target", tmp_path, wheel)
    assert installed.returncode == 0, installed.stderr
    place = environment(PYTHONPATH=str(tmp_path))
    told = run(tmp_path / "bin" / "gobbler", "--help", env=place, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert all(option.flag in told.stdout for option in OPTIONS)
    version = run(tmp_path / "bin" / "gobbler", "--version", env=place, cwd=tmp_path)
    assert version.stdout.split() == ["gobbler", PROJECT["version"]]


def test_every_dependency_is_pinned() -> None:
    def names(lines: list[str]) -> set[str]:
        found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
        return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in found if name}

    def pins(file: str) -> list[str]:
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith(("#", "-r "))]

    server, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    assert [line for line in server + dev if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9.]+", line)] == []
    assert names(PROJECT["dependencies"]) <= names(server)
    assert names(PROJECT["optional-dependencies"]["dev"]) <= names(server) | names(dev)


# The image


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line and not line.startswith("#")]


def instruction(name: str) -> str:
    """The arguments of the last instruction of a kind, the one that counts."""
    return [arguments for found, arguments in dockerfile() if found == name][-1]


def test_the_image_starts_the_command_that_the_project_installs() -> None:
    (command,) = json.loads(instruction("ENTRYPOINT"))
    assert command in PROJECT["scripts"]
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_the_image_keeps_data_on_its_volume_as_an_ordinary_user() -> None:
    variables = dict(word.split("=", 1) for word in shlex.split(instruction("ENV")))
    own = {name for name in variables if name.startswith("GOBBLER_")}
    assert own <= option_variables()
    assert load({}, variables).storage_path == Path(instruction("VOLUME"))
    assert instruction("USER") not in ("root", "0")
    assert int(instruction("EXPOSE")) == Config().http.port


def test_the_image_is_built_from_what_exists() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    # It leaves out everything, and takes back what is marked so.
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {name for found, arguments in dockerfile() if found == "COPY" for name in arguments.split()[:-1]}
    assert [name for name in sent if not (ROOT / name).exists()] == []
    assert sent >= {"gobbler", "pyproject.toml", PROJECT["readme"]}
    assert copied - sent == {".", "--from=build", "/wheels"}


@contextmanager
def health_page(status: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the port of a server that answers every request with `status`, and the paths it is asked for."""
    asked: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (503, False)])
def test_the_health_check_of_the_image_asks_the_server(status: int, is_well: bool) -> None:
    program = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    assert program[:2] == ["python", "-c"]
    with health_page(status) as (port, asked):
        # The proxy is not there: the check must go past it.
        place = environment(GOBBLER_HTTP_LISTEN=f":{port}", http_proxy="http://127.0.0.1:9")
        done = run(sys.executable, *program[1:], env=place)
    assert (done.returncode == 0) is is_well
    assert asked == [Config().health_endpoint]


# gunicorn and the Procfile


def gunicorn_settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> SimpleNamespace:
    """Run the configuration file as gunicorn does."""
    for name in ("PORT", "GOBBLER_HTTP_LISTEN", "GOBBLER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("gunicorn_conf", GUNICORN_CONF)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SimpleNamespace(**vars(module))


@pytest.mark.parametrize(
    ("variables", "bind"),
    [
        ({}, ":8080"),
        ({"PORT": "5000"}, ":5000"),
        ({"GOBBLER_HTTP_LISTEN": "localhost:9000"}, "localhost:9000"),
        ({"GOBBLER_HTTP_LISTEN": "[::1]:9000"}, "[::1]:9000"),
    ],
)
def test_gunicorn_listens_where_the_options_say(
    variables: dict[str, str], bind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gunicorn_settings(monkeypatch, **variables).bind == bind


def test_a_bad_option_ends_gunicorns_start_in_one_line() -> None:
    done = run_gunicorn(GOBBLER_HTTP_LISTEN="nowhere")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "gobbler: --http: 'nowhere' is not [host]:port, such as :8080, localhost:8080 or [::1]:8080 "
        "(from environment GOBBLER_HTTP_LISTEN)"
    ]


def gunicorn(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gunicorn", "-c", str(GUNICORN_CONF), *arguments]


def run_gunicorn(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(*gunicorn(*arguments, "gobbler.wsgi:app"), env=environment(**variables))


def test_a_second_worker_is_refused() -> None:
    done = run_gunicorn("-w", "2", GOBBLER_HTTP_LISTEN="127.0.0.1:0")
    assert done.returncode == 1
    assert "Error: 2 workers asked for, but Gobbler runs one worker a storage path." in done.stderr
    assert "Traceback" not in done.stderr


APPLICATION = """
import fcntl, os
# The storage path's lock in small: a second worker beside the first cannot start.
lock = open("lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("serving", os.getpid(), flush=True)

def app(environ, start_response):
    start_response("200 OK", [])
    return []
"""


@contextmanager
def running_gunicorn(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """Yield a gunicorn that serves the application above, and the lines that it writes."""
    (folder / "locked.py").write_text(APPLICATION, encoding="utf-8")
    place = environment(GOBBLER_HTTP_LISTEN="127.0.0.1:0", PYTHONPATH=str(ROOT))
    command = gunicorn("--chdir", str(folder), "locked:app")
    with subprocess.Popen(
        command, env=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        # A test that waits for a line that never comes is ended by the end of the program.
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        try:
            yield process, iter(process.stdout.readline, "")
        finally:
            process.terminate()
            process.wait(DEADLINE)
            watchdog.cancel()


def next_line(lines: Iterator[str], word: str) -> str:
    return next(line for line in lines if word in line)


def test_a_worker_beside_the_first_is_not_started_on_request(tmp_path: Path) -> None:
    with running_gunicorn(tmp_path) as (process, lines):
        next_line(lines, "serving")
        process.send_signal(signal.SIGTTIN)
        next_line(lines, "one worker a storage path")
        process.terminate()
        rest = list(lines)
    assert [line for line in rest if "Booting" in line] == []
    assert process.returncode == 0


def test_a_reload_hands_the_storage_path_to_the_new_worker(tmp_path: Path) -> None:
    with running_gunicorn(tmp_path) as (process, lines):
        first = next_line(lines, "serving")
        process.send_signal(signal.SIGHUP)
        second = next_line(lines, "serving")
        process.terminate()
        rest = list(lines)
    assert first != second
    assert [line for line in rest if "failed" in line] == []
    assert process.returncode == 0


def test_the_procfile_runs_what_exists() -> None:
    process, _, command = (ROOT / "Procfile").read_text(encoding="utf-8").strip().partition(": ")
    program, flag, file, application = shlex.split(command)
    module, _, name = application.partition(":")
    assert (process, program, flag) == ("web", "gunicorn", "-c")
    assert ROOT / file == GUNICORN_CONF
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    # Not imported: that patches the standard library, and may start a server.
    assert re.search(rf"^{name}\b.* = ", Path(spec.origin).read_text(encoding="utf-8"), re.MULTILINE)


# The example of a configuration file


def test_the_example_file_shows_every_option_with_its_default(tmp_path: Path) -> None:
    text = (ROOT / "conf" / "gobbler.example.toml").read_text(encoding="utf-8")
    file = tmp_path / "gobbler.toml"
    file.write_text(re.sub(r"^# ([a-z-]+ = )", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert list(tomllib.loads(file.read_text(encoding="utf-8"))) == [option.key for option in OPTIONS]
    assert load({}, {}, str(file)) == Config()
    assert tomllib.loads(text) == {}
