"""A fake APNs for all tests, and senders to it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gobbler.connectors.apns.connection import Timing
from gobbler.connectors.apns.credential import Credential
from gobbler.connectors.apns.provider_token import ProviderToken
from gobbler.connectors.apns.sender import ApnsSender
from tests.connectors.apns.credentials import KEY_ID, TEAM_ID, TokenKey, token_key
from tests.connectors.apns.deliveries import APP
from tests.connectors.apns.fake import FakeApns

QUICK = Timing(tick=0.02)

NewSender = Callable[..., ApnsSender]
NewFake = Callable[..., FakeApns]


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> TokenKey:
    return token_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory, key: TokenKey) -> Iterator[FakeApns]:
    """A fake without failures but those that a device's token asks for."""
    folder = tmp_path_factory.mktemp("apns")
    with FakeApns(folder, "--token-key", str(key.public), "--topic", APP) as running:
        yield running


@pytest.fixture
def new_fake(tmp_path: Path) -> Iterator[NewFake]:
    """Start a fake of the test's own, with options."""
    running: list[FakeApns] = []

    def start(*options: str) -> FakeApns:
        folder = tmp_path / f"fake{len(running)}"
        folder.mkdir()
        running.append(FakeApns(folder, *options))
        running[-1].start()
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def new_sender(key: TokenKey) -> Iterator[NewSender]:
    """Start a sender to a fake, with a provider token or other credentials."""
    made: list[ApnsSender] = []

    def start(fake: FakeApns, credential: Credential | None = None, **more: Any) -> ApnsSender:
        usual: dict[str, Any] = {"endpoint": fake.url, "ca_file": fake.authority.file, "timing": QUICK}
        using = credential or ProviderToken(key.private, KEY_ID, TEAM_ID)
        made.append(ApnsSender(using, APP, **(usual | more)))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.stop(1)


@pytest.fixture
def sender(fake: FakeApns, new_sender: NewSender) -> ApnsSender:
    return new_sender(fake)
