"""The examples of docs/push.md run, and its numbers are those of the code."""

import re
from pathlib import Path

import pytest

from gobbler.connectors import backoff, breaker, connector, workload
from gobbler.connectors.apns.sender import ApnsSender
from gobbler.connectors.fcm.sender import FcmSender
from gobbler.connectors.sms.sender import SmsSender
from gobbler.rest import push
from tests.docs.console import ROOT, Console
from tests.push.connected import APNS, FCM, Connected

PAGE = (ROOT / "docs" / "push.md").read_text(encoding="utf-8")
MIB = 1024 * 1024


def test_the_examples_run(tmp_path: Path) -> None:
    with Connected(tmp_path, FCM, APNS) as connected, Console(connected.server.port, tmp_path) as console:
        assert console.run(PAGE) >= 20


@pytest.mark.parametrize(
    "told",
    [
        f"at most {push.MAX_TOKEN_BYTES:,} visible ASCII characters",
        f"{workload.MEMORY_BYTES // MIB} MiB of messages and {workload.MAX_LANES:,} devices",
        f"after {FcmSender.retry_delay:g} s (FCM) or {ApnsSender.retry_delay:g} s (APNs, SMS",
        f"up to {backoff.LONGEST_SECONDS / 60:g} minutes",
        f"or {breaker.FAILING_SECONDS:g} s of nothing else",
        f"up to {breaker.LONGEST_SECONDS:g} s, until one succeeds",
        f"up to {connector.ATTEMPTS_A_WORKER} notifications on their way",
    ],
)
def test_the_numbers_are_those_of_the_code(told: str) -> None:
    assert told in re.sub(r"\s+", " ", PAGE)


def test_what_is_said_in_words() -> None:
    assert (breaker.FAILURES, breaker.PAUSE_SECONDS, backoff.GIVE_UP_SECONDS) == (10, 60, 3600)
    assert SmsSender.retry_delay == ApnsSender.retry_delay
