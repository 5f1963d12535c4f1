"""A fake provider for the tests of this folder, and senders that use it."""

from collections.abc import Callable, Iterator

import pytest

from gobbler.connectors.sms.sender import SmsSender
from gobbler.connectors.sms.transport import Timeouts
from tests.connectors.sms.sending import PATIENT, SIGNATURE_SECRET, config
from tests.providers.process import Provider

NewSender = Callable[..., SmsSender]


@pytest.fixture(scope="package")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("sms")
    with Provider("tests.providers.sms", folder, "--signature-secret", SIGNATURE_SECRET) as provider:
        yield provider


@pytest.fixture
def new_sender(fake: Provider) -> Iterator[NewSender]:
    """Makes senders with other options that run, and stops them in the end."""
    made: list[SmsSender] = []

    def new(timeouts: Timeouts = PATIENT, **options: object) -> SmsSender:
        made.append(SmsSender(config(fake, **options), 10, timeouts=timeouts))
        made[-1].start()
        return made[-1]

    yield new
    for sender in made:
        sender.stop(5)


@pytest.fixture
def sender(new_sender: NewSender) -> SmsSender:
    return new_sender()
