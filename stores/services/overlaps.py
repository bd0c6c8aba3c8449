"""Whether two stores would hold their bytes in each other's place, as far as their configurations tell.

One machine under two names, or a directory mounted twice, is seen by nobody here: the marker at the root is the guard.
"""

import posixpath
from collections.abc import Iterable

from stores.models import Store

# Directories on our own hosts, and on the host of an ssh store.
_HERE = {Store.Kind.POSIX: ("root", "staging"), Store.Kind.S3: ("spool",)}
_THERE = {Store.Kind.SSH: ("root", "staging")}
_AWS = "amazonaws.com"


def overlap(store: Store, other: Store) -> str:
    """What of two stores overlaps, in the plural; empty if nothing does."""
    if _share_a_host(store, other) and _any_within(_directories(store, _HERE), _directories(other, _HERE)):
        return "directories"
    if store.kind != other.kind:
        return ""
    if store.kind == Store.Kind.SSH and _machine(store) == _machine(other):
        shared = _any_within(_directories(store, _THERE), _directories(other, _THERE))
        return "directories on that host" if shared else ""
    if store.kind == Store.Kind.S3 and _bucket(store) == _bucket(other):
        return "bucket and prefix" if _any_within([_prefix(store)], [_prefix(other)]) else ""
    return ""


def _share_a_host(store: Store, other: Store) -> bool:
    return not store.hosts or not other.hosts or bool(set(store.hosts) & set(other.hosts))


def _machine(store: Store) -> str:
    """The host of an ssh store, whoever we are there."""
    return str(store.configuration.get("host", "")).rpartition("@")[2].lower()


def _bucket(store: Store) -> tuple[str, str]:
    service = str(store.configuration.get("endpoint_url") or _AWS).rstrip("/").lower()
    return service, str(store.configuration.get("bucket", ""))


def _prefix(store: Store) -> str:
    """Where in its bucket a store begins, as if that were a directory."""
    return posixpath.normpath("/" + str(store.configuration.get("prefix") or "").strip("/"))


def _directories(store: Store, keys: dict[Store.Kind, tuple[str, ...]]) -> list[str]:
    found = [store.configuration.get(key) for key in keys.get(Store.Kind(store.kind), ())]
    return [posixpath.normpath(path) for path in found if isinstance(path, str) and path.startswith("/")]


def _any_within(some: Iterable[str], others: Iterable[str]) -> bool:
    others = list(others)
    return any(_is_within(a, b) or _is_within(b, a) for a in some for b in others)


def _is_within(path: str, directory: str) -> bool:
    return posixpath.commonpath([path, directory]) == directory
