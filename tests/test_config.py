"""The server's options: the table itself, the values it takes, what does not go together."""

import json
import os
import re
import traceback
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path

import pytest

from gobbler import config
from gobbler.config import OPTIONS, Config, load
from gobbler.errors import ConfigError
from gobbler.kinds import Address
from gobbler.options import Option

DEFAULTS = {
    "--env": "development",
    "--http": ":8080",
    "--log": "error",
    "--max-message-size": "1MiB",
    "--examples": "on",
    "--kvs": "file",
    "--ms": "file",
    "--storage-path": "/var/lib/gobbler",
    "--fsync": "1",
    "--ms-memory-bytes": "64MiB",
    "--segment-bytes": "16MiB",
    "--retention-age": "off",
    "--retention-bytes": "off",
    "--pg-host": "localhost",
    "--pg-port": "5432",
    "--pg-user": "gobbler",
    "--pg-password": "gobbler",
    "--pg-dbname": "gobbler",
    "--pg-sslmode": "prefer",
    "--pg-ca-file": "",
    "--ws": "on",
    "--ws-prefix": "/stream/",
    "--ws-ping-interval": "30",
    "--push-retry-delay": "off",
    "--fcm": "off",
    "--fcm-workers": "auto",
    "--fcm-prefix": "/fcm/",
    "--fcm-endpoint": "https://fcm.googleapis.com",
    "--fcm-service-account-file": "",
    "--fcm-project-id": "",
    "--fcm-api-key": "",
    "--fcm-ca-file": "",
    "--apns": "off",
    "--apns-production": "off",
    "--apns-workers": "auto",
    "--apns-prefix": "/apns/",
    "--apns-app-topic": "",
    "--apns-cert-file": "",
    "--apns-cert-bytes": "",
    "--apns-cert-password": "",
    "--apns-key-file": "",
    "--apns-key-id": "",
    "--apns-team-id": "",
    "--apns-endpoint": "",
    "--apns-ca-file": "",
    "--sms": "off",
    "--sms-api-key": "",
    "--sms-api-secret": "",
    "--sms-topic": "/sms",
    "--sms-workers": "auto",
    "--sms-from": "",
    "--sms-rate": "30",
    "--sms-max-parts": "1",
    "--sms-signature-method": "sha256",
    "--sms-signature-secret": "",
    "--sms-receipt-endpoint": "/sms/receipt",
    "--sms-receipt-url": "",
    "--sms-endpoint": "https://rest.nexmo.com/sms/json",
    "--sms-ca-file": "",
    "--kafka-brokers": "",
    "--sms-kafka-topic": "",
    "--subscribe-kafka-topic": "",
    "--fcm-kafka-topic": "",
    "--apns-kafka-topic": "",
    "--kafka-security": "plaintext",
    "--kafka-ca-file": "",
    "--kafka-mechanism": "PLAIN",
    "--kafka-user": "",
    "--kafka-password": "",
    "--health-endpoint": "/admin/healthcheck",
    "--metrics-endpoint": "/admin/metrics",
    "--toggles-endpoint": "/admin/toggles",
    "--profile": "off",
}
"""Every option and its default, as specified."""

VARIABLES = {"--http": "GOBBLER_HTTP_LISTEN"}
"""The environment variables that are not named as their options are."""

GROUPS = [
    "Server",
    "Storage",
    "PostgreSQL",
    "WebSocket",
    "Push notifications",
    "Firebase Cloud Messaging",
    "Apple Push Notification service",
    "SMS",
    "Kafka",
    "Administration",
]

OTHERS: dict[str, tuple[str, object]] = {
    "env": ("production", "production"),
    "http": ("[::1]:80", Address("::1", 80)),
    "log": ("warn", "warn"),
    "max_message_size": ("2MiB", 2 << 20),
    "examples": ("no", False),
    "kvs": ("postgres", "postgres"),
    "ms": ("memory", "memory"),
    "storage_path": ("/d", Path("/d")),
    "fsync": ("always", 0.0),
    "ms_memory_bytes": ("3MiB", 3 << 20),
    "segment_bytes": ("64KiB", 1 << 16),
    "retention_age": ("7d", 604800.0),
    "retention_bytes": ("1GiB", 1 << 30),
    "pg_host": ("/run/postgresql", "/run/postgresql"),
    "pg_port": ("5433", 5433),
    "pg_user": ("me", "me"),
    "pg_password": ("pg pass", "pg pass"),
    "pg_dbname": ("bus", "bus"),
    "pg_sslmode": ("verify-full", "verify-full"),
    "pg_ca_file": ("/pg.pem", Path("/pg.pem")),
    "ws": ("no", False),
    "ws_prefix": ("/ws", "/ws/"),
    "ws_ping_interval": ("10", 10.0),
    "push_retry_delay": ("250ms", 0.25),
    "fcm": ("yes", True),
    "fcm_workers": ("997", 997),
    "fcm_prefix": ("/f", "/f/"),
    "fcm_endpoint": ("http://127.0.0.1:1/send", "http://127.0.0.1:1/send"),
    "fcm_service_account_file": ("", None),
    "fcm_project_id": ("project-1", "project-1"),
    "fcm_api_key": ("fcm key", "fcm key"),
    "fcm_ca_file": ("/fcm.pem", Path("/fcm.pem")),
    "apns": ("true", True),
    "apns_production": ("1", True),
    "apns_workers": ("998", 998),
    "apns_prefix": ("/a/", "/a/"),
    "apns_app_topic": ("com.example.app", "com.example.app"),
    "apns_cert_file": ("", None),
    "apns_cert_bytes": ("30820AbC", b"0\x82\x0a\xbc"),
    "apns_cert_password": ("cert pass", "cert pass"),
    "apns_key_file": ("", None),
    "apns_key_id": ("KEY", "KEY"),
    "apns_team_id": ("TEAM", "TEAM"),
    "apns_endpoint": ("https://127.0.0.1:2", "https://127.0.0.1:2"),
    "apns_ca_file": ("/apns.pem", Path("/apns.pem")),
    "sms": ("on", True),
    "sms_api_key": ("sms key", "sms key"),
    "sms_api_secret": ("sms secret", "sms secret"),
    "sms_topic": ("/text/", "/text"),
    "sms_workers": ("999", 999),
    "sms_from": ("Gobbler", "Gobbler"),
    "sms_rate": ("5", 5),
    "sms_max_parts": ("3", 3),
    "sms_signature_method": ("md5", "md5"),
    "sms_signature_secret": ("sign it", "sign it"),
    "sms_receipt_endpoint": ("/r", "/r"),
    "sms_receipt_url": ("https://example.org/r", "https://example.org/r"),
    "sms_endpoint": ("https://127.0.0.1:3/json", "https://127.0.0.1:3/json"),
    "sms_ca_file": ("/sms.pem", Path("/sms.pem")),
    "kafka_brokers": ("one:9092, two:9093", ("one:9092", "two:9093")),
    "sms_kafka_topic": ("sms", "sms"),
    "subscribe_kafka_topic": ("subscribe", "subscribe"),
    "fcm_kafka_topic": ("fcm", "fcm"),
    "apns_kafka_topic": ("apns", "apns"),
    "kafka_security": ("sasl_ssl", "sasl_ssl"),
    "kafka_ca_file": ("/kafka.pem", Path("/kafka.pem")),
    "kafka_mechanism": ("SCRAM-SHA-512", "SCRAM-SHA-512"),
    "kafka_user": ("kafka user", "kafka user"),
    "kafka_password": ("kafka pass", "kafka pass"),
    "health_endpoint": ("", ""),
    "metrics_endpoint": ("/m", "/m"),
    "toggles_endpoint": ("/t", "/t"),
    "profile": ("cpu", "cpu"),
}
"""For every option a text other than its default, and what becomes of it; all of them go together.

Of the credentials that exclude each other, one is given; the others are tested by themselves.
"""

EXCLUDED = {"fcm_service_account_file", "apns_cert_file", "apns_key_file"}

SECRETS = {
    "--pg-password",
    "--fcm-api-key",
    "--apns-cert-bytes",
    "--apns-cert-password",
    "--sms-api-key",
    "--sms-api-secret",
    "--sms-signature-secret",
    "--kafka-password",
}

FCM: dict[str, object] = {"fcm": True, "fcm_service_account_file": "/account.json"}
LEGACY: dict[str, object] = {"fcm": True, "fcm_api_key": "k3y", "fcm_endpoint": "https://gateway"}
APNS: dict[str, object] = {"apns": True, "apns_app_topic": "com.example", "apns_cert_file": "/cert.p12"}
TOKEN: dict[str, object] = {
    "apns": True,
    "apns_app_topic": "com.example",
    "apns_key_file": "/key.p8",
    "apns_key_id": "KEY",
    "apns_team_id": "TEAM",
}
SMS: dict[str, object] = {"sms": True, "sms_api_key": "k3y", "sms_api_secret": "s3cret"}
SASL: dict[str, object] = {"kafka_security": "sasl_ssl", "kafka_user": "me", "kafka_password": "s3cret"}


def without(options: dict[str, object], *names: str) -> dict[str, object]:
    """Return options without some of them."""
    assert set(names) <= set(options)
    return {name: value for name, value in options.items() if name not in names}


def refused(argv: dict[str, object] | None = None, environ: dict[str, str] | None = None) -> str:
    """Return the line that refuses a configuration."""
    with pytest.raises(ConfigError) as caught:
        load(argv or {}, environ or {})
    return str(caught.value)


def test_the_table_is_the_specified_one() -> None:
    assert {o.flag: o.default for o in OPTIONS} == DEFAULTS


def test_variables_are_named_after_their_options() -> None:
    derived = {o.flag: "GOBBLER_" + o.key.replace("-", "_").upper() for o in OPTIONS}
    assert {o.flag: o.env for o in OPTIONS} == derived | VARIABLES


def test_fields_are_named_after_their_flags() -> None:
    assert [f.name for f in fields(Config)] == [o.name for o in OPTIONS]


def test_options_of_a_group_stand_together() -> None:
    groups = [o.group for o in OPTIONS]
    assert sorted(set(groups), key=groups.index) == GROUPS
    assert groups == sorted(groups, key=GROUPS.index)


def test_the_secret_options_are_those_that_give_access() -> None:
    assert {o.flag for o in OPTIONS if o.secret} == SECRETS


def test_what_sounds_like_a_secret_is_one() -> None:
    named = re.compile(r"password|secret|api-key|bytes$|token")
    names = {o.flag for o in OPTIONS if named.search(o.flag) and o.kind.metavar != "BYTES"}
    assert names == SECRETS


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
    assert (got.fcm, got.apns, got.apns_production, got.sms) == (False, False, False, False)
    assert (got.kafka_brokers, got.push_retry_delay, got.apns_cert_bytes) == ((), None, b"")
    assert (got.pg_host, got.pg_port, got.pg_password) == ("localhost", 5432, "gobbler")
    files = (got.pg_ca_file, got.fcm_service_account_file, got.apns_cert_file, got.apns_key_file)
    assert files == (None, None, None, None)


def test_workers_are_one_a_processor() -> None:
    got, count = load({}, {}), os.cpu_count()
    assert (got.fcm_workers, got.apns_workers, got.sms_workers) == (count, count, count)


def test_the_other_values_are_of_every_option() -> None:
    assert list(OTHERS) == [o.name for o in OPTIONS]
    same = {name for name, (_, value) in OTHERS.items() if value == getattr(Config(), name)}
    assert same == EXCLUDED


OTHER = Config(**{name: value for name, (_, value) in OTHERS.items()})  # type: ignore[arg-type]


def test_every_option_from_the_command_line() -> None:
    assert load({name: text for name, (text, _) in OTHERS.items()}, {}) == OTHER


def test_every_option_from_the_environment() -> None:
    assert load({}, {o.env: OTHERS[o.name][0] for o in OPTIONS}) == OTHER


def test_every_option_from_the_file(tmp_path: Path) -> None:
    def line(name: str, key: str) -> str:
        text, value = OTHERS[name]
        return f"{key} = {json.dumps(value if isinstance(value, bool) else text)}\n"

    file = tmp_path / "gobbler.toml"
    file.write_text("".join(line(o.name, o.key) for o in OPTIONS))
    assert load({}, {}, str(file)) == OTHER


def test_the_credentials_that_exclude_each_other() -> None:
    assert load(FCM, {}).fcm_service_account_file == Path("/account.json")
    assert load(APNS, {}).apns_cert_file == Path("/cert.p12")
    assert load(TOKEN, {}).apns_key_file == Path("/key.p8")


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
        ("kvs", "redis", "'redis' is none of memory, file, postgres"),
        ("ms", "disk", "'disk' is none of memory, file"),
        ("log", "warning", "'warning' is none of panic, fatal, error, warn, info, debug"),
        ("segment-bytes", "65535", "'65535' is too small: the minimum is 64KiB"),
        ("max-message-size", "0", "'0' is too small: the minimum is 1"),
        ("profile", "gpu", "'gpu' is none of cpu, mem, block"),
        ("ws-prefix", "/", "'/' is not a prefix such as /stream/"),
        ("pg-host", "localhost:5432",
         "'localhost:5432' is neither a host, without its port, nor the folder of a socket"),
        ("pg-port", "0", "'0' is not a whole number from 1 to 65535"),
        ("pg-sslmode", "on", "'on' is none of disable, allow, prefer, require, verify-ca, verify-full"),
        ("push-retry-delay", "0",
         "'0' is not a time above zero in seconds, or with a unit: 30, 0.5, 90s, 15m, 12h, 7d"),
        ("fcm", "maybe", "'maybe' is neither true, 1, yes, on nor false, 0, no, off"),
        ("fcm-workers", "0", "'0' is neither auto nor a whole number from 1 to 1000"),
        ("fcm-endpoint", "fcm", "'fcm' is not an address such as https://host or https://host:8443/path"),
        ("fcm-ca-file", "a\0b", "'a\\x00b' is not a file"),
        ("apns-prefix", "apns",
         "'apns' is not a path such as /admin/page (letters, digits and \"-._~/\" only)"),
        ("apns-cert-bytes", "0x30", "the value is not bytes in hexadecimal"),
        ("apns-cert-password", "a\nb", "the value holds a line end or a control character"),
        ("apns-team-id", "a\nb", "'a\\nb' holds a line end or a control character"),
        ("sms-topic", "sms", "'sms' is not a topic such as /sms: topic must begin with '/'"),
        ("sms-rate", "10001", "'10001' is not a whole number from 1 to 10000"),
        ("sms-max-parts", "11", "'11' is not a whole number from 1 to 10"),
        ("sms-signature-method", "md4", "'md4' is none of md5hash, md5, sha1, sha256, sha512"),
        ("kafka-brokers", "kafka",
         "'kafka' is not host:port, or several of them separated by commas or spaces"),
        ("fcm-kafka-topic", "a b",
         "'a b' is not a name that a Kafka topic may have: letters, digits, '.', '_' and '-'"),
        ("kafka-security", "tls", "'tls' is none of plaintext, ssl, sasl_plaintext, sasl_ssl"),
        ("kafka-mechanism", "plain", "'plain' is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    ],
)  # fmt: skip
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
        ({"health_endpoint": "/admin"}, "--health-endpoint: '/admin' is taken by the dashboard ('/admin')"),
        ({"metrics_endpoint": "/admin/api/metrics"},
         "--metrics-endpoint: '/admin/api/metrics' is taken by the dashboard ('/admin/api/')"),
        ({"toggles_endpoint": "/admin/files/x"},
         "--toggles-endpoint: '/admin/files/x' is taken by the dashboard ('/admin/files/')"),
        ({"toggles_endpoint": "/admin/metrics"},
         "--toggles-endpoint: '/admin/metrics' is taken by --metrics-endpoint ('/admin/metrics')"),
        ({"ws_prefix": "/admin"}, "--ws-prefix: '/admin/' is taken by the router's page ('/admin/router')"),
        ({"ws_prefix": "/client"}, "--ws-prefix: '/client/' is taken by the browser client ('/client/')"),
        ({"health_endpoint": "/examples/health"},
         "--health-endpoint: '/examples/health' is taken by --examples ('/examples/')"),
        ({"ws_prefix": "/api/ws"}, "--ws-prefix: '/api/ws/' is taken by the REST interface ('/api/')"),
        ({"metrics_endpoint": "/api"}, "--metrics-endpoint: '/api' is taken by the REST interface ('/api/')"),
        (FCM | {"fcm_prefix": "/stream/fcm"},
         "--fcm-prefix: '/stream/fcm/' is taken by --ws-prefix ('/stream/')"),
        (FCM | APNS | {"apns_prefix": "/fcm"}, "--apns-prefix: '/fcm/' is taken by --fcm-prefix ('/fcm/')"),
        (APNS | SMS | {"sms_receipt_endpoint": "/apns/receipt"},
         "--sms-receipt-endpoint: '/apns/receipt' is taken by --apns-prefix ('/apns/')"),
        ({"ms": "memory", "ms_memory_bytes": "64KiB"},
         "--ms-memory-bytes: 65536 bytes cannot hold one message of --max-message-size (1048576 bytes)"),
        ({"fcm": True}, "--fcm: needs either --fcm-service-account-file or --fcm-api-key"),
        (FCM | LEGACY, "--fcm: needs either --fcm-service-account-file or --fcm-api-key"),
        (without(LEGACY, "fcm_endpoint"),
         "--fcm-api-key: Google no longer speaks the legacy protocol; name a gateway with --fcm-endpoint"),
        (FCM | {"fcm_endpoint": ""}, "--fcm-endpoint: must not be empty"),
        (LEGACY | {"fcm_endpoint": ""}, "--fcm-endpoint: must not be empty"),
        ({"apns_production": True}, "--apns-production: needs --apns"),
        (without(APNS, "apns_cert_file"),
         "--apns: needs one of --apns-cert-file, --apns-cert-bytes and --apns-key-file"),
        (APNS | {"apns_cert_bytes": "30"},
         "--apns: needs one of --apns-cert-file, --apns-cert-bytes and --apns-key-file"),
        (APNS | TOKEN, "--apns: needs one of --apns-cert-file, --apns-cert-bytes and --apns-key-file"),
        (without(TOKEN, "apns_key_id"), "--apns-key-file: needs --apns-key-id and --apns-team-id"),
        (without(TOKEN, "apns_team_id"), "--apns-key-file: needs --apns-key-id and --apns-team-id"),
        (without(APNS, "apns_app_topic"), "--apns: needs --apns-app-topic"),
        (APNS | {"apns_endpoint": "http://host"},
         "--apns-endpoint: must be https://host or https://host:port"),
        (APNS | {"apns_endpoint": "https://host/3"},
         "--apns-endpoint: must be https://host or https://host:port"),
        (without(SMS, "sms_api_key"),
         "--sms: needs --sms-api-key, and --sms-api-secret or --sms-signature-secret"),
        (without(SMS, "sms_api_secret"),
         "--sms: needs --sms-api-key, and --sms-api-secret or --sms-signature-secret"),
        (SMS | {"sms_endpoint": ""}, "--sms-endpoint: must not be empty"),
        (without(SASL, "kafka_user"), "--kafka-security: sasl_ssl needs --kafka-user and --kafka-password"),
        (without(SASL, "kafka_password") | {"kafka_security": "sasl_plaintext"},
         "--kafka-security: sasl_plaintext needs --kafka-user and --kafka-password"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(argv: dict[str, object], line: str) -> None:
    assert refused(argv) == line


@pytest.mark.parametrize(
    "argv",
    [
        FCM,
        FCM | {"fcm_endpoint": "http://127.0.0.1:1"},
        LEGACY,
        APNS,
        APNS | {"apns_production": True, "apns_endpoint": "HTTPS://127.0.0.1:1/"},
        without(APNS, "apns_cert_file") | {"apns_cert_bytes": "30"},
        TOKEN,
        SMS,
        without(SMS, "sms_api_secret") | {"sms_signature_secret": "s3cret"},
        FCM | APNS | SMS | SASL,
        {"kafka_security": "ssl"},
        {"sms_kafka_topic": "sms"},
    ],
)
def test_options_that_go_together(argv: dict[str, object]) -> None:
    assert load(argv, {}) != Config()


@pytest.mark.parametrize(
    "argv",
    [
        {"fcm_api_key": "k3y", "fcm_service_account_file": "/account.json"},
        {"apns_cert_file": "/cert.p12", "apns_key_file": "/key.p8", "apns_endpoint": "http://host"},
        {"sms_api_secret": "s3cret", "sms_endpoint": ""},
        {"fcm_prefix": "/stream/", "apns_prefix": "/api/", "sms_receipt_endpoint": "/fcm/"},
    ],
)
def test_options_of_a_connector_that_is_off_are_left_alone(argv: dict[str, object]) -> None:
    assert load(argv, {}) != Config()


def test_options_that_are_off_take_no_path() -> None:
    off = {"health_endpoint": "", "metrics_endpoint": "", "toggles_endpoint": ""}
    assert load(off, {}).health_endpoint == ""
    assert load({"ws": False, "health_endpoint": "/stream/"}, {}).health_endpoint == "/stream/"
    assert load({"examples": False, "health_endpoint": "/examples/"}, {}).health_endpoint == "/examples/"
    assert load({"metrics_endpoint": "/apis"}, {}).metrics_endpoint == "/apis"
    assert load(SMS | {"sms_receipt_endpoint": ""}, {}).sms_receipt_endpoint == ""


URL = "postgres://m%40e:p%3Aw@db.example:5433/b%2Fus?sslmode=require&sslrootcert=/ca.pem"


def test_database_url_is_every_option_of_postgresql() -> None:
    got = load({}, {"DATABASE_URL": URL})
    pg = (
        got.pg_host,
        got.pg_port,
        got.pg_user,
        got.pg_password,
        got.pg_dbname,
        got.pg_sslmode,
        got.pg_ca_file,
    )
    assert pg == ("db.example", 5433, "m@e", "p:w", "b/us", "require", Path("/ca.pem"))
    understood = {o.flag for o in OPTIONS if "DATABASE_URL" in [also.variable for also in o.also]}
    assert understood == {o.flag for o in OPTIONS if o.group == "PostgreSQL"}


def test_database_url_is_weaker_than_the_own_variables_and_stronger_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gobbler.toml"
    file.write_text('pg-host = "filed"\npg-port = 1\npg-user = "filed"\npg-sslmode = "disable"\n')
    environ = {"DATABASE_URL": "postgres://urled@urled/urled", "GOBBLER_PG_USER": "own"}
    got = load({"pg_dbname": "argued"}, environ, str(file))
    assert (got.pg_host, got.pg_user, got.pg_dbname) == ("urled", "own", "argued")
    assert (got.pg_port, got.pg_sslmode) == (1, "disable"), "what the URL does not say, the file may"
    assert load({}, {"DATABASE_URL": ""}, str(file)).pg_host == "filed"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("mysql://me:hunter2@host/db", "--pg-host: the value is not postgres://user:password@host:port/database"),
        ("hunter2", "--pg-host: the value is not postgres://user:password@host:port/database"),
        ("postgres://me:hun/ter2@host/db",
         "--pg-host: the value is not postgres://user:password@host:port/database"),
        ("postgres://me:%ffhunter2@host/db",
         "--pg-password: the value has a percent-encoded part that is not UTF-8"),
        ("postgres://me:hunter2%0a@host/db",
         "--pg-password: the value holds a line end or a control character"),
        ("postgres://host/hunter2%00", "--pg-dbname: the value holds a line end or a control character"),
        ("postgres://hunter2,/db",
         "--pg-host: the value is neither a host, without its port, nor the folder of a socket"),
        ("postgres://host/db?port=hunter2", "--pg-port: the value is not a whole number from 1 to 65535"),
        ("postgres://host/db?sslmode=hunter2",
         "--pg-sslmode: the value is none of disable, allow, prefer, require, verify-ca, verify-full"),
        ("postgres://host/db?sslrootcert=hunter2%00", "--pg-ca-file: the value is not a file"),
    ],
)  # fmt: skip
def test_a_bad_database_url_is_not_shown(url: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, {"DATABASE_URL": url})
    assert str(caught.value) == f"{line} (from environment DATABASE_URL)"
    assert "ter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("flag", sorted(SECRETS))
@pytest.mark.parametrize("source", ["command line", "environment", "file"])
def test_a_bad_secret_is_not_shown(flag: str, source: str, tmp_path: Path) -> None:
    (option,) = (o for o in OPTIONS if o.flag == flag)
    file, bad = tmp_path / "gobbler.toml", "hunter2\x1f"
    file.write_text(f"{option.key} = {json.dumps(bad)}\n" if source == "file" else "")
    argv = {option.name: bad} if source == "command line" else {}
    environ = {option.env: bad} if source == "environment" else {}
    with pytest.raises(ConfigError, match=f"^{flag}: the value ") as caught:
        load(argv, environ, str(file))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("option", [o for o in OPTIONS if not o.is_switch], ids=lambda option: option.flag)
def test_a_password_in_a_value_that_must_have_none_is_not_shown(option: Option) -> None:
    for bad in ("http://me:hunter2@host\0", "http://host/?key=hunter2\0"):
        assert "hunter2" not in refused({option.name: bad})


@pytest.mark.parametrize("argv", [LEGACY, APNS | {"apns_cert_password": "s3cret"}, SMS, SASL])
def test_rules_show_no_secret(argv: dict[str, object]) -> None:
    lines = [said(without(argv, name)) for name in argv]
    assert any(lines)
    assert not re.search("s3cret|k3y", "".join(lines))


def said(argv: dict[str, object]) -> str:
    """Return the line that refuses a configuration, or nothing."""
    try:
        load(argv, {})
    except ConfigError as error:
        return str(error)
    return ""


def test_secrets_are_stars_wherever_a_configuration_is_shown() -> None:
    public = OTHER.public()
    assert {key for key, value in public.items() if value == "***"} == {flag[2:] for flag in SECRETS}
    assert {Config().public()[flag[2:]] for flag in SECRETS - {"--pg-password"}} == {""}
    for text in (repr(OTHER), str(OTHER), str(public)):
        assert [secret for secret in OTHER.secrets() if secret in text] == []


def test_secrets_are_listed_in_every_form() -> None:
    assert set(OTHER.secrets()) == {
        "pg pass", "fcm key", "30820abc", "30820ABC", "0\\x82\\n\\xbc", "cert pass", "sms key", "sms secret",
        "sign it", "kafka pass",
    }  # fmt: skip
    assert Config().secrets() == ()


def test_public_has_every_option_as_plain_values() -> None:
    public = replace(Config(), profile="mem", kafka_brokers=("a:1", "b:2")).public()
    assert list(public) == [o.key for o in OPTIONS]
    assert (public["http"], public["storage-path"], public["profile"]) == (":8080", "/var/lib/gobbler", "mem")
    assert (public["kafka-brokers"], public["pg-ca-file"], public["pg-port"]) == ("a:1,b:2", None, 5432)
    for shown in (public, OTHER.public()):
        assert {type(value) for value in shown.values()} <= {str, int, float, bool, type(None)}
        assert json.loads(json.dumps(shown)) == shown


def test_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: f"1.2.3 of {name}")
    assert config.version() == "1.2.3 of gobbler"

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert config.version() == "0+unknown"
