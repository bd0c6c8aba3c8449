"""Places and names of members: what is legal below a store's root. Pure functions."""

import os

from librarian.common.texts import UNPRINTABLE
from stores.backends.base import UnsafeProduct

CORNER = ".librarian"  # our own directory below every root
QUARANTINE = f"{CORNER}/quarantine"
# What a disk that travels has at its root for people: no archived files (network.services.shipping.papers).
MANIFEST_PAPER, INDEX_PAPER, SUMS_PAPER, VERIFIER_PAPER = PAPERS = (
    "librarian-manifest.json",
    "index.html",
    "SHA256SUMS",
    "verify.py",
)
MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 4095


def split_place(place: str) -> list[str]:
    """Components of the place of committed bytes or of bytes in quarantine; those of our other corners are refused.

    Raises ValueError, since places come from our own rows: a bad one is a mistake in the code, not of a caller.
    """
    parts = place.split("/")
    if any(part in ("", ".", "..") or "\x00" in part for part in parts):
        raise ValueError(f"{place!r} is not a place: it must be relative, without empty components, '.' and '..'")
    if parts[0] == CORNER and not place.startswith(QUARANTINE + "/"):
        raise ValueError(f"{place!r} lies in the store's own corner")
    return parts


def split_new_place(place: str) -> list[str]:
    """Components of a place that bytes are about to get: legal UTF-8 names, outside our own corner."""
    parts = split_place(place)
    if parts[0] == CORNER:
        raise ValueError(f"{place!r} lies in the store's own corner")
    for part in parts:
        problem = name_problem(part)
        if problem:
            raise ValueError(f"{place!r} is not a place: a component {problem}")
    return parts


def name_problem(name: str) -> str:
    """What forbids `name` as one component, or empty. Undecodable bytes arrive as lone surrogates."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if UNPRINTABLE.search(name):
        return "has control characters"
    if len(encoded) > MAX_COMPONENT_BYTES:
        return f"is longer than {MAX_COMPONENT_BYTES} bytes"
    return ""


def check_member_name(name: str, prefix: bytes) -> bytes:
    """The path in bytes of a product's member called `name` below `prefix`. Raises UnsafeProduct."""
    problem = name_problem(name)
    if problem:
        raise UnsafeProduct(
            f"The product's member {shown(prefix + os.fsencode(name))} cannot be archived: it {problem}."
        )
    path = prefix + name.encode()
    if len(path) > MAX_PATH_BYTES:
        raise UnsafeProduct(f"The product's member {shown(path)} cannot be archived: its path is too long.")
    return path


def shown(path: bytes | str) -> str:
    """A path as it may stand in a sentence: undecodable and control characters escaped, cut after 120 characters."""
    text = path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else path
    escaped = ascii(text)[1:-1] if not text.isprintable() else text
    return f"'{escaped}'" if len(escaped) <= 120 else f"'{escaped[:119]}…'"
