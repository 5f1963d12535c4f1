"""Every option of the server: one table, one line of facts each.

The command line wins over the environment, that over the file, that over the
default; `load` checks all of it before anything is opened. To add an option,
add a field to `Config`: the command line, `--help`, the environment, the file
and the error texts follow from it.
"""

# ruff: noqa: RUF009 - `option` makes a dataclass field; it is not a default that instances share.

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import combinations
from pathlib import Path

from gobbler import database_url
from gobbler.errors import ConfigError
from gobbler.kinds import (
    ADDRESS,
    BROKERS,
    DURATION,
    ENDPOINT,
    FILE,
    FOLDER,
    HEXADECIMAL,
    HOST,
    KAFKA_TOPIC,
    MAX_PORT,
    SWITCH,
    SYNC_INTERVAL,
    TEXT,
    TOPIC,
    URL_PREFIX,
    WEB_ADDRESS,
    WORKERS,
    Address,
    number,
    one_of,
    optional,
    size,
)
from gobbler.options import Also, File, Settings, option

SERVER = "Server"
STORAGE = "Storage"
POSTGRES = "PostgreSQL"
WEBSOCKET = "WebSocket"
PUSH = "Push notifications"
FCM = "Firebase Cloud Messaging"
APNS = "Apple Push Notification service"
SMS = "SMS"
KAFKA = "Kafka"
ADMINISTRATION = "Administration"

CONFIG_VARIABLE = "GOBBLER_CONFIG"
"""The environment variable that names the file of `--config`."""

REST_PREFIX = "/api/"
"""Where the REST interface is; no option may claim a path below it."""

ROUTER_PAGE = "/admin/router"
"""Where the administration page of the routes is."""

DASHBOARD = ("/admin", "/admin/api/", "/admin/files/")
"""Where the dashboard, what it asks for and what it is made of are."""

CLIENT_PREFIX = "/client/"
"""Where the client library for browsers is."""

EXAMPLES_PREFIX = "/examples/"
"""Where the chat is."""


def _port(text: str) -> str:
    """Make `--http` of Heroku's PORT: listen on that port, on all interfaces."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("is not a port")
    return f":{text}"


def _from_url(part: Callable[[str], str | None]) -> Also:
    """Take an option of PostgreSQL from DATABASE_URL, which holds a password."""
    return Also("DATABASE_URL", part, secret=True)


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
    examples: bool = option(
        "--examples", SWITCH, "on", "Serve the chat at /examples/chat, with --ws.", group=SERVER
    )

    kvs: str = option(
        "--kvs", one_of("memory", "file", "postgres"), "file",
        "Where keys and values (push subscriptions) are kept; file is SQLite in the storage path.",
        group=STORAGE,
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

    pg_host: str = option(
        "--pg-host", HOST, "localhost", "Host, or folder of the socket, of the server for --kvs postgres. "
        "DATABASE_URL is understood too, for this and the other options of this group.",
        group=POSTGRES, also=(_from_url(database_url.host),),
    )
    pg_port: int = option(
        "--pg-port", number(1, MAX_PORT), "5432", "Its port.",
        group=POSTGRES, also=(_from_url(database_url.port),),
    )
    pg_user: str = option(
        "--pg-user", TEXT, "gobbler", "The user to log in as.",
        group=POSTGRES, also=(_from_url(database_url.user),),
    )
    pg_password: str = option(
        "--pg-password", TEXT, "gobbler", "The user's password.",
        group=POSTGRES, also=(_from_url(database_url.password),), secret=True,
    )
    pg_dbname: str = option(
        "--pg-dbname", TEXT, "gobbler", "The database.",
        group=POSTGRES, also=(_from_url(database_url.dbname),),
    )
    pg_sslmode: str = option(
        "--pg-sslmode", one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"), "prefer",
        "Whether the connection is encrypted, and how the server's certificate is checked.",
        group=POSTGRES, also=(_from_url(database_url.sslmode),),
    )
    pg_ca_file: Path | None = option(
        "--pg-ca-file", FILE, "",
        "Certificates that --pg-sslmode verify-ca and verify-full trust; without it, libpq's own file.",
        group=POSTGRES, also=(_from_url(database_url.ca_file),),
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

    push_retry_delay: float | None = option(
        "--push-retry-delay", optional(DURATION), "off",
        "Try a notification that failed again after so long, then after twice that and so on; off: as the "
        "provider asks for, 10 s (FCM) or 2 s (APNs, SMS).",
        group=PUSH,
    )

    fcm: bool = option("--fcm", SWITCH, "off", "Send push notifications through FCM.", group=FCM)
    fcm_workers: int = option(
        "--fcm-workers", WORKERS, "auto",
        "How many workers send, each up to 50 notifications at a time; auto: one a processor.", group=FCM,
    )
    fcm_prefix: str = option(
        "--fcm-prefix", URL_PREFIX, "/fcm/", "Path of the interface for FCM's subscriptions.", group=FCM,
    )
    fcm_endpoint: str = option(
        "--fcm-endpoint", WEB_ADDRESS, "https://fcm.googleapis.com",
        "Where FCM is; with --fcm-api-key the whole address that notifications are posted to.", group=FCM,
    )
    fcm_service_account_file: Path | None = option(
        "--fcm-service-account-file", FILE, "",
        "The service account's key, as Google's console gives it, for the HTTP v1 protocol.", group=FCM,
    )
    fcm_project_id: str = option(
        "--fcm-project-id", TEXT, "", "The Firebase project; without it, that of the service account.",
        group=FCM,
    )
    fcm_api_key: str = option(
        "--fcm-api-key", TEXT, "",
        "Key of the legacy protocol, which gateways still speak; needs --fcm-endpoint.",
        group=FCM, secret=True,
    )
    fcm_ca_file: Path | None = option(
        "--fcm-ca-file", FILE, "",
        "Certificates to trust in place of the public ones, for FCM and its token endpoint.", group=FCM,
    )

    apns: bool = option("--apns", SWITCH, "off", "Send push notifications through APNs.", group=APNS)
    apns_production: bool = option(
        "--apns-production", SWITCH, "off", "Use Apple's production service, not the sandbox.", group=APNS,
    )
    apns_workers: int = option(
        "--apns-workers", WORKERS, "auto",
        "How many workers send, each up to 50 notifications at a time; auto: one a processor.", group=APNS,
    )
    apns_prefix: str = option(
        "--apns-prefix", URL_PREFIX, "/apns/", "Path of the interface for APNs' subscriptions.", group=APNS,
    )
    apns_app_topic: str = option(
        "--apns-app-topic", TEXT, "", "The app's bundle id: the APNs topic.", group=APNS,
    )
    apns_cert_file: Path | None = option(
        "--apns-cert-file", FILE, "", "A certificate with its key, as PKCS#12 (.p12).", group=APNS,
    )
    apns_cert_bytes: bytes = option(
        "--apns-cert-bytes", HEXADECIMAL, "", "The same in place of a file.", group=APNS, secret=True,
    )
    apns_cert_password: str = option(
        "--apns-cert-password", TEXT, "", "Its password.", group=APNS, secret=True,
    )
    apns_key_file: Path | None = option(
        "--apns-key-file", FILE, "", "A provider token's key (.p8), in place of a certificate.", group=APNS,
    )
    apns_key_id: str = option("--apns-key-id", TEXT, "", "The key's id.", group=APNS)
    apns_team_id: str = option("--apns-team-id", TEXT, "", "The team that the key belongs to.", group=APNS)
    apns_endpoint: str = option(
        "--apns-endpoint", WEB_ADDRESS, "",
        "Where APNs is; without it, Apple's as --apns-production says.", group=APNS,
    )
    apns_ca_file: Path | None = option(
        "--apns-ca-file", FILE, "", "Certificates to trust in place of the public ones.", group=APNS,
    )

    sms: bool = option("--sms", SWITCH, "off", "Send SMS through Vonage (formerly Nexmo).", group=SMS)
    sms_api_key: str = option("--sms-api-key", TEXT, "", "The account's key.", group=SMS, secret=True)
    sms_api_secret: str = option(
        "--sms-api-secret", TEXT, "", "The account's secret.", group=SMS, secret=True,
    )
    sms_topic: str = option(
        "--sms-topic", TOPIC, "/sms", "Messages to this topic and below it are sent as SMS.", group=SMS,
    )
    sms_workers: int = option(
        "--sms-workers", WORKERS, "auto",
        "How many workers send, each up to 50 SMS at a time; auto: one a processor.", group=SMS,
    )
    sms_from: str = option(
        "--sms-from", TEXT, "", "The sender of an SMS that names none: a number or a name.", group=SMS,
    )
    sms_rate: int = option(
        "--sms-rate", number(1, 10_000), "30", "How many requests a second the account allows.", group=SMS,
    )
    sms_max_parts: int = option(
        "--sms-max-parts", number(1, 10), "1",
        "Send a text of up to so many parts (160 or 70 characters, fewer where there are several); "
        "refuse longer ones.",
        group=SMS,
    )
    sms_signature_method: str = option(
        "--sms-signature-method", one_of("md5hash", "md5", "sha1", "sha256", "sha512"), "sha256",
        "How requests and receipts are signed.", group=SMS,
    )
    sms_signature_secret: str = option(
        "--sms-signature-secret", TEXT, "",
        "Sign requests with this secret in place of --sms-api-secret, and refuse receipts that are not.",
        group=SMS, secret=True,
    )
    sms_receipt_endpoint: str = option(
        "--sms-receipt-endpoint", ENDPOINT, "/sms/receipt",
        'Path that the provider sends delivery receipts to; "" turns it off.', group=SMS,
    )
    sms_receipt_url: str = option(
        "--sms-receipt-url", WEB_ADDRESS, "",
        "The same as the provider sees it; without it, receipts go where the account's settings say.",
        group=SMS,
    )
    sms_endpoint: str = option(
        "--sms-endpoint", WEB_ADDRESS, "https://rest.nexmo.com/sms/json", "Where SMS are posted to.",
        group=SMS,
    )
    sms_ca_file: Path | None = option(
        "--sms-ca-file", FILE, "", "Certificates to trust in place of the public ones.", group=SMS,
    )

    kafka_brokers: tuple[str, ...] = option(
        "--kafka-brokers", BROKERS, "",
        "Report events to Kafka through these brokers: those for which a topic is named.", group=KAFKA,
    )
    sms_kafka_topic: str = option(
        "--sms-kafka-topic", KAFKA_TOPIC, "", "The Kafka topic of SMS and their receipts.", group=KAFKA,
    )
    subscribe_kafka_topic: str = option(
        "--subscribe-kafka-topic", KAFKA_TOPIC, "", "The Kafka topic of push subscriptions.", group=KAFKA,
    )
    fcm_kafka_topic: str = option(
        "--fcm-kafka-topic", KAFKA_TOPIC, "", "The Kafka topic of notifications through FCM.", group=KAFKA,
    )
    apns_kafka_topic: str = option(
        "--apns-kafka-topic", KAFKA_TOPIC, "", "The Kafka topic of notifications through APNs.", group=KAFKA,
    )
    kafka_security: str = option(
        "--kafka-security", one_of("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"), "plaintext",
        "How to talk to the brokers.", group=KAFKA,
    )
    kafka_ca_file: Path | None = option(
        "--kafka-ca-file", FILE, "", "Certificates to trust in place of the public ones.", group=KAFKA,
    )
    kafka_mechanism: str = option(
        "--kafka-mechanism", one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), "PLAIN",
        "How to log in, with sasl_plaintext and sasl_ssl.", group=KAFKA,
    )
    kafka_user: str = option("--kafka-user", TEXT, "", "The user to log in as.", group=KAFKA)
    kafka_password: str = option("--kafka-password", TEXT, "", "Its password.", group=KAFKA, secret=True)

    health_endpoint: str = option(
        "--health-endpoint", ENDPOINT, "/admin/healthcheck",
        'Path that tells whether the server is well; "" turns it off.', group=ADMINISTRATION,
    )
    metrics_endpoint: str = option(
        "--metrics-endpoint", ENDPOINT, "/admin/metrics",
        'Path of the metrics for Prometheus; "" turns it off.', group=ADMINISTRATION,
    )
    toggles_endpoint: str = option(
        "--toggles-endpoint", ENDPOINT, "/admin/toggles",
        'Path that stops and starts connectors; "" turns it off.', group=ADMINISTRATION,
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
    _check_fcm(config)
    _check_apns(config)
    _check_sms(config)
    _check_kafka(config)
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
        *(("the dashboard", path) for path in DASHBOARD),
        ("the browser client", CLIENT_PREFIX),
        ("--examples", EXAMPLES_PREFIX if config.examples and config.ws else ""),
        ("--ws-prefix", config.ws_prefix if config.ws else ""),
        ("--health-endpoint", config.health_endpoint),
        ("--metrics-endpoint", config.metrics_endpoint),
        ("--toggles-endpoint", config.toggles_endpoint),
        ("--fcm-prefix", config.fcm_prefix if config.fcm else ""),
        ("--apns-prefix", config.apns_prefix if config.apns else ""),
        ("--sms-receipt-endpoint", config.sms_receipt_endpoint if config.sms else ""),
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


def _check_fcm(config: Config) -> None:
    if not config.fcm:
        return
    if bool(config.fcm_service_account_file) == bool(config.fcm_api_key):
        raise ConfigError("--fcm: needs either --fcm-service-account-file or --fcm-api-key")
    if config.fcm_api_key and config.fcm_endpoint == Config().fcm_endpoint:
        raise ConfigError(
            "--fcm-api-key: Google no longer speaks the legacy protocol; name a gateway with --fcm-endpoint"
        )
    if not config.fcm_endpoint:
        raise ConfigError("--fcm-endpoint: must not be empty")


def _check_apns(config: Config) -> None:
    if not config.apns:
        if config.apns_production:
            raise ConfigError("--apns-production: needs --apns")
        return
    credentials = (config.apns_cert_file, config.apns_cert_bytes, config.apns_key_file)
    if len([given for given in credentials if given]) != 1:
        raise ConfigError("--apns: needs one of --apns-cert-file, --apns-cert-bytes and --apns-key-file")
    if config.apns_key_file and not (config.apns_key_id and config.apns_team_id):
        raise ConfigError("--apns-key-file: needs --apns-key-id and --apns-team-id")
    if not config.apns_app_topic:
        raise ConfigError("--apns: needs --apns-app-topic")
    if config.apns_endpoint and not re.fullmatch("(?i:https)://[^/]+", config.apns_endpoint):
        raise ConfigError("--apns-endpoint: must be https://host or https://host:port")


def _check_sms(config: Config) -> None:
    if not config.sms:
        return
    if not config.sms_api_key or not (config.sms_api_secret or config.sms_signature_secret):
        raise ConfigError("--sms: needs --sms-api-key, and --sms-api-secret or --sms-signature-secret")
    if not config.sms_endpoint:
        raise ConfigError("--sms-endpoint: must not be empty")


def _check_kafka(config: Config) -> None:
    if config.kafka_security.startswith("sasl") and not (config.kafka_user and config.kafka_password):
        raise ConfigError(
            f"--kafka-security: {config.kafka_security} needs --kafka-user and --kafka-password"
        )
