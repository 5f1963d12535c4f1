"""A fake FCM for all tests, and senders to it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gobbler.connectors.fcm.legacy_sender import LegacyFcmSender
from gobbler.connectors.fcm.sender import FcmSender
from gobbler.connectors.fcm.transport import Limits
from tests.providers.fcm import API_KEY, FakeFcm

PATIENT = Limits(connect=10.0, read=10.0, total=20.0)
SOON = replace(PATIENT, read=0.5)
"""For answers that never come; on a busy machine, others may be as late."""


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeFcm]:
    with FakeFcm(tmp_path_factory.mktemp("fcm")) as fake:
        yield fake


@pytest.fixture
def fake(running: FakeFcm) -> FakeFcm:
    """The fake as it is without options, whatever the test before has made of it."""
    behaviour = {"delay_ms": 0.0, "fail_percent": 0.0, "drop_percent": 0.0, "expires_in": 3600}
    running.script(**behaviour, token=[], next=[], forgive=True)
    return running


@pytest.fixture
def limits() -> Limits:
    """Those of the senders; a test may have others by its parameters."""
    return PATIENT


@pytest.fixture
def sender(fake: FakeFcm, limits: Limits) -> Iterator[FcmSender]:
    made = FcmSender(fake.file, endpoint=fake.url, ca_file=fake.authority.file, in_flight=2, limits=limits)
    made.start()
    yield made
    made.stop(1.0)


@pytest.fixture
def legacy(fake: FakeFcm, limits: Limits) -> Iterator[LegacyFcmSender]:
    made = LegacyFcmSender(
        API_KEY, endpoint=f"{fake.url}/legacy", ca_file=fake.authority.file, in_flight=2, limits=limits
    )
    made.start()
    yield made
    made.stop(1.0)
