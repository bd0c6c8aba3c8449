"""The objects of one store's bucket: looked at, put without overwriting, read, listed, erased.

Keys here are relative to the store's prefix. Every call says its errors for the store; the marker is another module's.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from librarian.common.errors import StoreUnavailable
from stores.backends.s3.clients import client_for, forget_client
from stores.backends.s3.target import Target
from stores.backends.s3.trouble import FAILURES, NOT_THERE, OCCUPIED, REFUSED_CREDENTIALS, code_of, explain

TOKEN = "librarian-token"  # noqa: S105  the delivery that an object came with
SHA256 = "librarian-sha256"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at an object found."""

    key: str
    size_bytes: int
    etag: str
    modified: datetime
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The delivery that it came with; empty for an object of somebody else."""
        return self.facts.get(TOKEN, "")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing."""

    key: str
    size_bytes: int
    modified: datetime


def base64_sha256(digest: str) -> str:
    """A hex digest in the form in which S3 compares it with what arrived."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


class Bucket:
    """One store's part of a bucket."""

    def __init__(self, store_name: str, target: Target) -> None:
        self.store_name = store_name
        self.target = target

    # --- Calls ---

    @property
    def client(self) -> Any:
        """The shared client; only inside `speaking`, since making it reads the AWS configuration."""
        return client_for(self.target)

    def at(self, key: str) -> dict[str, str]:
        """The arguments that name an object."""
        return {"Bucket": self.target.bucket, "Key": self.target.prefix + key}

    def address(self, key: str) -> str:
        """An object, as people write it."""
        return f"s3://{self.target.bucket}/{self.target.prefix}{key}"

    @contextmanager
    def speaking(self, doing: str) -> Iterator[None]:
        """Turn a failed call into what the caller is told."""
        try:
            yield
        except FAILURES as error:
            if code_of(error) in REFUSED_CREDENTIALS:
                forget_client(self.target)
            raise explain(error, doing=doing, store_name=self.store_name, target=self.target) from error

    # --- Objects ---

    def look(self, key: str) -> Seen | None:
        """The object `key`; None if there is none. That its bucket is gone looks the same: ask the marker."""
        with self.speaking(f"looking at {self.address(key)}"):
            try:
                found = self.client.head_object(**self.at(key))
            except FAILURES as error:
                if code_of(error) in NOT_THERE:
                    return None
                raise
        return Seen(key, found["ContentLength"], found["ETag"], found["LastModified"], found["Metadata"])

    def put_new(self, key: str, body: bytes, facts: Mapping[str, str]) -> bool:
        """Write an object of at most a part's size; False when the key is taken, which is then untouched.

        The service compares what arrives with the SHA-256, which is also noted among the facts.
        """
        digest = hashlib.sha256(body).hexdigest()
        with self.speaking(f"writing {self.address(key)}"):
            try:
                self.client.put_object(
                    **self.at(key),
                    Body=body,
                    IfNoneMatch="*",
                    Metadata={**facts, SHA256: digest},
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64_sha256(digest),
                )
            except FAILURES as error:
                if code_of(error) in OCCUPIED:
                    return False
                raise
        return True

    def get_small(self, key: str, *, limit_bytes: int) -> bytes | None:
        """The first bytes of an object; None if there is none. Raises StoreUnavailable, also without a bucket."""
        with self.speaking(f"reading {self.address(key)}"):
            try:
                found = self.client.get_object(**self.at(key))
            except FAILURES as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            with found["Body"] as body:
                return bytes(body.read(limit_bytes))

    def list(self, below: str = "", *, after: str = "") -> Iterator[Listed]:
        """Every object whose key begins with `below`, page by page, in the order of the service."""
        options = {"StartAfter": self.target.prefix + after} if after else {}
        with self.speaking(f"listing {self.address(below)}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.target.bucket,
                Prefix=self.target.prefix + below,
                PaginationConfig={"PageSize": _PAGE},
                **options,
            )
            remaining = iter(pages)
        while True:
            with self.speaking(f"listing {self.address(below)}"):
                page = next(remaining, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                yield Listed(found["Key"].removeprefix(self.target.prefix), found["Size"], found["LastModified"])

    def anything_below(self, key: str) -> str:
        """One key that begins so; empty if there is none."""
        with self.speaking(f"listing {self.address(key)}"):
            found = self.client.list_objects_v2(
                Bucket=self.target.bucket, Prefix=self.target.prefix + key, MaxKeys=1
            ).get("Contents", ())
        return found[0]["Key"].removeprefix(self.target.prefix) if found else ""

    def erase(self, keys: Iterable[str]) -> None:
        """Erase objects; harmless for those that are gone."""
        for key in keys:
            with self.speaking(f"erasing {self.address(key)}"):
                self.client.delete_object(**self.at(key))

    def unavailable(self, reason: str, remedy: str = "") -> StoreUnavailable:
        """The store cannot be used, and why."""
        return StoreUnavailable(f"Store {self.store_name} is not available: {reason}.", remedy=remedy or None)
