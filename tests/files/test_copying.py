"""Copies between our own stores: made once, on the first store that takes them, and never of bad bytes."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from files.models import Condition, CopyState, Instance, Presence, StoreCopy, Upload
from files.services import claims
from files.services.claims import new_claim
from files.services.copying import (
    CopyOver,
    cancel_copy,
    cancel_group,
    copy_files,
    forget_old_copies,
    retry_copy,
    sources,
    want_copies,
)
from files.services.copying.batches import CopyBatch
from files.services.copying.claims import recover_dead
from files.services.sweeping import finish_commits
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.leases import acquire
from librarian.common.models import AuditEntry, ErrorRecord
from stores.backends.posix import PosixBackend
from stores.models import Store
from tests.make import bytes_path, make_file, make_instance, make_store, make_user, write_bytes

pytestmark = pytest.mark.django_db
GROUP = "person:ada"
TREE = {"header": b"head", "sub/visdata": b"data" * 500, "empty": None}


@pytest.fixture
def source(tmp_path):
    return make_store(tmp_path, name="source")


@pytest.fixture
def disk(tmp_path):
    return make_store(tmp_path, name="disk", ingestable=False)


def want(*files, targets, group=GROUP, **fields):
    keys = [store.pk for store in targets]
    return want_copies(file_ids=[file.pk for file in files], targets=keys, group=group, **fields)


@pytest.mark.parametrize("content", [b"a night" * 1000, b"", TREE], ids=["flat", "empty", "directory"])
def test_a_file_is_copied_and_registered(source, disk, content):
    file = make_file(content=content, store=source)
    assert want(file, targets=[disk]) == 1
    assert copy_files() == {"copied": 1, "there_already": 0, "failed": 0, "recovered": 0}
    made = Instance.objects.get(file=file, store=disk)
    assert (made.presence, made.condition, made.path) == (Presence.PRESENT, Condition.GOOD, f"2457561/{file.name}")
    if isinstance(content, bytes):
        assert bytes_path(disk, made.path).read_bytes() == content
    else:
        assert (bytes_path(disk, made.path) / "sub/visdata").read_bytes() == content["sub/visdata"]
        assert (bytes_path(disk, made.path) / "empty").is_dir()
    row = StoreCopy.objects.get()
    assert (row.state, row.store, row.source.store, row.copied_bytes) == ("done", disk, source, file.size_bytes)
    assert (row.upload.state, row.upload.outcome) == ("committed", "copied")
    event = file.events.order_by("number").last()
    assert event.type == "instance_created"
    assert '"from":"source"' in event.text
    assert list(disk.backend.list_staging()) == []
    assert [line.place for line, _ in disk.backend.read_record()] == [made.path]


def test_what_is_there_or_wanted_already_is_left_out(source, disk, tmp_path):
    second = make_store(tmp_path, name="second")
    file, there = make_file(store=source), make_file(store=source)
    make_instance(there, second)
    assert want(file, there, targets=[disk, second]) == 1
    assert want(file, there, targets=[disk, second]) == 0
    assert want(file, targets=[disk], group="order:1") == 1
    assert copy_files()["copied"] == 1
    assert set(StoreCopy.objects.values_list("state", "store__name")) == {("done", "disk")}
    assert StoreCopy.objects.count() == 2


def fill(store, room_bytes):
    """Leave that much below the fullness limit."""
    store.capacity_bytes, store.fullness_limit, store.free_bytes = 10**6, 1.0, room_bytes
    store.save()


def test_one_disk_is_filled_then_the_next(source, disk, tmp_path):
    second = make_store(tmp_path, name="second", ingestable=False)
    fill(disk, 2_500)
    fill(second, 1_500)
    files = [make_file(content=b"%03d" % number + b"x" * 997, store=source) for number in range(5)]
    want(*files, targets=[disk, second])
    assert copy_files()["copied"] == 3
    held = [set(Instance.objects.filter(store=store).values_list("file", flat=True)) for store in (disk, second)]
    assert held == [{files[0].pk, files[1].pk}, {files[2].pk}]
    waiting = StoreCopy.objects.filter(state="wanted")
    assert {(row.code, row.reason) for row in waiting} == {
        ("copies_wait", "None of its stores takes it now: disk is full; second is full.")
    }
    assert set(ErrorRecord.objects.filter(cleared_at=None).values_list("code", "category")) == {
        ("store_full", "store_full"),
        ("copies_wait", "store_full"),
    }
    fill(second, 10_000)
    assert copy_files()["copied"] == 2
    assert not ErrorRecord.objects.filter(cleared_at=None, code="copies_wait").exists()


def test_a_small_file_still_goes_to_the_first_disk(source, disk, tmp_path):
    second = make_store(tmp_path, name="second")
    fill(disk, 500)
    large, small = make_file(content=b"x" * 900, store=source), make_file(content=b"y" * 90, store=source)
    want(large, small, targets=[disk, second])
    assert copy_files()["copied"] == 2
    assert Instance.objects.get(file=small, store=disk)
    assert Instance.objects.get(file=large, store=second)


@pytest.mark.parametrize("change", [{"enabled": False}, {"available": False}, {"hosts": ["elsewhere"]}])
def test_a_store_that_cannot_be_used_is_passed_over(source, disk, tmp_path, change):
    second = make_store(tmp_path, name="second")
    Store.objects.filter(pk=disk.pk).update(**change)
    file = make_file(store=source)
    want(file, targets=[disk, second])
    assert copy_files()["copied"] == 1
    assert Instance.objects.get(file=file, store=second)


def test_promised_room_counts(source, disk):
    fill(disk, 1_000)
    Upload.objects.create(kind="ingest", store=disk, size_bytes=600, reserved_bytes=600, destination="another")
    file = make_file(content=b"x" * 500, store=source)
    want(file, targets=[disk])
    assert copy_files()["copied"] == 0
    assert StoreCopy.objects.get().code == "copies_wait"


def test_the_most_urgent_go_first(source, disk):
    fill(disk, 150)
    low, high = make_file(content=b"x" * 100, store=source), make_file(content=b"y" * 100, store=source)
    want(low, targets=[disk])
    want(high, targets=[disk], priority=5)
    copy_files()
    assert Instance.objects.get(store=disk).file == high


def test_a_name_with_directories_keeps_them(source, disk, settings):
    settings.LIBRARIAN_FILE_NAMES = "path"
    file = make_file("2457561/zen.uvh5", store=source, place="elsewhere/zen.uvh5")
    want(file, targets=[disk])
    assert copy_files()["copied"] == 1
    assert Instance.objects.get(store=disk).path == "2457561/zen.uvh5"


# --- Bad bytes --------------------------------------------------------------------------------------------------------


def test_a_bad_source_becomes_known_and_another_is_read(source, disk, tmp_path):
    good = make_store(tmp_path, name="good")
    file = make_file(content=b"right" * 100, store=source)
    make_instance(file, good, content=b"right" * 100)
    bytes_path(source, f"2457561/{file.name}").write_bytes(b"wrong" * 100)
    want(file, targets=[disk])
    assert copy_files()["copied"] == 1
    assert bytes_path(disk, f"2457561/{file.name}").read_bytes() == b"right" * 100
    assert Instance.objects.get(file=file, store=source).condition == Condition.DIFFERENT
    assert ErrorRecord.objects.filter(code="copy_different", cleared_at=None).count() == 1
    assert StoreCopy.objects.get().source.store == good


@pytest.mark.parametrize("content", [b"right" * 100, TREE], ids=["flat", "directory"])
def test_nothing_is_copied_when_every_copy_is_bad(source, disk, settings, content):
    settings.LIBRARIAN_TRANSFER_ATTEMPTS = 2
    file = make_file(content=content, store=source)
    place = bytes_path(source, f"2457561/{file.name}")
    (place if place.is_file() else place / "header").write_bytes(b"hEad" if place.is_dir() else b"wrong" * 100)
    want(file, targets=[disk])
    assert copy_files()["failed"] == 1
    assert not Instance.objects.filter(store=disk).exists()
    row = StoreCopy.objects.get()
    assert (row.state, row.code, row.attempts) == ("wanted", "no_good_copy", 1)
    assert row.next_try_at > timezone.now()
    StoreCopy.objects.update(next_try_at=timezone.now())
    copy_files()
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("failed", 2)
    assert ErrorRecord.objects.filter(code="copy_failed", cleared_at=None).count() == 1
    assert list(disk.backend.list_staging()) == []
    assert Upload.objects.live().count() == 0
    retry_copy(row, actor=None)
    place.write_bytes(content) if place.is_file() else (place / "header").write_bytes(b"head")
    Instance.objects.update(condition=Condition.GOOD)
    assert copy_files()["copied"] == 1
    assert not ErrorRecord.objects.filter(code="copy_failed", cleared_at=None).exists()


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_copy_that_vanished_is_known_as_such(source, disk, damage):
    file = make_file(content=b"right" * 100, store=source)
    place = bytes_path(source, f"2457561/{file.name}")
    place.unlink() if damage == "missing" else place.write_bytes(b"right")
    want(file, targets=[disk])
    copy_files()
    assert Instance.objects.get(file=file).condition == damage
    assert StoreCopy.objects.get().code == "no_good_copy"


def test_a_source_that_is_away_is_waited_for(source, disk, settings):
    settings.LIBRARIAN_TRANSFER_ATTEMPTS = 1
    file = make_file(store=source)
    want(file, targets=[disk])
    Store.objects.filter(pk=source.pk).update(available=False)
    copy_files()
    row = StoreCopy.objects.get()
    assert (row.state, row.code, row.attempts) == ("wanted", "no_readable_copy", 0)
    Store.objects.filter(pk=source.pk).update(available=True)
    StoreCopy.objects.update(next_try_at=timezone.now())
    assert copy_files()["copied"] == 1


def test_a_disk_that_gives_back_other_bytes_is_not_believed(source, disk, monkeypatch):
    """The fault is injected below the backend: between what was written and what is read back."""
    file = make_file(content=b"right" * 100, store=source)
    want(file, targets=[disk])
    sync = PosixBackend.sync_items

    def spoil(self, tokens):
        tokens = list(tokens)
        sync(self, tokens)
        for token in tokens:
            item = Path(self.item_location(token))
            item.chmod(0o644)
            item.write_bytes(b"wrong" * 100)

    with monkeypatch.context() as patched:
        patched.setattr(PosixBackend, "sync_items", spoil)
        assert copy_files()["failed"] == 1
    assert not Instance.objects.filter(store=disk).exists()
    row = StoreCopy.objects.get()
    assert (row.state, row.code, row.attempts) == ("wanted", "copy_spoilt", 1)
    assert "disk" in row.reason
    assert Instance.objects.get(file=file).condition == Condition.GOOD
    StoreCopy.objects.update(next_try_at=timezone.now())
    assert copy_files()["copied"] == 1


def test_bytes_that_change_on_the_way_are_not_held_against_the_source(source, disk, monkeypatch):
    file = make_file(content=b"right" * 100, store=source)
    want(file, targets=[disk])
    with monkeypatch.context() as patched:
        patched.setattr(PosixBackend, "read", lambda *a, **k: iter([b"wrong" * 100]))
        assert copy_files()["failed"] == 1
    assert Instance.objects.get().condition == Condition.GOOD
    assert StoreCopy.objects.get().code == "copy_spoilt"


def test_a_bad_copy_on_the_target_is_not_written_over(source, disk):
    file = make_file(content=b"right" * 100, store=source)
    make_instance(file, disk, content=b"wrong" * 100, condition=Condition.DIFFERENT)
    assert want(file, targets=[disk]) == 1
    copy_files()
    assert StoreCopy.objects.get().code == "copy_in_the_way"
    assert bytes_path(disk, f"2457561/{file.name}").read_bytes() == b"wrong" * 100


def test_a_store_that_is_away_is_waited_for_though_another_is_barred(source, disk, tmp_path):
    second = make_store(tmp_path, name="second", available=False)
    file = make_file(content=b"right" * 100, store=source)
    make_instance(file, disk, content=b"wrong" * 100, condition=Condition.DIFFERENT)
    want(file, targets=[disk, second])
    copy_files()
    row = StoreCopy.objects.get()
    assert (row.state, row.code, row.attempts) == ("wanted", "no_store_available", 0)
    Store.objects.filter(pk=second.pk).update(available=True)
    StoreCopy.objects.update(next_try_at=timezone.now())
    assert copy_files()["copied"] == 1


def test_other_bytes_at_the_place_are_left_alone(source, disk):
    file = make_file(store=source)
    write_bytes(bytes_path(disk, f"2457561/{file.name}"), b"somebody else's")
    want(file, targets=[disk])
    assert copy_files()["copied"] == 1
    assert Instance.objects.get(store=disk).path == f"2457561~2/{file.name}"


def test_a_full_disk_is_passed_over_for_the_next(source, tmp_path, mounted):
    full = make_store(mounted, name="full")
    second = make_store(tmp_path, name="second")
    files = [make_file(content=bytes([number]) * 3_000_000, store=source) for number in range(4)]
    want(*files, targets=[full, second])
    assert copy_files()["copied"] == 4
    held = [set(Instance.objects.filter(store=store).values_list("file", flat=True)) for store in (full, second)]
    assert (len(held[0]), len(held[1])) == (2, 2)
    assert ErrorRecord.objects.filter(code="store_full", cleared_at=None).count() == 1
    assert list(full.backend.list_staging()) == []
    assert Upload.objects.live().count() == 0


def test_a_target_that_goes_away_in_the_middle_is_passed_over(source, disk, tmp_path, monkeypatch):
    second = make_store(tmp_path, name="second")
    file = make_file(store=source)
    want(file, targets=[disk, second])
    (bytes_path(disk, "") / ".librarian").rename(tmp_path / "carried away")
    assert copy_files()["copied"] == 1
    assert Instance.objects.get(store=second)
    disk.refresh_from_db()
    assert not disk.available


def test_a_target_that_dies_with_a_name_in_its_hands_keeps_no_other_from_it(source, disk, tmp_path, monkeypatch):
    second = make_store(tmp_path, name="second")
    file = make_file(store=source)
    want(file, targets=[disk, second])
    append = PosixBackend.append_record

    def die(self, lines):
        if self.store.name == "disk":
            (bytes_path(disk, "") / ".librarian").rename(tmp_path / "carried away")
        append(self, lines)

    monkeypatch.setattr(PosixBackend, "append_record", die)
    assert copy_files()["copied"] == 1
    assert Instance.objects.get(store=second).condition == Condition.GOOD
    monkeypatch.undo()
    (tmp_path / "carried away").rename(bytes_path(disk, "") / ".librarian")
    Store.objects.update(available=True)
    assert finish_commits()["finished"] == 1
    assert Instance.objects.present().filter(file=file).count() == 3
    assert not Upload.objects.live().exists()


@pytest.mark.parametrize("step", ["sync_items", "place_item"])
def test_a_step_that_takes_long_loses_no_claim(source, disk, monkeypatch, step):
    monkeypatch.setattr(claims, "SLOWEST_BYTES_PER_SECOND", 100)
    want(make_file(content=b"x" * 20_000, store=source), targets=[disk])
    take, now = getattr(PosixBackend, step), timezone.now

    def take_long(self, *arguments):
        monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(seconds=150))
        swept.append((finish_commits(), recover_dead()))
        monkeypatch.setattr(timezone, "now", now)
        take(self, *arguments)

    swept = []
    monkeypatch.setattr(PosixBackend, step, take_long)
    assert copy_files()["copied"] == 1
    assert swept == [({"finished": 0, "undone": 0, "waiting": 0, "failed": 0}, 0)]


def test_members_are_read_in_pages(source, disk, monkeypatch):
    monkeypatch.setattr(sources, "MEMBER_PAGE", 2)
    file = make_file(content=TREE, store=source)
    want(file, targets=[disk])
    assert copy_files()["copied"] == 1


# --- Several at once, and people --------------------------------------------------------------------------------------


def test_a_store_that_another_process_fills_is_left_to_it(source, disk, tmp_path):
    second = make_store(tmp_path, name="second")
    want(make_file(store=source), targets=[disk, second])
    lease = acquire(job="copy_files", target="store disk", seconds=60)
    assert copy_files()["copied"] == 0
    assert StoreCopy.objects.get().state == CopyState.WANTED
    lease.release()
    assert copy_files()["copied"] == 1
    assert Instance.objects.filter(store=disk).count() == 1


def test_a_fault_of_ours_with_one_file_keeps_no_other_waiting(source, disk, monkeypatch, settings):
    settings.LIBRARIAN_TRANSFER_ATTEMPTS = 2
    files = [make_file(store=source) for _ in range(4)]
    want(*files, targets=[disk])
    copy = CopyBatch._copy

    def stumble(self, delivery):
        if delivery.file == files[1]:
            raise RuntimeError("a mistake")
        copy(self, delivery)

    monkeypatch.setattr(CopyBatch, "_copy", stumble)
    assert copy_files()["copied"] == 3
    row = StoreCopy.objects.get(file=files[1])
    assert (row.state, row.code, row.attempts, row.upload) == ("wanted", "copy_not_made", 1, None)
    StoreCopy.objects.update(next_try_at=timezone.now())
    copy_files()
    assert StoreCopy.objects.get(file=files[1]).state == "failed"
    assert Upload.objects.live().count() == 0
    assert list(disk.backend.list_staging()) == []


@pytest.mark.parametrize(("minutes", "copied"), [(-1, 1), (1, 0)])
def test_a_claim_of_another_host_is_believed_for_its_time(source, disk, minutes, copied):
    want(make_file(store=source), targets=[disk])
    until = timezone.now() + timedelta(minutes=minutes)
    StoreCopy.objects.update(state="copying", claim="elsewhere:boot:1:1|a", claim_until=until)
    assert copy_files() == {"copied": copied, "there_already": 0, "failed": 0, "recovered": copied}


def test_a_claim_of_a_living_process_here_is_left_to_it(source, disk):
    want(make_file(store=source), targets=[disk])
    until = timezone.now() + timedelta(minutes=1)
    StoreCopy.objects.update(state="copying", claim=new_claim(), claim_until=until)
    assert copy_files()["recovered"] == 0


def test_two_groups_that_want_the_same_get_one_copy(source, disk):
    file = make_file(store=source)
    want(file, targets=[disk])
    want(file, targets=[disk], group="order:4")
    assert copy_files()["copied"] == 1
    assert StoreCopy.objects.filter(state="done").count() == 2
    assert Instance.objects.filter(store=disk).count() == 1


def test_a_person_cancels_and_wants_again(source, disk):
    file = make_file(store=source)
    ada = make_user("ada")
    want(file, targets=[disk], group="order:1")
    cancel_copy(StoreCopy.objects.get(), actor=ada)
    assert want(file, targets=[disk], group="order:1") == 0
    assert copy_files()["copied"] == 0
    with pytest.raises(CopyOver):
        cancel_copy(StoreCopy.objects.get(), actor=ada)
    with pytest.raises(CopyOver):
        retry_copy(StoreCopy.objects.get(), actor=ada)
    assert want(file, targets=[disk], group="order:1", asked_by="ada") == 1
    assert list(AuditEntry.objects.values_list("action", "actor_name")) == [("cancel_copy", "ada")]


def test_what_wanted_it_is_over(source, disk):
    first, second = make_file(store=source), make_file(store=source)
    want(first, second, targets=[disk], group="order:1")
    StoreCopy.objects.filter(file=second).update(state="failed", reason="It broke.", finished_at=timezone.now())
    assert cancel_group("order:1", because="The order was removed.") == 2
    assert want(first, second, targets=[disk], group="order:1") == 2


@pytest.mark.parametrize(("targets", "error"), [([], InvalidRequest), ([4711], NotFound)])
def test_stores_that_are_none_are_refused(source, targets, error):
    with pytest.raises(error):
        want_copies(file_ids=[make_file(store=source).pk], targets=targets, group=GROUP)


def test_ended_copies_are_forgotten_and_failed_ones_kept(source, disk):
    done, failed = make_file(store=source), make_file(store=source)
    want(done, failed, targets=[disk])
    at = timezone.now() - timedelta(days=91)
    StoreCopy.objects.filter(file=done).update(state="done", store=disk, finished_at=at)
    StoreCopy.objects.filter(file=failed).update(state="failed", reason="It broke.", finished_at=at)
    assert forget_old_copies() == {"copies": 1}
    assert StoreCopy.objects.get().file == failed


def test_the_queries_do_not_grow_with_the_files(source, disk):
    def queries_for(number):
        want(*[make_file(store=source) for _ in range(number)], targets=[disk])
        with CaptureQueriesContext(connection) as caught:
            assert copy_files()["copied"] == number
        return len(caught)

    few, many = queries_for(2), queries_for(42)
    assert (many - few) / 40 < 6, (few, many)
