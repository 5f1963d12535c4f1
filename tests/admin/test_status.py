"""The server's own state."""

import os
import platform

from gobbler.admin import status
from gobbler.admin.rates import Rates
from gobbler.config import load, version
from gobbler.errors import Unhealthy
from gobbler.health import Health
from gobbler.metrics import Metrics
from tests.admin.asking import Asker

SECRETS = {"pg_password": "hunter2", "sms_api_secret": "s3cret", "kafka_password": "pass-word"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        self.now += 5
        return self.now


class Server:
    """What a status is made from."""

    def __init__(self) -> None:
        self.health = Health()
        self.metrics = Metrics("test")
        self.rates = Rates({"received": lambda: 7})
        config = load({"env": "production", "retention_bytes": "1MiB", **SECRETS}, {})
        watched = status.Watched(config, self.health, self.metrics, self.rates, Clock())
        self.asker = Asker(status.blueprint(watched), metrics=self.metrics)


def test_the_status() -> None:
    server = Server()
    server.metrics.sessions.inc(3)
    server.metrics.subscriptions.inc(5)
    server.metrics.fetches.inc(1)
    server.metrics.count_error("store", 2)
    server.metrics.slow_reader_turns_total.inc(4)
    found = server.asker.get("/status")
    assert found.pop("memoryBytes") > 1 << 20
    assert found.pop("processorSeconds") > 0
    assert found == {
        "version": version(),
        "python": platform.python_version(),
        "environment": "production",
        "process": os.getpid(),
        "began": 1005.0,
        "time": 1010.0,
        "sessions": 3,
        "subscriptions": 5,
        "fetches": 1,
        "slowReaderTurns": 4,
        "errors": {"store": 2},
    }


def test_the_rates() -> None:
    server = Server()
    server.rates.sample()
    server.rates.sample()
    found = server.asker.get("/rates")
    assert found["fields"] == ["number", "time", "received"]
    assert [[sample[0], sample[2]] for sample in found["samples"]] == [[1, 7], [2, 7]]
    assert [sample[0] for sample in server.asker.get("/rates", after=1)["samples"]] == [2]
    assert server.asker.refusal("/rates", after="x")[0] == 400
    assert server.asker.refusal("/rates", after=-1) == (400, "after must be at least 0")


def test_the_checks_and_what_is_wrong() -> None:
    server = Server()

    def ill() -> None:
        raise Unhealthy("the disk is full")

    server.health.add("hub", lambda: None)
    server.health.add("space", ill)
    assert server.asker.get("/health") == {
        "checks": [{"name": "hub", "problem": None}, {"name": "space", "problem": "the disk is full"}]
    }


def test_the_options_without_secrets() -> None:
    server = Server()
    answer = server.asker.http.get("/admin/api/options")
    assert not [secret for secret in SECRETS.values() if secret in answer.text]
    found = {one["name"]: one for one in answer.json["options"]}  # type: ignore[index]
    assert (found["--env"]["value"], found["--env"]["changed"]) == ("production", True)
    assert (found["--ms"]["value"], found["--ms"]["changed"]) == ("file", False)
    assert (found["--retention-bytes"]["value"], found["--retention-age"]["value"]) == (1 << 20, None)
    assert (found["--pg-password"]["value"], found["--pg-password"]["changed"]) == ("***", True)
    assert found["--sms-api-key"]["value"] == ""
    assert found["--ms"]["group"] == "Storage"
    assert "commit log" in found["--ms"]["help"]
