"""The producer: configured as the options say, and gone at once when it is not wanted any more."""

import ssl
import time
from pathlib import Path

import pytest
from kafka.errors import IllegalStateError

from gobbler.errors import ConfigError
from gobbler.reporting.producer import Access, Producer, connect
from tests.kafka.broker import Broker
from tests.kafka.gate import Gate
from tests.providers.certificates import Authority

BROKERS = ("127.0.0.1:1", "127.0.0.1:2")


def unconnected(access: Access) -> Producer:
    """A real producer that has looked for nobody: that is what it does when it knows the version."""
    return connect(access.configuration() | {"api_version": (3, 9)}, lambda client: None)


@pytest.mark.parametrize("security", ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_options_reach_the_producer(security: str, mechanism: str, tmp_path: Path) -> None:
    file = Authority(tmp_path).file
    producer = unconnected(Access(BROKERS, security, file, mechanism, "marvin", "s3cret"))
    config = producer.config
    producer.abort()
    assert config["bootstrap_servers"] == "127.0.0.1:1,127.0.0.1:2"
    assert config["security_protocol"] == security.upper()
    login = [config[name] for name in ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password")]
    assert login == ([mechanism, "marvin", "s3cret"] if security.startswith("sasl") else [None] * 3)
    context = config["ssl_context"]
    assert (context is not None) == security.endswith("ssl")
    if context is not None:
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        # Our own authority in place of the public ones.
        assert [dict(names[0] for names in found["subject"]) for found in context.get_ca_certs()] == [
            {"commonName": "authority of the tests"}
        ]


def test_without_a_file_the_public_authorities_are_trusted() -> None:
    context = Access(BROKERS, "ssl").configuration()["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_everything_is_confirmed_by_all_and_in_order() -> None:
    producer = unconnected(Access(BROKERS))
    config = producer.config
    producer.abort()
    assert (config["acks"], config["retries"]) == (-1, float("inf"))
    assert config["max_in_flight_requests_per_connection"] == 1
    assert config["enable_idempotence"] is False


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in repr(Access(BROKERS, "sasl_ssl", None, "PLAIN", "marvin", "s3cret"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_used_are_named(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"^--kafka-ca-file: '.*/ca\.pem' cannot be used: "):
        Access(BROKERS, "ssl", file).configuration()


def test_a_producer_that_is_aborted_fails_what_it_has() -> None:
    with Gate() as gate, Broker(advertised=gate.port) as broker:
        gate.target = broker.port
        producer = connect(Access((gate.address,)).configuration(), lambda client: None)
        assert producer.send("events", b"value", b"key").get(timeout=30).topic == "events"
        gate.target = 0
        gate.cut()
        future = producer.send("events", b"value", b"key")
        begun = time.monotonic()
        producer.abort()
        assert time.monotonic() - begun < 5
        assert isinstance(future.exception, IllegalStateError)
        producer.abort()
