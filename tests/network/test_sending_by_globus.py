"""Batches that Globus moves: put back while it works, found again, cancelled with it; and a file from site to site."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from network.models import OutgoingTransfer, SendQueueItem
from network.providers import globus, globus_account
from network.services.sending.batches import cancel_batch
from network.services.sending.carrying import send_batches
from network.services.sending.offering import offer_files
from stores.models import Store
from tests.make import bytes_path, make_file, make_instance, make_outgoing, make_store, make_user
from tests.network.destination import STAGED, Destination
from tests.network.members import assert_arrived, introduce, network, settle, staging_of
from tests.rig.globus_server import CLIENT, SECRET, GlobusServer

OURS, THEIRS = "0f0e0d0c-1111-4222-8333-444455556666", "0f0e0d0c-9999-4222-8333-444455556666"


@pytest.fixture
def service():
    with GlobusServer() as running:
        running.mover.collections = {OURS: Path("/"), THEIRS: Path("/")}
        yield running


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "globus-secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def south(db, standin, tmp_path, service, secret, settings, monkeypatch):
    """A peer that offers Globus first, and a shared directory besides."""
    settings.LIBRARIAN_GLOBUS_CLIENT_ID, settings.LIBRARIAN_GLOBUS_SECRET_FILE = CLIENT, str(secret)
    settings.LIBRARIAN_GLOBUS_AUTH_URL = settings.LIBRARIAN_GLOBUS_TRANSFER_URL = service.url
    settings.LIBRARIAN_GLOBUS_ENDPOINT = OURS
    monkeypatch.setattr(globus_account, "_authorizers", {})
    monkeypatch.setattr(globus, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(globus, "LONGEST_PAUSE_SECONDS", 0.1)
    folder = tmp_path / "south"
    folder.mkdir()
    service.mover.writable = [folder]
    there = Destination(standin, folder)
    there.offers["globus"] = {"destination_endpoint": THEIRS}
    there.make_peer(globus_endpoints=[THEIRS], provider_order=["globus", "local"])
    return there


@pytest.fixture
def store(db, tmp_path):
    return make_store(tmp_path / "store")


def make_queued(store, count=1):
    made = []
    for _ in range(count):
        file = make_file()
        make_instance(file, store, content=f"the bytes of {file.pk:05}"[:19].encode().ljust(19), place=file.name)
        made.append(make_outgoing(file, peer="south"))
    assert offer_files()["queued"] == count
    return made


def the_batch():
    return SendQueueItem.objects.get()


def now_due():
    SendQueueItem.objects.update(next_try_at=timezone.now())


def states():
    return sorted(OutgoingTransfer.objects.values_list("state", flat=True))


def test_a_small_batch_is_over_there_and_told_in_one_run(store, south, service):
    make_queued(store, 3)
    assert send_batches() == {"batches": 1, "files": 3, "failed": 0}
    assert states() == ["staged"] * 3
    assert south.states == [STAGED] * 3
    for transfer in south.transfers.values():
        assert Path(transfer["location"]).read_bytes().startswith(b"the bytes of ")
    item = the_batch()
    assert (item.state, item.provider, item.task_id, item.sent_bytes) == ("sent", "globus", "", 3 * 19)


def test_while_globus_works_the_batch_waits_and_no_attempt_counts(store, south, service, monkeypatch):
    monkeypatch.setattr(globus, "WATCHED_SECONDS", 0.0)
    service.mover.gate.clear()
    make_queued(store, 2)
    send_batches()
    service.last.bytes = 19
    for _ in range(7):  # more often than there are attempts
        now_due()
        send_batches()
    item = the_batch()
    assert (item.state, item.code, item.attempts, item.task_id) == ("waiting", "globus_under_way", 0, service.last.id)
    assert service.last.id in item.reason
    assert item.sent_bytes == 18  # half of all, as Globus tells
    assert timedelta(seconds=30) < item.next_try_at - timezone.now() <= timedelta(seconds=61)
    assert OutgoingTransfer.objects.filter(code="globus_under_way", state="ongoing").count() == 2
    send_batches()
    assert len(service.tasks) == 1  # it was not due

    service.mover.gate.set()
    assert service.last.over.wait(30)
    now_due()
    assert send_batches()["files"] == 2
    assert (states(), len(service.tasks)) == (["staged"] * 2, 1)
    assert the_batch().state == "sent"


def test_a_crash_between_submitting_and_noting_it_does_not_send_twice(store, south, service, monkeypatch):
    make_queued(store)
    real = globus.globus_task.submit

    def crash(client, destination, items, sending):
        noted = sending.note_task
        sending.note_task = lambda task_id: noted(task_id) if task_id.startswith("submission:") else sys.exit()
        real(client, destination, items, sending)

    monkeypatch.setattr(globus.globus_task, "submit", crash)
    with pytest.raises(SystemExit):
        send_batches()
    assert the_batch().task_id.startswith("submission:")
    monkeypatch.setattr(globus.globus_task, "submit", real)
    assert send_batches()["files"] == 1
    assert (len(service.tasks), service.count("POST /v0.10/transfer")) == (1, 2)


def test_no_other_way_is_used_while_a_task_may_write_there(store, south, service, settings, monkeypatch):
    monkeypatch.setattr(globus, "WATCHED_SECONDS", 0.0)
    service.mover.gate.clear()
    make_queued(store)
    send_batches()
    secret = Path(settings.LIBRARIAN_GLOBUS_SECRET_FILE)
    secret.chmod(0o644)
    now_due()
    send_batches()
    item = the_batch()
    assert (item.state, item.provider, item.task_id, item.attempts) == ("waiting", "globus", service.last.id, 0)
    assert "open to everybody" in item.reason
    secret.chmod(0o600)
    service.mover.gate.set()
    assert service.last.over.wait(30)
    now_due()
    assert send_batches()["files"] == 1


def test_a_way_that_could_not_start_gives_way_to_the_next(store, south, service):
    del service.mover.collections[THEIRS]
    make_queued(store)
    assert send_batches()["files"] == 1
    item = the_batch()
    assert (item.state, item.provider, item.task_id) == ("sent", "local", "")


def test_a_staging_area_that_is_closed_to_globus_is_reached_another_way(store, south, service):
    service.mover.writable = []
    make_queued(store, 2)
    assert send_batches()["files"] == 2
    assert (the_batch().provider, states()) == ("local", ["staged"] * 2)


def test_a_copy_that_globus_does_not_find_keeps_nobody_else_back(store, south, service, settings):
    """Three of five are gone where the collection is served: they fail, one with each task, and the others arrive."""
    transfers = make_queued(store, 5)
    settings.LIBRARIAN_HOST_NAME = "a host that does not mount the store"
    Store.objects.update(hosts=["another"])
    for each in transfers[1:4]:
        bytes_path(store, each.file.name).unlink()
    for _ in range(6):
        now_due()
        send_batches()
    assert states() == ["failed"] * 3 + ["staged"] * 2
    assert set(OutgoingTransfer.objects.filter(state="failed").values_list("code", flat=True)) == {"copy_missing"}


def test_a_cancelled_batch_takes_its_task_with_it(store, south, service, monkeypatch):
    monkeypatch.setattr(globus, "WATCHED_SECONDS", 0.0)
    service.mover.gate.clear()
    make_queued(store, 2)
    send_batches()
    assert cancel_batch(the_batch(), actor=make_user("ada")) == 2
    now_due()
    send_batches()
    assert service.last.over.wait(30)
    assert service.last.fatal_error["code"] == "CANCELED"
    assert (the_batch().state, states()) == ("sent", ["cancelled"] * 2)


@pytest.mark.one_database
def test_a_file_goes_by_globus_from_site_to_site(tmp_path, service, secret):
    settings = {
        "LIBRARIAN_GLOBUS_CLIENT_ID": CLIENT,
        "LIBRARIAN_GLOBUS_SECRET_FILE": str(secret),
        "LIBRARIAN_GLOBUS_ENDPOINT": OURS,
        "LIBRARIAN_GLOBUS_AUTH_URL": service.url,
        "LIBRARIAN_GLOBUS_TRANSFER_URL": service.url,
    }
    with network(tmp_path) as start:
        north, south = start("north", **settings), start("south")
        introduce(north, south)
        service.mover.writable = [staging_of(south)]
        north.jobs.execute(f"Peer.objects.update(globus_endpoints=[{THEIRS!r}])")
        south.jobs.execute(f"Store.objects.update(globus_endpoint={THEIRS!r})")
        north.order(south)
        north.deliver("zen.2457561.1.uvh5", b"a night" * 10_000)
        north.deliver("zen.2457561.1.uv", {"header": b"head", "sub/visdata": b"data" * 5000, "empty": None})
        settle(north, south)
        assert_arrived(north, south)
        used = north.jobs.evaluate("list(SendQueueItem.objects.values_list('provider', flat=True).distinct())")
    assert used == ["globus"]
    assert {task.status for task in service.tasks.values()} == {"SUCCEEDED"}
