"""A fake FCM for all tests, and senders to it that lose patience soon."""

from collections.abc import Iterator

import pytest

from gobbler.connectors.fcm.legacy_sender import LegacyFcmSender
from gobbler.connectors.fcm.sender import FcmSender
from gobbler.connectors.fcm.transport import Limits
from tests.providers.fcm import API_KEY, FakeFcm

SOON = Limits(connect=5.0, read=0.5, total=5.0)


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
def sender(fake: FakeFcm) -> Iterator[FcmSender]:
    made = FcmSender(fake.file, endpoint=fake.url, ca_file=fake.authority.file, in_flight=2, limits=SOON)
    made.start()
    yield made
    made.stop(1.0)


@pytest.fixture
def legacy(fake: FakeFcm) -> Iterator[LegacyFcmSender]:
    made = LegacyFcmSender(
        API_KEY, endpoint=f"{fake.url}/legacy", ca_file=fake.authority.file, in_flight=2, limits=SOON
    )
    made.start()
    yield made
    made.stop(1.0)
