"""The server's options: the table itself, the values it takes, what does not go together."""

import re
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path

import pytest

from gobbler import config
from gobbler.config import OPTIONS, Config, load
from gobbler.errors import ConfigError
from gobbler.kinds import Address

SPECIFIED = {
    "--env": ("GOBBLER_ENV", "development"),
    "--http": ("GOBBLER_HTTP_LISTEN", ":8080"),
    "--log": ("GOBBLER_LOG", "error"),
    "--kvs": ("GOBBLER_KVS", "file"),
    "--ms": ("GOBBLER_MS", "file"),
    "--storage-path": ("GOBBLER_STORAGE_PATH", "/var/lib/gobbler"),
    "--fsync": ("GOBBLER_FSYNC", "1"),
    "--health-endpoint": ("GOBBLER_HEALTH_ENDPOINT", "/admin/healthcheck"),
    "--metrics-endpoint": ("GOBBLER_METRICS_ENDPOINT", "/admin/metrics"),
    "--ws": ("GOBBLER_WS", "on"),
    "--ws-prefix": ("GOBBLER_WS_PREFIX", "/stream/"),
    "--ws-ping-interval": ("GOBBLER_WS_PING_INTERVAL", "30"),
    "--max-message-size": ("GOBBLER_MAX_MESSAGE_SIZE", "1MiB"),
    "--ms-memory-bytes": ("GOBBLER_MS_MEMORY_BYTES", "64MiB"),
    "--segment-bytes": ("GOBBLER_SEGMENT_BYTES", "16MiB"),
    "--retention-age": ("GOBBLER_RETENTION_AGE", "off"),
    "--retention-bytes": ("GOBBLER_RETENTION_BYTES", "off"),
    "--profile": ("GOBBLER_PROFILE", "off"),
}


def refused(argv: dict[str, object] | None = None, environ: dict[str, str] | None = None) -> str:
    """Return the line that refuses a configuration."""
    with pytest.raises(ConfigError) as caught:
        load(argv or {}, environ or {})
    return str(caught.value)


def test_the_table_is_the_specified_one() -> None:
    assert {o.flag: (o.env, o.default) for o in OPTIONS} == SPECIFIED


def test_fields_are_named_after_their_flags() -> None:
    assert [f.name for f in fields(Config)] == [o.name for o in OPTIONS]


def test_options_of_a_group_stand_together() -> None:
    groups = [o.group for o in OPTIONS]
    assert sorted(set(groups), key=groups.index) == ["Server", "Storage", "WebSocket", "Administration"]
    assert groups == sorted(groups, key=["Server", "Storage", "WebSocket", "Administration"].index)


def test_every_help_is_sentences() -> None:
    assert [o.flag for o in OPTIONS if not re.fullmatch(r"[A-Z].*\.", o.help)] == []


def test_defaults() -> None:
    got = load({}, {})
    assert got == Config()
    assert (got.http, got.fsync, got.max_message_size) == (Address("", 8080), 1.0, 1 << 20)
    assert (got.ms_memory_bytes, got.segment_bytes) == (64 << 20, 16 << 20)
    assert (got.retention_age, got.retention_bytes, got.profile) == (None, None, None)
    assert (got.ws, got.ws_prefix, got.ws_ping_interval) == (True, "/stream/", 30.0)
    assert got.storage_path == Path("/var/lib/gobbler")


def test_every_option_from_the_environment() -> None:
    values = ["production", "[::1]:80", "warn", "2MiB", "memory", "memory", "/d", "always", "3MiB", "64KiB"]
    values += ["7d", "1GiB", "no", "/ws", "10", "", "/m", "cpu"]
    got = load({}, {o.env: value for o, value in zip(OPTIONS, values, strict=True)})
    assert got == Config(
        "production", Address("::1", 80), "warn", 2 << 20, "memory", "memory", Path("/d"), 0.0, 3 << 20,
        1 << 16, 604800.0, 1 << 30, False, "/ws/", 10.0, "", "/m", "cpu",
    )  # fmt: skip


def test_the_file_is_named_by_the_caller_or_the_environment(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text('log = "info"\nws = false\nfsync = 0.5\nmax-message-size = 4096\n')
    other.write_text('log = "debug"\n')
    environ = {"GOBBLER_CONFIG": str(other)}
    got = load({}, environ, str(one))
    assert (got.log, got.ws, got.fsync, got.max_message_size) == ("info", False, 0.5, 4096)
    assert load({}, environ).log == "debug"
    assert load({}, {"GOBBLER_CONFIG": ""}).log == "error"


def test_herokus_port() -> None:
    assert load({}, {"PORT": "5000"}).http == Address("", 5000)
    assert load({}, {"PORT": "5000", "GOBBLER_HTTP_LISTEN": ":6000"}).http == Address("", 6000)
    assert load({"http": ":7000"}, {"PORT": "5000"}).http == Address("", 7000)
    assert load({}, {"PORT": ""}).http == Address("", 8080)
    assert refused({}, {"PORT": "tcp://x"}) == "--http: 'tcp://x' is not a port (from environment PORT)"
    assert "(from environment PORT)" in refused({}, {"PORT": "70000"})


@pytest.mark.parametrize(
    ("flag", "value", "problem"),
    [
        ("env", "prod", "'prod' is none of development, integration, preproduction, production"),
        ("kvs", "postgres", "'postgres' is none of memory, file"),
        ("ms", "disk", "'disk' is none of memory, file"),
        ("log", "warning", "'warning' is none of panic, fatal, error, warn, info, debug"),
        ("segment-bytes", "65535", "'65535' is too small: the minimum is 64KiB"),
        ("max-message-size", "0", "'0' is too small: the minimum is 1"),
        ("profile", "gpu", "'gpu' is none of cpu, mem, block"),
        ("ws-prefix", "/", "'/' is not a prefix such as /stream/"),
    ],
)
def test_values_that_are_refused(flag: str, value: str, problem: str) -> None:
    expected = f"--{flag}: {problem} (from the command line)"
    assert refused({flag.replace("-", "_"): value}) == expected


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ({"health_endpoint": "/admin/metrics"},
         "--metrics-endpoint: '/admin/metrics' is taken by --health-endpoint ('/admin/metrics')"),
        ({"health_endpoint": "/stream/health"},
         "--health-endpoint: '/stream/health' is taken by --ws-prefix ('/stream/')"),
        ({"metrics_endpoint": "/api/metrics"},
         "--metrics-endpoint: '/api/metrics' is taken by the REST interface ('/api/')"),
        ({"metrics_endpoint": "/admin/router"},
         "--metrics-endpoint: '/admin/router' is taken by the router's page ('/admin/router')"),
        ({"ws_prefix": "/admin"}, "--ws-prefix: '/admin/' is taken by the router's page ('/admin/router')"),
        ({"ws_prefix": "/api/ws"}, "--ws-prefix: '/api/ws/' is taken by the REST interface ('/api/')"),
        ({"metrics_endpoint": "/api"}, "--metrics-endpoint: '/api' is taken by the REST interface ('/api/')"),
        ({"ms": "memory", "ms_memory_bytes": "64KiB"},
         "--ms-memory-bytes: 65536 bytes cannot hold one message of --max-message-size (1048576 bytes)"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(argv: dict[str, object], line: str) -> None:
    assert refused(argv) == line


def test_options_that_are_off_take_no_path() -> None:
    assert load({"health_endpoint": "", "metrics_endpoint": ""}, {}).health_endpoint == ""
    assert load({"ws": False, "health_endpoint": "/stream/"}, {}).health_endpoint == "/stream/"
    assert load({"metrics_endpoint": "/apis"}, {}).metrics_endpoint == "/apis"


def test_public_has_every_option_as_plain_values() -> None:
    public = replace(Config(), profile="mem").public()
    assert list(public) == [o.key for o in OPTIONS]
    assert (public["http"], public["storage-path"], public["profile"]) == (":8080", "/var/lib/gobbler", "mem")
    assert {type(value) for value in public.values()} <= {str, int, float, bool, type(None)}


def test_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: f"1.2.3 of {name}")
    assert config.version() == "1.2.3 of gobbler"

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert config.version() == "0+unknown"
