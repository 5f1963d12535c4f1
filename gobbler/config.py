"""Every option of the server: one table, one line of facts each.

The command line wins over the environment, that over the file, that over the
default; `load` checks all of it before anything is opened. To add an option,
add a field to `Config`: the command line, `--help`, the environment, the file
and the error texts follow from it.
"""

# ruff: noqa: RUF009 - `option` makes a dataclass field; it is not a default that instances share.

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import combinations
from pathlib import Path

from gobbler.errors import ConfigError
from gobbler.kinds import (
    ADDRESS,
    DURATION,
    ENDPOINT,
    FOLDER,
    SWITCH,
    SYNC_INTERVAL,
    URL_PREFIX,
    Address,
    one_of,
    optional,
    size,
)
from gobbler.options import Also, File, Settings, option

SERVER = "Server"
STORAGE = "Storage"
WEBSOCKET = "WebSocket"
ADMINISTRATION = "Administration"

CONFIG_VARIABLE = "GOBBLER_CONFIG"
"""The environment variable that names the file of `--config`."""

REST_PREFIX = "/api/"
"""Where the REST interface is; no option may claim a path below it."""

ROUTER_PAGE = "/admin/router"
"""Where the administration page of the routes is."""


def _port(text: str) -> str:
    """Make `--http` of Heroku's PORT: listen on that port, on all interfaces."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("is not a port")
    return f":{text}"


@dataclass(frozen=True, slots=True, repr=False)
class Config(Settings):
    """The server's options, checked. `Config()` has the defaults.

    Sizes are bytes, times are seconds. `fsync` is 0.0 for always and None for never.
    An endpoint is "" and `profile`, `retention_age` and `retention_bytes` are None when off.
    """

    # Two or three lines an option: the facts, the help, the group.
    # fmt: off
    env: str = option(
        "--env", one_of("development", "integration", "preproduction", "production"), "development",
        "Name of the environment; it stands in every JSON log line.", group=SERVER,
    )
    http: Address = option(
        "--http", ADDRESS, ":8080",
        "Where to listen; no host means all interfaces. PORT, as Heroku sets it, is understood too.",
        group=SERVER, env="GOBBLER_HTTP_LISTEN", also=(Also("PORT", _port),),
    )
    log: str = option(
        "--log", one_of("panic", "fatal", "error", "warn", "info", "debug"), "error",
        "Log this level and all that is more severe.", group=SERVER,
    )
    max_message_size: int = option(
        "--max-message-size", size("1", "1GiB"), "1MiB",
        "Largest body of a message; the unit may be KiB, MiB or GiB.", group=SERVER,
    )

    kvs: str = option(
        "--kvs", one_of("memory", "file"), "file",
        "Where keys and values are kept; file is SQLite in the storage path.", group=STORAGE,
    )
    ms: str = option(
        "--ms", one_of("memory", "file"), "file",
        "Where messages are kept; file is a commit log in the storage path.", group=STORAGE,
    )
    storage_path: Path = option(
        "--storage-path", FOLDER, "/var/lib/gobbler",
        "Folder of everything that is kept; created when its parent exists. One server a folder.",
        group=STORAGE,
    )
    fsync: float | None = option(
        "--fsync", SYNC_INTERVAL, "1",
        "When messages are synced to the disk: before every answer, at this interval, or whenever the "
        "operating system does it. A killed server loses nothing either way; a power cut may.",
        group=STORAGE,
    )
    ms_memory_bytes: int = option(
        "--ms-memory-bytes", size("64KiB"), "64MiB",
        "With --ms memory: how much is kept; the oldest messages go first.", group=STORAGE,
    )
    segment_bytes: int = option(
        "--segment-bytes", size("64KiB", "1GiB"), "16MiB",
        "With --ms file: size of one file of a partition's log.", group=STORAGE,
    )
    retention_age: float | None = option(
        "--retention-age", optional(DURATION), "off",
        "With --ms file: drop segments whose messages are all older; 90s, 12h or 7d.", group=STORAGE,
    )
    retention_bytes: int | None = option(
        "--retention-bytes", optional(size()), "off",
        "With --ms file: drop a partition's oldest segments when it is larger.", group=STORAGE,
    )

    ws: bool = option("--ws", SWITCH, "on", "Serve WebSocket clients.", group=WEBSOCKET)
    ws_prefix: str = option(
        "--ws-prefix", URL_PREFIX, "/stream/",
        "Path that WebSocket clients connect to.", group=WEBSOCKET,
    )
    ws_ping_interval: float = option(
        "--ws-ping-interval", DURATION, "30",
        "Ping a client after so many seconds of silence; drop it when it does not answer for as long again.",
        group=WEBSOCKET,
    )

    health_endpoint: str = option(
        "--health-endpoint", ENDPOINT, "/admin/healthcheck",
        'Path that tells whether the server is well; "" turns it off.', group=ADMINISTRATION,
    )
    metrics_endpoint: str = option(
        "--metrics-endpoint", ENDPOINT, "/admin/metrics",
        'Path of the metrics for Prometheus; "" turns it off.', group=ADMINISTRATION,
    )
    profile: str | None = option(
        "--profile", optional(one_of("cpu", "mem", "block")), "off",
        "Measure where the server spends processor time or memory, or what blocks its event loop; "
        "the report is written into the storage path when the server stops.",
        group=ADMINISTRATION,
    )
    # fmt: on


OPTIONS = Config.options()
"""The table, in the order of `--help`."""


def load(argv: Mapping[str, object], environ: Mapping[str, str], file: str | None = None) -> Config:
    """Return the checked configuration.

    `argv` maps field names to what the command line gave (None: nothing), `file` is the name of
    a TOML file; without one, GOBBLER_CONFIG of `environ` may name it.
    Raises: ConfigError, its text one line that names the option and where the value came from.
    """
    name = file if file is not None else environ.get(CONFIG_VARIABLE)
    config = Config.read(argv, environ, File.read(name) if name else File("", {}))
    _check_paths(config)
    _check_memory(config)
    return config


def version() -> str:
    """Return the version of the installed package, `0+unknown` when it runs from a bare checkout."""
    try:
        return metadata.version("gobbler")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def _check_paths(config: Config) -> None:
    """Refuse pages that would hide each other."""
    claims = [
        ("the REST interface", REST_PREFIX),
        ("the router's page", ROUTER_PAGE),
        ("--ws-prefix", config.ws_prefix if config.ws else ""),
        ("--health-endpoint", config.health_endpoint),
        ("--metrics-endpoint", config.metrics_endpoint),
    ]
    for (first, one), (second, other) in combinations([claim for claim in claims if claim[1]], 2):
        if _overlap(one, other):
            raise ConfigError(f"{second}: {other!r} is taken by {first} ({one!r})")


def _overlap(one: str, other: str) -> bool:
    """Tell whether two paths are the same, or one is a prefix (it ends with a slash) of the other."""
    return one.rstrip("/") == other.rstrip("/") or any(
        prefix.endswith("/") and path.startswith(prefix) for prefix, path in ((one, other), (other, one))
    )


def _check_memory(config: Config) -> None:
    if config.ms == "memory" and config.max_message_size > config.ms_memory_bytes:
        raise ConfigError(
            f"--ms-memory-bytes: {config.ms_memory_bytes} bytes cannot hold one message of "
            f"--max-message-size ({config.max_message_size} bytes)"
        )
