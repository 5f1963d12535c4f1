"""Provider tokens: what is in them, and when there is another."""

import ssl
from pathlib import Path

import gevent
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from gobbler.connectors.apns.provider_token import ProviderToken
from gobbler.errors import ConfigError
from tests.clock import Clock
from tests.connectors.apns.credentials import KEY_ID, TEAM_ID, TokenKey, pem, token_key

NOW = 1_700_000_000.75
MINUTE = 60.0


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def token(key: TokenKey, clock: Clock) -> ProviderToken:
    made = ProviderToken(key.private, KEY_ID, TEAM_ID, clock=clock)
    made.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return made


def claims(value: bytes, key: TokenKey) -> dict[str, object]:
    kind, _, encoded = value.decode().partition(" ")
    assert kind == "bearer"
    read: dict[str, object] = jwt.decode(
        encoded, key.public.read_bytes(), ["ES256"], options={"verify_iat": False}
    )
    return read


def test_what_apple_wants_is_in_it(token: ProviderToken, key: TokenKey) -> None:
    value = token.authorization()
    assert claims(value, key) == {"iss": TEAM_ID, "iat": int(NOW)}
    header = jwt.get_unverified_header(value.decode().partition(" ")[2])
    assert (header["alg"], header["kid"]) == ("ES256", KEY_ID)
    assert token.cautious


def test_it_is_renewed_after_45_minutes(token: ProviderToken, clock: Clock, key: TokenKey) -> None:
    first = token.authorization()
    clock.now += 45 * MINUTE - 1
    assert token.authorization() is first
    clock.now += 1
    second = token.authorization()
    assert claims(second, key)["iat"] == int(NOW + 45 * MINUTE)
    clock.now += 44 * MINUTE
    assert token.authorization() is second


def test_a_clock_that_is_set_back_makes_another(token: ProviderToken, clock: Clock, key: TokenKey) -> None:
    first = token.authorization()
    clock.now -= 5
    assert token.authorization() is first
    clock.now -= 45 * MINUTE
    assert claims(token.authorization(), key)["iat"] == int(clock.now)


def test_one_that_is_too_old_is_replaced_once(token: ProviderToken, clock: Clock) -> None:
    """However many greenlets find it too old, and however wrong the clock is."""
    used = token.authorization()
    clock.now += 1
    greenlets = [gevent.spawn(token.renew, used) for _ in range(100)]
    gevent.joinall(greenlets, raise_error=True)
    assert [greenlet.value for greenlet in greenlets] == [True] * 100
    second = token.authorization()
    assert second != used
    clock.now += 20 * MINUTE - 1
    assert not token.renew(second)
    assert token.authorization() is second
    clock.now += 1
    assert token.renew(second)
    assert token.authorization() != second


def test_a_new_start_keeps_it_and_may_replace_it_again(token: ProviderToken) -> None:
    assert token.renew(token.authorization())
    used = token.authorization()
    assert not token.renew(used)
    token.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert token.authorization() is used
    assert token.renew(used)


def test_a_new_start_uses_another_key(tmp_path: Path, clock: Clock) -> None:
    old, new = (token_key(folder) for folder in (tmp_path / "old", tmp_path / "new"))
    token = ProviderToken(old.private, KEY_ID, TEAM_ID, clock=clock)
    token.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    old.private.write_bytes(new.private.read_bytes())
    token.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert claims(token.authorization(), new)["iss"] == TEAM_ID


def refusal(path: Path) -> str:
    token = ProviderToken(path, KEY_ID, TEAM_ID)
    with pytest.raises(ConfigError) as caught:
        token.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    assert refusal(path) == f"APNs key {path}: No such file or directory"


@pytest.mark.parametrize(
    "content", [b"", b"no key", b"\0\xff", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.p8"
    path.write_bytes(content)
    assert refusal(path) == f"APNs key {path}: this is no private key as Apple gives it (.p8)"


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    for key in (
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ):
        path.write_bytes(pem(key))
        assert refusal(path) == f"APNs key {path}: it is no key of the curve P-256, which ES256 needs"


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.p8"
    path.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(b"secret")))
    assert refusal(path) == f"APNs key {path}: it is encrypted; Apple's .p8 files are not"


def test_its_repr_shows_no_secret(token: ProviderToken, key: TokenKey) -> None:
    assert repr(token) == f"ProviderToken('{key.private}', '{KEY_ID}', '{TEAM_ID}')"
