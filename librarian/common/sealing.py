"""Secrets that this site must be able to read again: sealed in the database with keys that lie outside of it.

`LIBRARIAN_ENCRYPTION_KEYS` holds Fernet keys (https://github.com/fernet/spec), the newest first: the first one seals,
each of them opens. A key file may hold several, one a line.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from librarian.common.errors import Misconfigured

SEALED = r"^gAAAA[A-Za-z0-9_-]+=*\Z"  # version byte 0x80, then a time of 64 bits whose upper half is zero


class UnreadableSecret(Misconfigured):
    code = "unreadable_secret"
    remedy = "Put the key that sealed it back into LIBRARIAN_ENCRYPTION_KEYS, or enter the secret anew."


def seal(text: str) -> str:
    """`text` as only this site can read it."""
    return _all_keys().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text that was sealed. Raises UnreadableSecret when no present key opens it."""
    try:
        return _all_keys().decrypt(sealed).decode()
    except InvalidToken:
        raise UnreadableSecret("A secret in the database does not open with any of the present keys.") from None


def reseal(sealed: str) -> str | None:
    """The same secret under the first key; None when it is so already. Raises UnreadableSecret."""
    keys = encryption_keys()
    try:
        keys[0].decrypt(sealed)
    except InvalidToken:
        return seal(unseal(sealed))
    return None


def encryption_keys() -> list[Fernet]:
    """The keys in their order. Raises Misconfigured when there is none, or when one is not a key."""
    texts = [text for entry in settings.LIBRARIAN_ENCRYPTION_KEYS for text in entry.replace(",", " ").split()]
    if not texts:
        raise Misconfigured(
            "There is no encryption key.", remedy="Unset LIBRARIAN_ENCRYPTION_KEYS to have one made, or give one."
        )
    try:
        return [Fernet(text) for text in texts]
    except ValueError:
        raise Misconfigured(
            "LIBRARIAN_ENCRYPTION_KEYS has an entry that is no Fernet key.",
            remedy="Make one with `manage.py rotate_encryption_key --new-key`, and keep the keys that were there.",
        ) from None


def _all_keys() -> MultiFernet:
    return MultiFernet(encryption_keys())
