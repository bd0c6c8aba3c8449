"""The text that pairs two sites: who invites, where it answers, which way files go, and a secret that counts once."""

import base64
import binascii
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

from accounts.levels import Level
from hera_librarian.addresses import split_url
from hera_librarian.exceptions import LibrarianError
from librarian.common.errors import InvalidRequest
from librarian.common.parsers import InvalidJson, read_json

PREFIX = "librarian-pair-"
VERSION = 1
LONGEST_CODE = 2048
LONGEST_SECRET = 128


class Direction(StrEnum):
    """Which way files go, as the site sees it that says so."""

    SEND = "send"
    RECEIVE = "receive"
    BOTH = "both"

    @property
    def level(self) -> Level:
        """Of the account that the other site gets here: who only takes our files reports on them, no more."""
        return Level.CALLBACK if self is Direction.SEND else Level.READAPPEND

    @property
    def of_the_other(self) -> "Direction":
        """The same, as the other site sees it."""
        turned = {Direction.SEND: Direction.RECEIVE, Direction.RECEIVE: Direction.SEND}
        return turned.get(self, Direction.BOTH)


@dataclass(frozen=True, slots=True)
class PairingCode:
    """What an invitation says. `direction` is the inviting site's."""

    name: str
    url: str
    port: int
    direction: Direction
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """As people copy it."""
        content = {
            "v": VERSION,
            "name": self.name,
            "url": self.url,
            "port": self.port,
            "direction": self.direction.value,
            "secret": self.secret,
        }
        return PREFIX + base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def new_secret() -> str:
    """A secret that nobody guesses (256 random bits)."""
    return secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def proof_of(secret: str) -> str:
    """What only this site can make of a secret: with it a repeated call is known to come from the same site."""
    return salted_hmac("network.pairing", secret, algorithm="sha256").hexdigest()


def read_code(text: str) -> PairingCode:
    """What a code says. Raises InvalidRequest; blanks and line breaks that copying brought in do not matter."""
    text = "".join(text.split())
    if not text.startswith(PREFIX) or len(text) > LONGEST_CODE:
        raise _unreadable(f"it does not begin with {PREFIX}" if len(text) <= LONGEST_CODE else "it is too long")
    body = text.removeprefix(PREFIX)
    try:
        content = read_json(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, InvalidJson):
        raise _unreadable("some of it is missing or changed") from None
    return _understood(content)


def _understood(content: Any) -> PairingCode:
    if not isinstance(content, dict) or content.get("v") != VERSION:
        raise _unreadable("it is of another version")
    texts = [content.get(key) for key in ("name", "url", "secret")]
    port, direction = content.get("port"), content.get("direction")
    is_whole = all(isinstance(text, str) and text for text in texts) and type(port) is int
    if not is_whole or len(texts[2]) > LONGEST_SECRET or not texts[2].isascii() or direction not in list(Direction):
        raise _unreadable("something in it is missing")
    return PairingCode(texts[0], texts[1], port, Direction(direction), texts[2])


def _unreadable(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"This is no code of an invitation: {why}.",
        remedy=f"Copy the whole line that the other site shows; it begins with {PREFIX}",
    )


def read_direction(text: str) -> Direction:
    """A direction by its word. Raises InvalidRequest."""
    try:
        return Direction(text)
    except ValueError:
        raise InvalidRequest(
            f"{text!r} is no direction.", remedy=f"Choose one of {', '.join(each.value for each in Direction)}."
        ) from None


def own_address(url: str = "") -> tuple[str, int]:
    """Where other sites reach this one: the address given, else LIBRARIAN_PUBLIC_URL. Raises InvalidRequest."""
    url = url.strip() or settings.LIBRARIAN_PUBLIC_URL
    if not url:
        raise InvalidRequest(
            "Nobody has said where other sites reach this one.",
            remedy="Give the address, with its port where it has one, or set LIBRARIAN_PUBLIC_URL.",
        )
    try:
        return split_url(url)
    except LibrarianError as problem:
        raise InvalidRequest(problem.reason, remedy=problem.suggested_remedy) from None


def own_name() -> str:
    """The name of this site, which its account at every peer bears."""
    return settings.LIBRARIAN_NAME
