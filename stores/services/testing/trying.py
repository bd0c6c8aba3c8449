"""One store from its configuration to a small file that goes there and back."""

import io
import os
import time
from collections.abc import Callable, Iterator

from django.conf import settings

from librarian.common.errors import ArchiveError
from librarian.common.findings import Finding, doubts, fails, works
from stores.backends import BACKENDS, backend_class
from stores.backends.base import StoreBackend, new_token
from stores.models import Store
from stores.services.testing import posix, s3, ssh

_PROBE = b"a store test\n" * 4096
_CLOCK_SECONDS = 60.0
# Behind these nothing further can be tried.
_WAY = {"ssh", "ssh host", "ssh configuration", "host name", "ssh port", "ssh host key", "ssh login"}
_WAY |= {"python over there", "endpoint", "account"}
_LOOKS: dict[str, Callable[[Store], Iterator[Finding]]] = {"posix": posix.look, "ssh": ssh.look, "s3": s3.look}


def test_store(store: Store) -> list[Finding]:
    """Try everything that a delivery needs, leaving nothing behind; stops where nothing further can work."""
    return list(examine_store(store))


test_store.__test__ = False  # type: ignore[attr-defined]  # pytest takes the name for a test of its own


def examine_store(store: Store, *, writes: bool = True) -> Iterator[Finding]:
    """The findings as they come, without touching the database; with `writes` off no file makes the round trip."""
    if store.kind not in BACKENDS:
        yield fails("kind", f"stores of kind {store.kind} are not supported by this version", "Upgrade the site.")
        return
    problems = backend_class(store.kind).check_configuration(store.configuration)
    if problems:
        yield fails("configuration", " ".join(problems), "Correct the configuration.")
        return
    yield works("configuration")
    host = settings.LIBRARIAN_HOST_NAME
    if not store.is_reached_from(host):
        reason = f"this host, {host}, is not among its hosts ({', '.join(store.hosts)})"
        yield fails("reach", reason, "Test it on one of its hosts, or add this one.")
        return
    yield works("reach", f"from this host, {host}")
    way_is_barred = False
    for finding in _LOOKS[store.kind](store):
        way_is_barred |= not finding.works and finding.subject in _WAY
        yield finding
    if not way_is_barred:
        yield from _try_backend(store, writes=writes)


def _try_backend(store: Store, *, writes: bool) -> Iterator[Finding]:
    try:
        backend = store.backend
        found = backend.check()
    except ArchiveError as error:
        yield fails("available", error.reason, error.suggested_remedy)
        return
    yield Finding(found.available, "mounted, ours and writable", found.reason, found.remedy)
    if found.available:
        yield _try("space", lambda: _space(store, backend))
        if writes:
            yield _try("staging", lambda: _round_trip(store, backend))


def _try(subject: str, action: Callable[[], Finding | str]) -> Finding:
    try:
        found = action()
    except ArchiveError as error:
        return fails(subject, error.reason, error.suggested_remedy)
    return found if isinstance(found, Finding) else works(subject, found)


def _space(store: Store, backend: StoreBackend) -> Finding | str:
    space = backend.space()
    limit = f"{store.fullness_limit:.0%}"
    said = f"{space.free_bytes} of {space.capacity_bytes} bytes are free, it may be filled to {limit}"
    if store.ingestable and space.free_bytes <= space.capacity_bytes * (1 - store.fullness_limit):
        remedy = "Free space there, raise its limit, or add a store; until then it takes no new files."
        return doubts("space", said, remedy)
    return said


def _round_trip(store: Store, backend: StoreBackend) -> Finding | str:
    """Write, make durable, take over and drop a small file."""
    token = new_token()
    location = backend.stage(token)
    try:
        written = backend.write_item(token, io.BytesIO(_PROBE), ["xxh3"])
        backend.sync_items([token])
        apart = _clock_difference(location) if store.kind == Store.Kind.POSIX else 0.0
        if backend.adopt(token, ["xxh3"]).digest != written.digest:
            raise ArchiveError("other bytes were read than written", remedy="Do not use this disk; check its hardware.")
    finally:
        backend.drop_staging(token)
    said = f"{len(_PROBE)} bytes were written, made durable and read again at {location}"
    if abs(apart) > _CLOCK_SECONDS:
        remedy = "Let the file server and this machine follow a time server: staging is swept by its age."
        return doubts("staging", f"{said}; the clock of its file system differs from ours by {apart:.0f} s", remedy)
    return said


def _clock_difference(location: str) -> float:
    """Seconds between the file system's clock and ours, by a file that was written just now."""
    return os.stat(location).st_mtime - time.time()
