"""A service account of the tests' own: the file that Google's console would give, and its public key."""

import json
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "gobbler-test"
EMAIL = f"pusher@{PROJECT}.iam.gserviceaccount.com"


class ServiceAccount:
    """`public_key` is for the fake, which checks assertions; `write` makes the file for its address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.public_key = folder / "service-account.pub"
        self.public_key.write_bytes(
            _key()
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def write(self, token_uri: str, /, **changes: object) -> Path:
        """Write the file, with members that differ from the ordinary; None leaves one out."""
        members: dict[str, object] = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "key-of-the-tests",
            "private_key": private_key(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": token_uri,
        }
        members |= changes
        file = self._folder / "service-account.json"
        file.write_text(json.dumps({name: value for name, value in members.items() if value is not None}))
        return file


def private_key() -> str:
    """The account's key as it stands in the file."""
    return (
        _key()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )


@cache  # it takes a tenth of a second
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
