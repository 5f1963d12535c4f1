"""Access tokens, from the fake's token endpoint; what happens with many greenlets in a patched process."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import gevent
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from gevent.event import Event

from gobbler.connectors.fcm.reply import Reply
from gobbler.connectors.fcm.service_account import load
from gobbler.connectors.fcm.token import MARGIN, PATIENCE, AccessToken, AccessTokens
from gobbler.connectors.fcm.transport import Limits, Transport, trust
from gobbler.connectors.outcome import Outage, Outcome, Pause
from tests.clock import Clock
from tests.connectors.fcm.conftest import PATIENT
from tests.connectors.fcm.patched import Task
from tests.providers.fcm import FakeFcm
from tests.providers.service_account import ServiceAccount


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(fake: FakeFcm, clock: Clock, limits: Limits) -> Iterator[AccessTokens]:
    account = load(fake.file)
    transport = Transport("the token endpoint", account.token_uri, trust(fake.authority.file), 1, limits)
    yield AccessTokens(account, transport, clock)
    transport.close()


def good(token: AccessToken | Outage | Pause) -> AccessToken:
    assert isinstance(token, AccessToken), token
    return token


def asked(fake: FakeFcm) -> int:
    count: int = fake.stats()["token_requests"]
    return count


# When


def test_one_is_enough(tokens: AccessTokens, fake: FakeFcm) -> None:
    before = asked(fake)
    token = good(tokens.get())
    assert token.value in fake.stats()["granted"]
    assert [tokens.get() for _ in range(5)] == [token] * 5
    assert asked(fake) - before == 1


def test_it_is_renewed_before_it_expires(tokens: AccessTokens, fake: FakeFcm, clock: Clock) -> None:
    token = good(tokens.get())
    assert (token.renew_at, token.expires_at) == (1000 + 3600 - MARGIN, 1000 + 3600)
    clock.now = token.renew_at - 0.1
    assert tokens.get() is token
    clock.now = token.renew_at
    renewed = good(tokens.get())
    assert renewed is not token
    assert renewed.value != token.value
    assert renewed.expires_at == clock.now + 3600


def test_a_short_life_is_used(tokens: AccessTokens, fake: FakeFcm) -> None:
    fake.script(expires_in=60)
    token = good(tokens.get())
    assert (token.renew_at, token.expires_at) == (1054, 1060)


@pytest.mark.parametrize("trouble", ["HTTP~503", "drop", "invalid_grant"])
def test_one_that_is_still_good_is_used_while_it_cannot_be_renewed(
    tokens: AccessTokens, fake: FakeFcm, clock: Clock, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = good(tokens.get())
    fake.script(token=[trouble, trouble])
    before = asked(fake)
    clock.now = token.renew_at
    assert [tokens.get() for _ in range(3)] == [token] * 3
    assert asked(fake) - before == 1
    assert "cannot be renewed yet" in caplog.text
    clock.now += PATIENCE
    assert tokens.get() is token
    assert asked(fake) - before == 2
    clock.now += PATIENCE
    assert good(tokens.get()) is not token


def test_one_that_has_expired_is_not_used(tokens: AccessTokens, fake: FakeFcm, clock: Clock) -> None:
    token = good(tokens.get())
    fake.script(token=["HTTP~503"])
    clock.now = token.expires_at
    assert tokens.get() == Outage("HTTP_503", "the token endpoint answered 503")
    assert good(tokens.get()) is not token


def test_one_that_was_refused_is_replaced(tokens: AccessTokens, fake: FakeFcm) -> None:
    refused = good(tokens.get())
    before = asked(fake)
    replaced = good(tokens.replace(refused))
    assert replaced.value != refused.value
    assert tokens.get() is replaced
    # Others find out later that theirs was refused: there is a newer one already.
    assert tokens.replace(refused) is replaced
    assert asked(fake) - before == 1


# What goes wrong


ADVICE = "check --fcm-service-account-file and the machine's clock"


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        ("HTTP~500", Outage("HTTP_500", "the token endpoint answered 500")),
        ("HTTP~503~17", Outage("HTTP_503", "the token endpoint answered 503", 17.0)),
        ("HTTP~429", Outage("HTTP_429", "the token endpoint answered 429")),
        ("HTTP~408", Outage("HTTP_408", "the token endpoint answered 408")),
        ("drop", Outage("CONNECTION", "the token endpoint broke the connection off")),
        ("reset", Outage("CONNECTION", "the token endpoint broke the connection off")),
        ("nonsense", Outage("CONNECTION", "the token endpoint broke the connection off")),
        ("garbage", Outage("INVALID_ANSWER", "the token endpoint answered something that is no token")),
        ("list", Outage("INVALID_ANSWER", "the token endpoint answered something that is no token")),
        ("no_token", Outage("INVALID_ANSWER", "the token endpoint answered something that is no token")),
        ("bad_token", Outage("INVALID_ANSWER", "the token endpoint answered something that is no token")),
        (
            "invalid_grant",
            Pause("invalid_grant", f"the token endpoint answered 400: Invalid JWT Signature.: {ADVICE}"),
        ),
        (
            "unauthorized_client",
            Pause(
                "unauthorized_client", f"the token endpoint answered 400: Invalid JWT Signature.: {ADVICE}"
            ),
        ),
        (
            "invalid_new",
            Pause("HTTP_400", f"the token endpoint answered 400: Invalid JWT Signature.: {ADVICE}"),
        ),
        ("HTTP~404", Pause("HTTP_404", f"the token endpoint answered 404: {ADVICE}")),
        ("HTTP~302", Pause("HTTP_302", f"the token endpoint answered 302: {ADVICE}")),
    ],
)
def test_no_token(tokens: AccessTokens, fake: FakeFcm, trouble: str, expected: Outcome) -> None:
    """It is asked for once, and google-auth does not sleep and try again."""
    check_trouble(tokens, fake, trouble, expected)


@pytest.mark.parametrize("limits", [replace(PATIENT, read=2.0)])  # the next is answered, and in time
def test_no_answer(tokens: AccessTokens, fake: FakeFcm) -> None:
    check_trouble(tokens, fake, "silent", Outage("TIMEOUT", "the token endpoint did not answer in time"))


def check_trouble(tokens: AccessTokens, fake: FakeFcm, trouble: str, expected: Outcome) -> None:
    before = asked(fake)
    fake.script(token=[trouble])
    assert tokens.get() == expected
    assert asked(fake) - before == 1
    good(tokens.get())


@pytest.mark.parametrize("lifetime", [0, -5, 10**12, "soon", None])
def test_a_lifetime_that_is_none(tokens: AccessTokens, fake: FakeFcm, lifetime: object) -> None:
    fake.script(expires_in=lifetime)
    assert tokens.get() == Outage("INVALID_ANSWER", "the token endpoint answered something that is no token")


def test_a_lifetime_that_is_a_text(tokens: AccessTokens, fake: FakeFcm) -> None:
    fake.script(expires_in="3599")
    assert good(tokens.get()).expires_at == 1000 + 3599


def test_a_key_that_google_does_not_know(fake: FakeFcm, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The fake checks the signature: this account has a key of its own."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    file = ServiceAccount(tmp_path_factory.mktemp("other")).write(
        f"{fake.url}/token", private_key=key.decode()
    )
    account = load(file)
    transport = Transport("the token endpoint", account.token_uri, trust(fake.authority.file), 1, PATIENT)
    pause = AccessTokens(account, transport).get()
    transport.close()
    assert isinstance(pause, Pause)
    assert (pause.reason, pause.alert, pause.after) == ("invalid_grant", True, None)
    assert "InvalidSignatureError" in pause.text


# Many


class Gate(Transport):
    """Posts when it is opened."""

    opened: Event

    def post(self, headers: Mapping[str, str], body: bytes) -> Reply | Outage:
        self.opened.wait()
        return super().post(headers, body)


@pytest.fixture
def gate(fake: FakeFcm) -> Iterator[Gate]:
    made = Gate("the token endpoint", f"{fake.url}/token", trust(fake.authority.file), 1, PATIENT)
    made.opened = Event()
    yield made
    made.close()


def test_nobody_waits_while_the_old_one_is_good(gate: Gate, fake: FakeFcm, clock: Clock) -> None:
    tokens = AccessTokens(load(fake.file), gate, clock)
    gate.opened.set()
    token = good(tokens.get())
    gate.opened.clear()
    clock.now = token.renew_at
    renewing = gevent.spawn(tokens.get)
    gevent.idle()
    clock.now += 2 * PATIENCE
    assert tokens.get() is token
    gate.opened.set()
    assert good(renewing.get(timeout=10)) is tokens.get()
    assert tokens.get() is not token


def test_who_is_killed_while_fetching_leaves_nobody_waiting(gate: Gate, fake: FakeFcm) -> None:
    tokens = AccessTokens(load(fake.file), gate)
    first = gevent.spawn(tokens.get)
    gevent.idle()
    others = [gevent.spawn(tokens.get) for _ in range(3)]
    gevent.idle()
    first.kill()
    stopped = Outage("STOPPED", "the connector is stopping")
    assert [other.get(timeout=10) for other in others] == [stopped] * 3
    gate.opened.set()
    good(tokens.get())


def test_many_who_need_one_ask_once(fake: FakeFcm) -> None:
    before = asked(fake)
    fake.script(token=["slow~200"])
    told = task(fake, sends=200, greenlets=100).run()
    assert told["outcomes"] == {"Sent": 200}
    assert asked(fake) - before == 1


def test_many_whose_token_was_refused_ask_once(fake: FakeFcm) -> None:
    """All are in flight with the same token when FCM refuses it."""
    before = asked(fake)
    fake.script(token=["", "slow~200"], delay_ms=100)
    refused = [f"first~1~UNAUTHENTICATED:many{n}" for n in range(100)]
    told = task(fake, sends=100, greenlets=100, tokens=refused).run()
    assert told["outcomes"] == {"Sent": 100}
    assert asked(fake) - before == 2


def test_many_who_get_none_have_waited_for_it_once(fake: FakeFcm) -> None:
    before = asked(fake)
    fake.script(token=["silent"])
    told = task(fake, sends=100, greenlets=100, limits=(5.0, 0.5, 5.0)).run()
    assert told["outcomes"] == {"Outage TIMEOUT": 100}
    assert asked(fake) - before == 1
    assert told["seconds"] < 5


def task(fake: FakeFcm, **more: object) -> Task:
    members: dict[str, object] = {
        "endpoint": fake.url,
        "ca_file": str(fake.authority.file),
        "service_account": str(fake.file),
    }
    return Task(**(members | more))  # type: ignore[arg-type]


def test_secrets_are_not_in_texts(
    tokens: AccessTokens, fake: FakeFcm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = good(tokens.get())
    fake.script(token=["invalid_grant"])
    texts = [repr(token), repr(tokens), repr(tokens.replace(token)), caplog.text]
    assert not any(token.value in text or "PRIVATE KEY" in text or "eyJ" in text for text in texts)
