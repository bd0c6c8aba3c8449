"""Real sites that push files to each other: each with its jobs at hand and, if wanted, a line that can be spoilt.

north, south = member("north"), member("south")
introduce(north, south)
north.order(south)
north.deliver("zen.2457561.1.uvh5", b"bytes")
settle(north, south)
"""

import json
import shutil
import socket
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hera_librarian.authenticator import authorization_header
from tests.make import write_bytes
from tests.network.faults.proxy import Line
from tests.rig.databases import execute
from tests.rig.jobs import Jobs, Killed
from tests.rig.servers import ADMIN, ADMIN_PASSWORD, Site
from tests.wire.caller import checksum

EVERYTHING = '{"name-matches": "%"}'
SENDING = ("choose_files", "offer_files", "send_batches", "tell_peers", "follow_transfers")
RECEIVING = ("receive_transfers", "report_transfers", "ask_senders")
ALL = (*SENDING, *RECEIVING)
AUDIT = "__import__('tests.network.faults.audit').network.faults.audit"
QUICK = {"LIBRARIAN_STALE_TRANSFER_SECONDS": "60", "LIBRARIAN_RETRY_SECONDS": "0.1"}
Content = bytes | Mapping[str, bytes | None]


class Member:
    """One site of a network of tests."""

    def __init__(self, name: str, folder: Path, **environment: str) -> None:
        self.name = name
        self.kill_at = folder / f"{name}.kill-at"
        settings = {**QUICK, "LIBRARIAN_KILL_AT": f"@{self.kill_at}", **environment}
        self.site = Site(name, folder / name, environment=settings)
        self.jobs = Jobs(self.site)
        self.line: Line | None = None
        self.given: dict[str, Content] = {}

    def start(self, *, spoilable: bool = False, store: bool = True) -> "Member":
        """Start it; with `spoilable` others are to reach it over `.line`."""
        self.site.prepare(store=store)
        self.site.start()
        if spoilable:
            self.line = Line(self.site.port)
        return self

    def stop(self) -> None:
        self.jobs.stop()
        self.site.stop()
        if self.line is not None:
            self.line.__exit__()

    @property
    def port(self) -> int:
        """Where others reach it."""
        return self.line.port if self.line is not None else self.site.port

    def ask(self, endpoint: str, body: Any = None, authenticator: str = f"{ADMIN}:{ADMIN_PASSWORD}") -> Any:
        """One call of the wire, as the administrator; urllib.error.HTTPError when it is refused."""
        request = urllib.request.Request(
            f"{self.site.url}/api/v2/{endpoint}",
            json.dumps(body or {}).encode(),
            {"Content-Type": "application/json", "Authorization": authorization_header(authenticator)},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def know(self, name: str, port: int, authenticator: str, **more: Any) -> None:
        """Add a peer; `more` are columns of its row."""
        self.ask(
            "admin/librarians/add",
            {
                "librarian_name": name,
                "url": "http://127.0.0.1",
                "port": port,
                "authenticator": authenticator,
                "check_connection": False,
            },
        )
        if more:
            self.jobs.execute(f"Peer.objects.filter(name={name!r}).update(**{more!r})")

    def admit(self, name: str, *, level: int = 3) -> str:
        """An account for a peer; returns the authenticator that opens it."""
        password = f"the secret of {name}"
        self.ask("users/create", {"username": name, "password": password, "permission": level})
        return f"{name}:{password}"

    def order(self, peer: "Member | str", search: str = EVERYTHING, *, name: str = "") -> None:
        """Let what matches be sent to a peer from now on."""
        to = peer if isinstance(peer, str) else peer.name
        fields = {"name": name or f"to {to}", "search": search, "peer_name": to}
        self.jobs.execute(f"StandingOrder.objects.create(**{fields!r})")

    def deliver(self, name: str, content: Content) -> None:
        """Bring a file as a pipeline does, over the wire."""
        size = len(content) if isinstance(content, bytes) else sum(len(part or b"") for part in content.values())
        staged = self.ask(
            "upload/stage",
            {
                "upload_size": size,
                "upload_checksum": checksum(content),
                "upload_name": name.rpartition("/")[2],
                "destination_location": name,
                "uploader": "pipeline",
            },
        )
        write_bytes(Path(staged["staging_location"]), content)
        said = {key: value for key, value in staged.items() if key != "available_bytes_on_store"}
        self.ask(
            "upload/commit",
            {
                **said,
                "transfer_provider_name": "local",
                "transfer_provider": {"hostnames": [socket.gethostname()]},
                "meta_mode": "infer",
                "deletion_policy": "0",
                "uploader": "pipeline",
                "null_obsid": True,
            },
        )
        self.given[name] = content

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nothing of the site runs in the block."""
        self.site.kill()
        self.jobs.stop()
        yield
        self.site.start()

    def back_up(self) -> Callable[[], None]:
        """Keep a copy of the database; calling what is returned, while the site is stopped, brings it back."""
        url = self.site.environment()["DATABASE_URL"]
        kept = self.site.folder / "backup.sqlite3"
        name = url.rpartition("/")[2]

        def copy(source: str, target: str) -> None:
            left = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"
            execute(url, left)  # of processes that were killed just now
            execute(url, f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
            execute(url, f'CREATE DATABASE "{target}" TEMPLATE "{source}"')

        with self.stopped():
            if url.startswith("sqlite"):
                connection = sqlite3.connect(self.site.home / "librarian.sqlite3")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all into the one file that is copied
                connection.close()
                shutil.copyfile(self.site.home / "librarian.sqlite3", kept)
            else:
                copy(name, f"{name}_kept")

        def restore() -> None:
            if url.startswith("sqlite"):
                for suffix in ("-wal", "-shm"):
                    (self.site.home / f"librarian.sqlite3{suffix}").unlink(missing_ok=True)
                shutil.copyfile(kept, self.site.home / "librarian.sqlite3")
            else:
                copy(f"{name}_kept", name)
                execute(url, f'DROP DATABASE "{name}_kept"')

        return restore

    def audit(self, what: str, *arguments: Any) -> Any:
        """Ask tests.network.faults.audit inside the site."""
        return self.jobs.evaluate(f"{AUDIT}.{what}(*{arguments!r})")

    def run(self, *names: str, check: bool = True, **options: Any) -> list[dict[str, Any]]:
        """Run jobs, by default all that have to do with transfers."""
        return self.jobs.run(*(names or ALL), check=check, **options)

    def run_through_death(self, *names: str) -> list[str]:
        """Run jobs one by one although one may fail or be killed; what became of those, for a message."""
        mishaps = []
        for name in names or ALL:
            try:
                (run,) = self.jobs.run(name, check=False)
            except Killed:
                mishaps.append(f"{name} was killed")
            else:
                if run["outcome"] != "succeeded":
                    mishaps.append(f"{name} {run['outcome']}: {run['error'][-2000:]}")
        return mishaps


@contextmanager
def network(folder: Path) -> Iterator[Callable[..., Member]]:
    """`start("north", spoilable=True, LIBRARIAN_…="…")` starts a site; all stop at the end of the block."""
    running: list[Member] = []

    def start(name: str, *, spoilable: bool = False, store: bool = True, **environment: str) -> Member:
        running.append(Member(name, folder, **environment))
        return running[-1].start(spoilable=spoilable, store=store)

    try:
        yield start
    finally:
        for member in reversed(running):
            member.stop()


def introduce(sender: Member, receiver: Member, *, shared: bool = False) -> None:
    """Accounts in both directions, and each the other's peer; `shared`: the sender mounts the receiver's staging."""
    to_receiver, to_sender = receiver.admit(sender.name), sender.admit(receiver.name)
    more = {"shared_directories": [str(staging_of(receiver))]} if shared else {}
    sender.know(receiver.name, receiver.port, to_receiver, **more)
    receiver.know(sender.name, sender.port, to_sender)


def staging_of(member: Member) -> Path:
    """Staging of its store, by the default of add_store."""
    return member.site.store_path / ".librarian" / "staging"


def settle(*members: Member, rounds: int = 12) -> None:
    """Run all jobs of all sites, time passing in between, until nothing moves. AssertionError if that never comes."""
    still: dict[str, Any] = {}
    for _ in range(rounds):
        mishaps = [each for member in members for each in member.run_through_death()]
        still = {member.name: moving for member in members if (moving := member.audit("moving"))}
        if not still:
            return
        for member in members:
            member.audit("pass_time")
    raise AssertionError("\n".join([f"still moving after {rounds} rounds: {still}", *mishaps]))


def assert_arrived(sender: Member, receiver: Member, *names: str) -> None:
    """Each file is a good copy at the receiver, bytes compared, known to the sender exactly once; no litter."""
    sent, held = sender.audit("sent", receiver.name), receiver.audit("held")
    for name in names or sender.given:
        filed = name.rpartition("/")[2]
        assert sent[filed]["copies"] == 1, (filed, sent[filed])
        assert len(held[filed]) == 1, (filed, held[filed])
        assert_bytes(Path(held[filed][0]), sender.given[name])
    assert_clean(sender, receiver)


def assert_failed(sender: Member, receiver: Member, *names: str) -> dict[str, Any]:
    """Each file failed for good, with a code, a reason and a remedy; returns what was said of the last."""
    sent = sender.audit("sent", receiver.name)
    for name in names:
        assert sent[name]["state"] == "failed", sent[name]
        assert sent[name]["copies"] == 0
        for said in ("code", "reason", "remedy"):
            assert sent[name][said], (name, said, sent[name])
    return sent[names[-1]] if names else {}


def assert_clean(*members: Member) -> None:
    """Nothing staged, no delivery open, no truth or history broken; every file lies in its store once."""
    for member in members:
        assert member.audit("left_over") == {}, member.name
        held = member.audit("held")
        for name, places in held.items():
            on_disk = [path for path in member.site.store_path.rglob(name) if ".librarian" not in path.parts]
            assert sorted(map(str, on_disk)) == sorted(places), (member.name, name)


def assert_bytes(path: Path, content: Content) -> None:
    """The bytes of a flat file, or of each member of a directory, are these and no others."""
    if isinstance(content, bytes):
        assert path.read_bytes() == content, path
        return
    found = {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}
    assert found == {name: part for name, part in content.items() if part is not None}, path


__all__ = [
    "ALL",
    "EVERYTHING",
    "RECEIVING",
    "SENDING",
    "Member",
    "assert_arrived",
    "assert_bytes",
    "assert_clean",
    "assert_failed",
    "introduce",
    "settle",
    "staging_of",
]
