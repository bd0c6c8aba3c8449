"""Plain builders of rows and bytes for tests: real stores in a temporary directory, files with real bytes on them.

Each takes what a test cares about and invents the rest. Nothing here goes through the services, so that a test of a
reader does not depend on the writers.
"""

import hashlib
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from django.utils import timezone

from accounts.levels import Level
from accounts.models import User
from files.models import Condition, File, FileMember, Instance, RemoteInstance
from files.models.file import FileKind
from files.services.events import append_event
from librarian.common.sealing import seal
from network.models import IncomingTransfer, OrderWay, OutgoingTransfer, Peer, SendQueueItem, StandingOrder
from stores.models import Store

PASSWORD = "correct horse battery staple"
_numbers = count(1)


def make_user(username: str = "", *, level: Level = Level.READONLY, password: str = PASSWORD, **fields: Any) -> User:
    """A user with a password that the tests know."""
    return User.objects.create_user(username or f"user{next(_numbers)}", password, level=level, **fields)


def make_cast() -> dict[str, User]:
    """One user of each level, named in lower case as the level is."""
    return {level.name.lower(): make_user(level.name.lower(), level=level) for level in Level}


def make_store(folder: Path, *, name: str = "", initialise: bool = True, **fields: Any) -> Store:
    """A posix store below `folder`, initialised, measured and available."""
    name = name or f"store{next(_numbers)}"
    root, staging = folder / name / "root", folder / name / "staging"
    if initialise:
        root.mkdir(parents=True)
        staging.mkdir(parents=True)
    defaults = {"available": True, "measured_at": timezone.now(), "capacity_bytes": 10**12, "free_bytes": 9 * 10**11}
    configuration = {"root": str(root), "staging": str(staging)}
    store = Store.objects.create(name=name, configuration=configuration, **{**defaults, **fields})
    if initialise:
        store.backend.initialise()
    return store


def tree_digest(members: Mapping[str, bytes | None]) -> str:
    """Tree digest of a directory product (design section 2); None stands for an empty directory."""
    digest = hashlib.sha256()
    for path in sorted(members, key=str.encode):
        content = members[path]
        if content is None:
            digest.update(f"d {path}\0".encode())
        else:
            digest.update(f"f {len(content)} {hashlib.sha256(content).hexdigest()} {path}\0".encode())
    return digest.hexdigest()


def make_file(
    name: str = "",
    *,
    content: bytes | Mapping[str, bytes | None] = b"the bytes of a file",
    store: Store | None = None,
    place: str = "",
    instance: Mapping[str, Any] | None = None,
    **fields: Any,
) -> File:
    """A file: flat for bytes, a directory product for a mapping of member path -> bytes (None: empty directory).

    With `store` its bytes are written there and it gets an instance; `instance` are further columns of that.
    """
    name = name or f"zen.2457561.{next(_numbers):05}.sum.uvh5"
    flat = isinstance(content, bytes)
    size_bytes = len(content) if flat else sum(len(part or b"") for part in content.values())
    digest = hashlib.sha256(content).hexdigest() if flat else tree_digest(content)
    defaults = {"uploader": "a tester", "source": "tests", "checksum": f"sha256:::{digest}", "digest": digest}
    kind = FileKind.FLAT if flat else FileKind.DIRECTORY
    file = File.objects.create(name=name, kind=kind, size_bytes=size_bytes, **{**defaults, **fields})
    if not flat:
        FileMember.objects.bulk_create(_member(file, path, content[path]) for path in sorted(content, key=str.encode))
    append_event(file=file, type="file_registered", actor=file.source, facts={"size_bytes": size_bytes})
    if store is not None:
        make_instance(file, store, content=content, place=place, **(instance or {}))
    return file


def make_instance(
    file: File,
    store: Store,
    *,
    content: bytes | Mapping[str, bytes | None] | None = None,
    place: str = "",
    **fields: Any,
) -> Instance:
    """A copy of `file` on `store`, by default good and present; `content` (None: no bytes) is written at its place."""
    place = place or f"2457561/{file.base_name}"
    if content is not None:
        write_bytes(bytes_path(store, place), content)
    defaults = {"path": place, "condition": Condition.GOOD, "condition_at": timezone.now()}
    created = Instance.objects.create(file=file, store=store, **{**defaults, **fields})
    append_event(file=file, type="instance_created", actor="tests", facts={"store": store.name, "path": place})
    return created


def make_remote_instance(file: File, *, peer: str = "north", **fields: Any) -> RemoteInstance:
    """A copy that the peer of this name has confirmed."""
    return RemoteInstance.objects.create(file=file, peer_name=peer, **{"peer_store_id": 1, "sender": "here", **fields})


def make_peer(name: str = "", *, authenticator: str = "test_librarian:a password", **fields: Any) -> Peer:
    """A site that we know, at an address where nothing answers."""
    defaults = {"url": "http://127.0.0.1", "port": 1, "sealed_authenticator": seal(authenticator)}
    return Peer.objects.create(name=name or f"peer{next(_numbers)}", **{**defaults, **fields})


def make_order(peer: Peer | None = None, *, name: str = "", **fields: Any) -> StandingOrder:
    """A standing order for every file, to a peer (a new one if left out)."""
    named = "peer_name" in fields or fields.get("way") == OrderWay.COPY
    defaults = {} if named else {"peer_name": (peer or make_peer()).name}
    return StandingOrder.objects.create(name=name or f"order{next(_numbers)}", **{**defaults, **fields})


def make_outgoing(file: File | None = None, *, peer: str = "north", **fields: Any) -> OutgoingTransfer:
    """A file on its way to the peer of this name; ended states get their time and a failed one its reason."""
    file = file or make_file()
    return OutgoingTransfer.objects.create(
        file=file, peer_name=peer, **{"size_bytes": file.size_bytes, **_ended(fields), **fields}
    )


def make_incoming(*, account: str = "north", name: str = "", **fields: Any) -> IncomingTransfer:
    """A file on its way from the account of this name, which is a peer's unless `peer_name` says otherwise."""
    name = name or f"zen.2457561.{next(_numbers):05}.sum.uvh5"
    defaults = {
        "account_name": account,
        "peer_name": account,
        "source": account,
        "uploader": account,
        "source_transfer_id": next(_numbers),
        "name": name,
        "destination": name,
        "size_bytes": 19,
        "checksum": "md5:::" + "a" * 32,
    }
    return IncomingTransfer.objects.create(**{**defaults, **_ended(fields), **fields})


def make_queue_item(*, peer: str = "north", **fields: Any) -> SendQueueItem:
    """A batch that waits to be sent to the peer of this name."""
    return SendQueueItem.objects.create(peer_name=peer, **fields)


def _ended(fields: Mapping[str, Any]) -> dict[str, Any]:
    state = fields.get("state")
    ended = {"finished_at": timezone.now()} if state in ("completed", "failed", "cancelled") else {}
    return {**ended, **({"reason": "It broke."} if state == "failed" else {})}


def bytes_path(store: Store, place: str) -> Path:
    """Where the bytes of a place of a posix store lie."""
    return Path(store.configuration["root"]) / place


def write_bytes(path: Path, content: bytes | Mapping[str, bytes | None]) -> None:
    """Write a flat file, or a directory of members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    path.mkdir()
    for member, part in content.items():
        if part is None:
            (path / member).mkdir(parents=True)
        else:
            write_bytes(path / member, part)


def _member(file: File, path: str, content: bytes | None) -> FileMember:
    if content is None:
        return FileMember(file=file, kind=FileMember.Kind.EMPTY_DIRECTORY, path=path)
    digest = hashlib.sha256(content).hexdigest()
    return FileMember(file=file, kind=FileMember.Kind.FILE, path=path, size_bytes=len(content), sha256=digest)
