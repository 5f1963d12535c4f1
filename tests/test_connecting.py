"""Which connectors are made for which options, and what is not loaded where none is."""

import subprocess
import sys
from pathlib import Path

import pytest

from gobbler.config import Config, load
from gobbler.connectors.apns.sender import ApnsSender
from gobbler.connectors.fcm.legacy_sender import LegacyFcmSender
from gobbler.connectors.fcm.sender import FcmSender
from gobbler.connectors.sms.sender import SmsSender
from gobbler.errors import ConfigError
from gobbler.reporting.kafka import TopicReporter
from gobbler.server import Server
from tests.providers.service_account import ServiceAccount
from tests.system.server import ROOT, ServerProcess

MEMORY = {"kvs": "memory", "ms": "memory"}
APNS = {"apns": True, "apns_app_topic": "app", "apns_cert_bytes": "00"}
SMS = {"sms": True, "sms_api_key": "key", "sms_api_secret": "secret"}


def server(**options: object) -> Server:
    return Server(config(**options), listen=False)


def config(**options: object) -> Config:
    return load(MEMORY | options, {})


def test_no_options_no_connectors() -> None:
    made = server()
    assert made.connectors.by_name == {}
    assert repr(made.connectors) == "<Connectors none>"
    assert list(made.connectors.services()) == []
    client = made.app.flask.test_client()
    assert client.get("/fcm/?user_id=u").status_code == 404
    answer = client.get("/admin/toggles?fcm=true")
    assert (answer.status_code, answer.text) == (
        400,
        "there is no connector 'fcm' to toggle; there are: none\n",
    )


def test_each_option_makes_its_connector(tmp_path: Path) -> None:
    account = ServiceAccount(tmp_path).write("https://127.0.0.1:1/token")
    made = server(fcm=True, fcm_service_account_file=str(account), fcm_workers="3", **APNS, **SMS)
    senders = {name: one._sender for name, one in made.connectors.by_name.items()}
    kinds = {name: type(sender) for name, sender in senders.items()}
    assert kinds == {"fcm": FcmSender, "apns": ApnsSender, "sms": SmsSender}
    assert made.connectors.by_name["fcm"]._workers == 150
    assert [name for name, _ in made.connectors.services()] == ["connectors"]


def test_an_api_key_makes_the_legacy_sender() -> None:
    made = server(fcm=True, fcm_api_key="key", fcm_endpoint="http://127.0.0.1:1/send")
    assert isinstance(made.connectors.by_name["fcm"]._sender, LegacyFcmSender)


@pytest.mark.parametrize("signed", [True, False])
def test_receipts(signed: bool) -> None:
    more = {"sms_signature_secret": "s3cret"} if signed else {}
    client = server(**SMS, **more).app.flask.test_client()
    receipt = {"messageId": "1", "status": "delivered", "msisdn": "491701234567"}
    assert client.get("/sms/receipt", query_string=receipt).status_code == (403 if signed else 200)
    assert (
        server(**SMS, sms_receipt_endpoint="").app.flask.test_client().get("/sms/receipt").status_code == 404
    )


def test_brokers_and_a_topic_make_a_reporter() -> None:
    made = server(**SMS, kafka_brokers="127.0.0.1:1", sms_kafka_topic="sms")
    reporter = made.connectors.by_name["sms"]._parts.reporter
    assert isinstance(reporter, TopicReporter)
    assert [name for name, _ in made.connectors.services()] == ["Kafka reporting", "connectors"]
    without = server(**SMS, sms_kafka_topic="sms").connectors
    assert not isinstance(without.by_name["sms"]._parts.reporter, TopicReporter)


def test_credentials_that_cannot_be_used_end_the_start() -> None:
    made = server(**SMS, **APNS)
    with pytest.raises(ConfigError):
        made.start()
    assert not any(one.on for one in made.connectors.by_name.values())
    made.stop(1)


def test_they_end_the_command_with_status_2_and_one_line(tmp_path: Path) -> None:
    options = ("--apns", "--apns-app-topic", "app", "--apns-key-id", "K", "--apns-team-id", "T")
    process = ServerProcess(
        tmp_path / "data", *options, "--apns-key-file", str(tmp_path / "missing.p8"), "--log", "error"
    )
    process.launch()
    assert process.wait() == 2
    (line,) = process.lines
    assert "missing.p8" in line


def test_what_is_not_turned_on_is_not_loaded() -> None:
    program = (
        "import sys; from gobbler.server import Server; from gobbler.config import load; "
        "Server(load({'kvs': 'memory', 'ms': 'memory'}, {}), listen=False); "
        "print(*sorted({name.split('.')[0] for name in sys.modules} & "
        "{'kafka', 'psycopg2', 'google', 'h2', 'jwt', 'requests', 'urllib3', 'cryptography'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
