"""How files go to a peer: which providers, which hosts and directories, how much at once. Set by people, audited.

Hosts and directories end in command lines and in paths that bytes are written to, so nothing goes in that could mean
something else there.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest
from network.models import Peer
from network.providers.choice import PROVIDERS

OPTIONS = (
    "provider_order",
    "ssh_hosts",
    "globus_endpoints",
    "shared_directories",
    "batch_files",
    "files_per_run",
    "batches_in_flight",
    "rate_limit_bytes_per_second",
)
MOST_ENTRIES = 64
MOST_BATCH_FILES = 10_000
MOST_FILES = 2**31 - 1
MOST_BYTES = 2**63 - 1
WAYS = {"provider_order", "ssh_hosts", "globus_endpoints", "shared_directories"}
_HOST = re.compile(r"[A-Za-z0-9_.@:][A-Za-z0-9_.@:-]{0,254}")
_COLLECTION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def set_sending_options(*, peer: Peer, actor: User | None, address: str = "", **changes: Any) -> bool:
    """Change how files go to a peer; False if nothing is different.

    `changes` are of OPTIONS. Providers that rest because they could not start are tried again at once when another
    way was set. Raises InvalidRequest, Conflict; nothing is changed then.
    """
    new = check_sending_options(changes)
    before = {name: getattr(peer, name) for name, value in new.items() if value != getattr(peer, name)}
    if not before:
        return False
    after: dict[str, Any] = {name: new[name] for name in before}
    rests = {"provider_rests": {}} if WAYS & set(after) else {}
    with transaction.atomic():
        if not Peer.objects.filter(pk=peer.pk).update(**after, **rests):
            raise Conflict(f"Librarian {peer.name} was removed meanwhile.", remedy="Add it anew.")
        facts = {"before": before, "after": after}
        record_act(actor=actor, action="edit_sending", subject=f"peer {peer.name}", facts=facts, address=address)
    for name, value in {**after, **rests}.items():
        setattr(peer, name, value)
    return True


def check_sending_options(changes: Mapping[str, Any]) -> dict[str, Any]:
    """These options as they are kept. Raises InvalidRequest that says what is wrong with one."""
    unknown = sorted(set(changes) - set(OPTIONS))
    if unknown:
        raise InvalidRequest(f"A peer has no {', '.join(unknown)}.", remedy=f"It has {', '.join(OPTIONS)}.")
    return {name: _checked(name, value) for name, value in changes.items()}


def _checked(name: str, value: Any) -> Any:
    if name == "provider_order":
        return _providers(value)
    if name == "ssh_hosts":
        return _hosts(value)
    if name == "globus_endpoints":
        return _collections(value)
    if name == "shared_directories":
        return _directories(value)
    if name == "rate_limit_bytes_per_second":
        return None if value is None else _amount(name, value, MOST_BYTES)
    return _amount(name, value, MOST_BATCH_FILES if name == "batch_files" else MOST_FILES)


def _entries(name: str, value: Any) -> list[str]:
    is_list = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    if not is_list or len(value) > MOST_ENTRIES:
        raise InvalidRequest(f"{name}: this is no list of at most {MOST_ENTRIES} texts.")
    if len(set(value)) != len(value):
        raise InvalidRequest(f"{name}: something stands there twice.", remedy="Name each once.")
    return value


def _providers(value: Any) -> list[str]:
    names = _entries("provider_order", value)
    for name in names:
        if name not in PROVIDERS:
            raise InvalidRequest(
                f"provider_order: there is no provider called {name[:40]!r}.",
                remedy=f"Choose of {', '.join(PROVIDERS)}, the best first; leave it empty for the usual order.",
            )
    return names


def _hosts(value: Any) -> list[str]:
    hosts = _entries("ssh_hosts", value)
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise InvalidRequest(
                f"ssh_hosts: {host[:80]!r} is no host, or user@host.",
                remedy="A host has letters, digits and _ . @ : - and does not begin with -. Options of ssh belong into "
                "its configuration.",
            )
    return hosts


def _collections(value: Any) -> list[str]:
    collections = [entry.lower() for entry in _entries("globus_endpoints", value)]
    for collection in collections:
        if not _COLLECTION.fullmatch(collection):
            raise InvalidRequest(
                f"globus_endpoints: {collection[:80]!r} is not the id of a Globus collection.",
                remedy="It is a UUID; the page of the collection at app.globus.org shows it.",
            )
    return list(dict.fromkeys(collections))


def _directories(value: Any) -> list[str]:
    places = _entries("shared_directories", value)
    for place in places:
        path = Path(place)
        if not path.is_absolute() or ".." in path.parts or path == Path("/") or not place.isprintable():
            raise InvalidRequest(
                f"shared_directories: {place[:200]!r} is not the whole path of a directory.",
                remedy="Give the path from / on, without '..', as the other site names its staging directory.",
            )
        if not _is_directory(path):
            raise InvalidRequest(
                f"shared_directories: there is no directory {place} on this machine.",
                remedy="Mount it under the same path as at the other site, then enter it.",
            )
    return [str(Path(place)) for place in places]


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a mount that hangs or is stale is none that files can be written to
        return False


def _amount(name: str, value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidRequest(f"{name}: this is no number from 1 to {most}.")
    return value
