"""Checksums of the wire protocol, and hashing of one stream by several algorithms in one pass.

A checksum on the wire is `<algorithm>:::<lower-case hex>`; bare hex means md5 (values from older catalogues).
"""

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import xxhash

SEPARATOR = ":::"
HEX_DIGITS = {"md5": 32, "xxh3": 32, "sha1": 40, "sha256": 64, "sha512": 128}
DEFAULT_ALGORITHM = "xxh3"
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Checksum:
    """An algorithm and its lower-case hex digest. `str()` gives the form of the wire."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{self.algorithm}{SEPARATOR}{self.digest}"


def parse_checksum(text: str) -> Checksum:
    """Read `<algorithm>:::<hex>` or bare md5 hex.

    Raises
    ------
    ValueError
        For an unknown algorithm or a digest of the wrong length or alphabet, naming what was expected.
    """
    algorithm, separator, digest = text.strip().rpartition(SEPARATOR)
    if not separator:
        algorithm = "md5"
    digest = digest.lower()
    if algorithm not in HEX_DIGITS:
        raise ValueError(f"unknown checksum algorithm {algorithm!r}; known are {', '.join(HEX_DIGITS)}")
    if len(digest) != HEX_DIGITS[algorithm] or not _HEX.fullmatch(digest):
        raise ValueError(f"a {algorithm} digest has {HEX_DIGITS[algorithm]} hexadecimal digits, got {digest[:140]!r}")
    return Checksum(algorithm, digest)


def new_hasher(algorithm: str) -> Any:
    """A hasher with `update` and `hexdigest` for an algorithm of the wire. Raises ValueError if it is unknown."""
    if algorithm == "xxh3":
        return xxhash.xxh3_128()
    if algorithm not in HEX_DIGITS:
        raise ValueError(f"unknown checksum algorithm {algorithm!r}; known are {', '.join(HEX_DIGITS)}")
    return hashlib.new(algorithm, usedforsecurity=False)


class MultiHasher:
    """Several digests of one stream, each byte read once.

    Large blocks are hashed by threads at the same time (the hashing libraries release the interpreter lock); small
    ones in place, where handing over would cost more than the hash.
    """

    SMALL_BYTES = 256 * 1024

    def __init__(self, algorithms: Iterable[str], pool: ThreadPoolExecutor | None = None) -> None:
        self._hashers = {algorithm: new_hasher(algorithm) for algorithm in algorithms}
        self._pool = pool
        self.size_bytes = 0

    def submit(self, block: bytes | memoryview) -> list[Future[None]]:
        """Start hashing a block. The caller waits for the futures before it reuses the memory or submits the next."""
        self.size_bytes += len(block)
        hashers = list(self._hashers.values())
        if self._pool is None or len(block) < self.SMALL_BYTES:
            for hasher in hashers:
                hasher.update(block)
            return []
        return [self._pool.submit(hasher.update, block) for hasher in hashers]

    def update(self, block: bytes | memoryview) -> None:
        """Hash a block and wait for it."""
        for future in self.submit(block):
            future.result()

    def hexdigest(self, algorithm: str) -> str:
        """Lower-case hex digest of what was seen so far."""
        return str(self._hashers[algorithm].hexdigest())


def combine_directory_digests(algorithm: str, digests: Iterable[str]) -> str:
    """Digest of a directory as on the wire: of the sorted hex digests of its files, joined by nothing.

    Neither names nor structure enter, so it is checked for compatibility and never relied on.
    """
    hasher = new_hasher(algorithm)
    for digest in sorted(digests):
        hasher.update(digest.encode())
    return str(hasher.hexdigest())
