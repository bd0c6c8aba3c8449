"""The memory of proven credentials: bounded, and each entry only for its time."""

import threading

import pytest

from accounts import credentials
from accounts.credentials import ProvenCredentials, digest_of, turn_to_hash
from accounts.levels import Level
from accounts.models import User
from librarian.common.errors import Busy

pytestmark = pytest.mark.database_independent


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(credentials.time, "monotonic", lambda: now[0])
    return now


def test_what_is_remembered_is_forgotten_when_its_time_is_up(clock):
    proven = ProvenCredentials(limit=10)
    proven.remember(b"a", seconds=300)
    clock[0] += 299
    assert proven.knows(b"a")
    clock[0] += 1
    assert not proven.knows(b"a")
    assert len(proven) == 0


def test_use_does_not_prolong_it(clock):
    proven = ProvenCredentials(limit=10)
    proven.remember(b"a", seconds=300)
    for _ in range(3):
        clock[0] += 100
        proven.knows(b"a")
    assert not proven.knows(b"a")


def test_the_one_longest_unused_makes_room(clock):
    proven = ProvenCredentials(limit=2)
    for digest in (b"a", b"b"):
        proven.remember(digest, seconds=300)
    assert proven.knows(b"a")
    proven.remember(b"c", seconds=300)
    assert [proven.knows(digest) for digest in (b"a", b"b", b"c")] == [True, False, True]


def test_a_digest_binds_every_part_and_where_it_ends():
    def digest(**changes):
        fields = {"username": "ab", "password": "hash", "level": Level.ADMIN, "is_active": True, **changes}
        typed = fields.pop("typed", "pw")
        return digest_of(User(**fields), typed)

    others = [
        digest(username="a", typed="bpw"),
        digest(password="other"),
        digest(level=Level.READONLY),
        digest(is_active=False),
        digest(typed="pw2"),
    ]
    assert digest() == digest()
    assert digest() not in others


def test_only_a_few_passwords_are_checked_at_once(monkeypatch):
    monkeypatch.setattr(credentials, "_LONGEST_WAIT_SECONDS", 0.01)
    inside, leave = threading.Barrier(credentials._RUNS_AT_ONCE + 1), threading.Event()

    def hold():
        with turn_to_hash():
            inside.wait(timeout=10)
            leave.wait(timeout=10)

    threads = [threading.Thread(target=hold) for _ in range(credentials._RUNS_AT_ONCE)]
    for thread in threads:
        thread.start()
    inside.wait(timeout=10)
    try:
        with pytest.raises(Busy) as caught, turn_to_hash():
            pass
    finally:
        leave.set()
        for thread in threads:
            thread.join(timeout=10)
    assert caught.value.extra["retry_after_seconds"] > 0
    with turn_to_hash():
        pass
