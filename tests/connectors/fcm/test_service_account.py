from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from gobbler.connectors.fcm.service_account import load
from gobbler.errors import ConfigError
from tests.providers.service_account import EMAIL, PROJECT, ServiceAccount, private_key

URI = "https://127.0.0.1:1/token"


@pytest.fixture
def account(tmp_path: Path) -> ServiceAccount:
    return ServiceAccount(tmp_path)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def refusal(file: Path) -> str:
    """What is said of a file: one line, with the file's name and nothing of its key."""
    with pytest.raises(ConfigError) as caught:
        load(file)
    text = str(caught.value)
    assert text.startswith(f"--fcm-service-account-file: {file} ")
    assert "\n" not in text
    assert not any(line in text for line in private_key().splitlines())
    return text.removeprefix(f"--fcm-service-account-file: {file} ")


def test_a_service_account(account: ServiceAccount) -> None:
    loaded = load(account.write(URI))
    assert (loaded.token_uri, loaded.project_id) == (URI, PROJECT)
    assert loaded.credentials.service_account_email == EMAIL


@pytest.mark.parametrize("project_id", [None, 7])
def test_a_project_is_not_needed(account: ServiceAccount, project_id: object) -> None:
    assert load(account.write(URI, project_id=project_id)).project_id == ""


def test_other_clouds_members_are_left_out(account: ServiceAccount) -> None:
    """With a universe_domain google-auth would not ask for access tokens, but sign them itself."""
    loaded = load(account.write(URI, universe_domain="example.com"))
    assert loaded.credentials.universe_domain == "googleapis.com"


def test_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.json") == "cannot be read: No such file or directory"
    assert refusal(tmp_path) == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"-----BEGIN PRIVATE KEY-----", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is no JSON object"),
        (b"{}", "is no service account: its type is not service_account"),
        (b'{"type": "authorized_user"}', "is no service account: its type is not service_account"),
    ],
    ids=range(7),
)
def test_another_file(tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(content)
    assert refusal(file) == text


@pytest.mark.parametrize("name", ["client_email", "private_key", "token_uri"])
@pytest.mark.parametrize("value", [None, "", 7])
def test_what_is_missing(account: ServiceAccount, name: str, value: object) -> None:
    assert refusal(account.write(URI, **{name: value})) == f"has no {name}"


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://example.com",
        "oauth2.googleapis.com/token",
        "https://",
        "https:///token",
        "https://[::1",
        "http://a b",
    ],
)
def test_an_address_that_is_none(account: ServiceAccount, uri: str) -> None:
    assert refusal(account.write(uri)) == "has a token_uri that is no web address"


@pytest.mark.parametrize(
    "key",
    [
        "nonsense",
        private_key()[:400],
        private_key().replace("A", "B"),
        pem(rsa.generate_private_key(65537, 2048), BestAvailableEncryption(b"password")),
    ],
    ids=["nonsense", "cut", "changed", "encrypted"],
)
def test_a_key_that_is_broken(account: ServiceAccount, key: str) -> None:
    assert refusal(account.write(URI, private_key=key)) == "has a private_key that cannot be read"


def test_a_key_of_another_kind(account: ServiceAccount) -> None:
    key = pem(ec.generate_private_key(ec.SECP256R1()), NoEncryption())
    assert refusal(account.write(URI, private_key=key)) == "has a private_key that is not RSA"
