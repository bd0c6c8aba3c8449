"""Trying a store out for a person: what works, what does not, why, and what to do about it."""

import io
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from librarian.common.errors import ArchiveError
from stores.backends import backend_class
from stores.backends.base import StoreBackend, new_token
from stores.models import Store

_PROBE = b"a store test\n" * 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `reason` says what was seen, `remedy` what to do when it does not work."""

    works: bool
    subject: str
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{'works' if self.works else 'FAILS'}: {self.subject}"
        return ". ".join(part for part in (f"{text}{' - ' if self.reason else ''}{self.reason}", self.remedy) if part)


def test_store(store: Store) -> list[Finding]:
    """Try everything that a delivery needs, leaving nothing behind; stops where nothing further can work."""
    problems = backend_class(store.kind).check_configuration(store.configuration)
    if problems:
        return [Finding(False, "configuration", " ".join(problems), "Correct the configuration.")]
    findings = [Finding(True, "configuration")]
    host = settings.LIBRARIAN_HOST_NAME
    if not store.is_reached_from(host):
        reason = f"this host, {host}, is not among its hosts ({', '.join(store.hosts)})"
        return [*findings, Finding(False, "reach", reason, "Test it on one of its hosts, or add this one.")]
    findings.append(Finding(True, "reach", f"from this host, {host}"))
    backend = store.backend
    found = backend.check()
    findings.append(Finding(found.available, "mounted, ours and writable", found.reason, found.remedy))
    if found.available:
        findings += [_try("space", lambda: _space(store, backend)), _try("staging", lambda: _round_trip(backend))]
    return findings


test_store.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test of its own


def _try(subject: str, action: Callable[[], str]) -> Finding:
    try:
        return Finding(True, subject, action())
    except ArchiveError as error:
        return Finding(False, subject, error.reason, error.suggested_remedy)


def _space(store: Store, backend: StoreBackend) -> str:
    space = backend.space()
    limit = f"{store.fullness_limit:.0%}"
    return f"{space.free_bytes} of {space.capacity_bytes} bytes are free, it may be filled to {limit}"


def _round_trip(backend: StoreBackend) -> str:
    """Write, make durable, take over and drop a small file."""
    token = new_token()
    location = backend.stage(token)
    try:
        written = backend.write_item(token, io.BytesIO(_PROBE), ["xxh3"])
        backend.sync_items([token])
        if backend.adopt(token, ["xxh3"]).digest != written.digest:
            raise ArchiveError("other bytes were read than written", remedy="Do not use this disk; check its hardware.")
    finally:
        backend.drop_staging(token)
    return f"{len(_PROBE)} bytes were written, made durable and read again at {location}"
