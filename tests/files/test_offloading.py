"""Emptying stores: what has a verified copy that stays may go, the rest is copied first; nothing is erased."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from files.copy_queries import why_left
from files.models import Condition, Instance, Offload, Presence, StoreCopy, Upload
from files.search import InvalidSearch
from files.services.copying import copy_files, want_copies
from files.services.findings import Finding, record_bad_copy
from files.services.offloading import (
    OffloadOver,
    OffloadRunning,
    left_on,
    pause_offload,
    progress_of,
    resume_offload,
    run_offloads,
    running,
    start_offload,
    stop_offload,
)
from librarian.common.errors import InvalidRequest
from librarian.common.models import AuditEntry, ErrorRecord
from stores.models import Store
from tests.make import bytes_path, make_file, make_instance, make_store, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def old(tmp_path):
    return make_store(tmp_path, name="old")


@pytest.fixture
def new(tmp_path):
    return make_store(tmp_path, name="new")


def start(store, *targets, **fields):
    return start_offload(store=store, targets=targets, actor=None, **fields)


def may_go(store):
    return set(Instance.objects.filter(store=store, deletion_policy=1).values_list("file__name", flat=True))


def open_codes():
    return set(ErrorRecord.objects.filter(cleared_at=None).values_list("code", flat=True))


def test_a_store_is_drained(old, new):
    files = [make_file(content=b"%d" % number * 100, store=old) for number in range(3)]
    offload = start(old, new, drains=True)
    old.refresh_from_db()
    assert not old.ingestable
    assert progress_of(offload) == type(progress_of(offload))(3, 0, 3, 300, 0)
    assert run_offloads()["wanted"] == 3
    assert copy_files()["copied"] == 3
    assert may_go(old) == set()
    counts = run_offloads()
    assert (counts["may_go"], counts["done"], counts["read"]) == (3, 1, 0)
    offload.refresh_from_db()
    assert offload.state == "done"
    assert may_go(old) == {file.name for file in files}
    assert may_go(new) == set()
    assert Instance.objects.filter(presence=Presence.PRESENT).count() == 6
    assert bytes_path(old, f"2457561/{files[0].name}").exists()
    event = files[0].events.order_by("number").last()
    assert event.type == "copy_may_go"
    assert '"other_copy":{"path":"2457561/' in event.text
    note = ErrorRecord.objects.get(code="offload_done", cleared_at=None)
    assert (note.severity, "may be taken away" in note.message) == ("info", True)
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["start_offload"]
    assert progress_of(offload).files_left == 0


def test_a_second_run_and_round_change_nothing(old, new):
    make_file(store=old)
    start(old, new)
    for _ in range(3):
        run_offloads()
        copy_files()
    assert StoreCopy.objects.count() == 1
    assert Instance.objects.get(store=old).file.events.filter(type="copy_may_go").count() == 1


# --- What counts as another copy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["travels", "bad", "set aside", "never read", "is emptied", "was drained"])
def test_copies_that_do_not_count(old, new, tmp_path, why):
    other = make_store(tmp_path, name="other", travelling=why == "travels")
    file = make_file(content=b"right", store=old)
    condition = {"bad": Condition.MISSING, "never read": Condition.NEVER_CHECKED}.get(why, Condition.GOOD)
    presence = Presence.SET_ASIDE if why == "set aside" else Presence.PRESENT
    make_instance(file, other, condition=condition, presence=presence)
    if why == "is emptied":
        start(other, new)
    if why == "was drained":
        done = {"state": "done", "finished_at": timezone.now(), "drains": True}
        Offload.objects.create(store=other, targets=[new.pk], **done)
        Store.objects.filter(pk=other.pk).update(ingestable=False)
    offload = start(old, new)
    assert list(left_on(old)) == [Instance.objects.get(store=old)]
    run_offloads()
    assert may_go(old) == set()
    assert StoreCopy.objects.filter(group=offload.group).count() == 1


@pytest.mark.parametrize(
    ("condition", "days"), [(Condition.GOOD, -31), (Condition.NEVER_CHECKED, -31), (Condition.GOOD, 7168)]
)
def test_a_copy_not_read_lately_is_read_again(old, new, condition, days):
    file = make_file(content=b"right" * 10, store=old)
    then = timezone.now() + timedelta(days=days)  # or by a clock that was wrong
    copy = make_instance(file, new, content=b"right" * 10, condition=condition, condition_at=then)
    start(old, new)
    counts = run_offloads()
    assert (counts["read"], counts["may_go"], counts["wanted"]) == (1, 1, 0)
    copy.refresh_from_db()
    assert copy.condition == Condition.GOOD
    assert abs(copy.condition_at - timezone.now()) < timedelta(minutes=5)


def test_a_copy_that_turns_out_bad_when_read_again_does_not_count(old, new, tmp_path):
    third = make_store(tmp_path, name="third")
    file = make_file(content=b"right" * 10, store=old)
    long_ago = timezone.now() - timedelta(days=31)
    make_instance(file, new, content=b"wrong" * 10, condition_at=long_ago)
    start(old, new, third)
    assert run_offloads()["may_go"] == 0
    assert Instance.objects.get(store=new).condition == Condition.DIFFERENT
    run_offloads()
    copy_files()
    run_offloads()
    assert may_go(old) == {file.name}
    assert Instance.objects.get(store=third).condition == Condition.GOOD


def test_what_might_go_must_stay_once_the_other_copy_is_found_bad(old, new):
    file = make_file(content=b"right" * 10, store=old)
    start(old, new)
    for _ in range(2):
        run_offloads()
        copy_files()
    assert may_go(old) == {file.name}
    made = Instance.objects.select_related("file", "store").get(store=new)
    finding = Finding(Condition.DIFFERENT, "other bytes lie there.")
    assert record_bad_copy(instance=made, finding=finding, actor="download")
    assert may_go(old) == set()
    types = list(file.events.order_by("number").values_list("type", flat=True))
    assert types[-2:] == ["copy_found_bad", "copy_must_stay"]


def test_a_copy_that_goes_bad_at_this_moment_does_not_count(old, new, monkeypatch):
    make_instance(make_file(store=old), new)
    start(old, new)
    look = running.evidence_for

    def look_then_lose(files, *, besides):
        found = look(files, besides=besides)
        Instance.objects.filter(store=new).update(condition=Condition.MISSING)
        return found

    monkeypatch.setattr(running, "evidence_for", look_then_lose)
    assert run_offloads()["may_go"] == 0
    assert may_go(old) == set()


def test_a_copy_that_cannot_be_read_again_now_is_waited_for(old, new):
    file = make_file(store=old)
    make_instance(file, new, condition_at=timezone.now() - timedelta(days=31))
    Store.objects.filter(pk=new.pk).update(available=False)
    offload = start(old, new)
    assert run_offloads()["waiting"] == 1
    offload.refresh_from_db()
    assert (offload.state, "away" in offload.problem, may_go(old)) == ("running", True, set())


@pytest.mark.parametrize("change", [{"available": False}, {"enabled": False}])
@pytest.mark.parametrize("policy", [0, 1])
def test_a_copy_on_a_store_that_is_not_there_does_not_count_however_lately_it_was_good(old, new, change, policy):
    file = make_file(store=old, instance={"deletion_policy": policy})
    make_instance(file, new, condition_at=timezone.now() - timedelta(days=1))
    Store.objects.filter(pk=new.pk).update(**change)
    offload = start(old, new, drains=True)
    assert run_offloads()["waiting"] == 1
    offload.refresh_from_db()
    assert (offload.state, "away" in offload.problem) == ("running", True)
    Store.objects.update(available=True, enabled=True)
    assert run_offloads()["done"] == 1
    assert may_go(old) == {file.name}


def test_what_its_uploader_let_go_needs_a_copy_read_lately_too(old, new):
    file = make_file(content=b"right" * 10, store=old, instance={"deletion_policy": 1})
    long_ago = timezone.now() - timedelta(days=31)
    make_instance(file, new, content=b"wrong" * 10, condition_at=long_ago)
    offload = start(old, new)
    assert run_offloads()["done"] == 0
    offload.refresh_from_db()
    assert offload.state == "running"
    assert Instance.objects.get(store=new).condition == Condition.DIFFERENT


def test_of_two_copies_one_always_stays(old, new):
    file = make_file(store=old)
    start(old, new)
    run_offloads()
    copy_files()
    run_offloads()
    assert (may_go(old), may_go(new)) == ({file.name}, set())
    start(new, old)
    assert run_offloads()["done"] == 1
    assert (may_go(old), may_go(new)) == (set(), {file.name})
    types = list(file.events.order_by("number").values_list("type", flat=True))
    assert types[-2:] == ["copy_must_stay", "copy_may_go"]


def test_a_copy_that_was_never_read_and_cannot_be_is_waited_for(old, new):
    make_instance(make_file(store=old), new, condition=Condition.NEVER_CHECKED)
    Store.objects.filter(pk=new.pk).update(available=False)
    offload = start(old, new)
    assert run_offloads()["waiting"] == 1
    offload.refresh_from_db()
    assert "away" in offload.problem
    (left,) = why_left(offload, list(left_on(old)))
    assert "away" in left.sentence


# --- What cannot be done ----------------------------------------------------------------------------------------------


def test_a_file_that_vanished_is_listed_and_blocks_no_other(old, new, settings):
    settings.LIBRARIAN_TRANSFER_ATTEMPTS = 1
    gone, changed, good = (make_file(content=b"%d" % number * 100, store=old) for number in range(3))
    bytes_path(old, f"2457561/{gone.name}").unlink()
    bytes_path(old, f"2457561/{changed.name}").write_bytes(b"x" * 100)
    offload = start(old, new)
    for _ in range(3):
        run_offloads()
        copy_files()
    assert may_go(old) == {good.name}
    progress = progress_of(offload)
    assert (progress.files_total, progress.files_safe, progress.files_left, progress.files_failed) == (3, 1, 2, 2)
    failed = StoreCopy.objects.filter(state="failed")
    assert {row.file for row in failed} == {gone, changed}
    assert all("No good copy" in row.reason for row in failed)
    offload.refresh_from_db()
    assert offload.state == "running"


def test_an_instance_that_left_meanwhile_is_no_longer_its_business(old, new):
    file, other = make_file(store=old), make_file(store=old)
    offload = start(old, new)
    run_offloads()
    Instance.objects.filter(file=file, store=old).update(presence=Presence.GONE)
    for _ in range(2):
        copy_files()
        run_offloads()
    offload.refresh_from_db()
    assert offload.state == "done"
    assert may_go(old) == {other.name}
    assert StoreCopy.objects.get(file=file).state == "cancelled"


def test_a_drained_store_waits_for_what_is_being_delivered(old, new):
    upload = Upload.objects.create(kind="wire", store=old, size_bytes=1, destination="a.uvh5", token="a" * 12)
    offload = start(old, new, drains=True)
    run_offloads()
    offload.refresh_from_db()
    assert offload.state == "running"
    Upload.objects.filter(pk=upload.pk).update(state="expired", finished_at=timezone.now())
    assert run_offloads()["done"] == 1


def test_what_is_delivered_while_its_end_is_looked_for_is_not_overlooked(old, new, monkeypatch):
    upload = Upload.objects.create(kind="wire", store=old, size_bytes=1, destination="a.uvh5", token="a" * 12)
    offload = start(old, new, drains=True)
    exists = QuerySet.exists

    def look_then_arrive(rows):
        found = exists(rows)
        if not found and rows.model is Instance and not Instance.objects.all()[:1]:
            fields = {"state": "committed", "file": make_file(store=old), "finished_at": timezone.now()}
            Upload.objects.filter(pk=upload.pk).update(**fields)
        return found

    monkeypatch.setattr(QuerySet, "exists", look_then_arrive)
    run_offloads()
    offload.refresh_from_db()
    assert offload.state == "running"


def test_nothing_is_copied_to_a_store_that_is_emptied(old, new, tmp_path):
    file = make_file(store=new)
    start(old, new)
    want_copies(file_ids=[file.pk], targets=[old.pk], group="person:ada")
    assert copy_files()["copied"] == 0
    assert "being emptied" in StoreCopy.objects.get().reason


def test_only_what_matches_is_emptied(old, new):
    file, other = make_file("zen.2457561.1.uvh5", store=old), make_file("other.txt", store=old)
    offload = start(old, new, search='{"name-matches": "zen.%"}')
    for _ in range(2):
        run_offloads()
        copy_files()
    run_offloads()
    offload.refresh_from_db()
    assert (offload.state, may_go(old)) == ("done", {file.name})
    assert not Instance.objects.filter(file=other, store=new).exists()


def test_why_it_does_not_go_on_is_said(old, new):
    make_file(store=old)
    offload = start(old, new)
    Store.objects.filter(pk=new.pk).update(enabled=False)
    run_offloads()
    copy_files()
    run_offloads()
    offload.refresh_from_db()
    assert offload.problem == "None of its stores takes it now: new is switched off."
    Offload.objects.update(search='{"no-such-clause": 1}')
    assert run_offloads()["failing"] == 1
    assert "offload_failed" in open_codes()
    Offload.objects.update(search="")
    run_offloads()
    assert "offload_failed" not in open_codes()


# --- People -----------------------------------------------------------------------------------------------------------


def test_pause_go_on_and_stop(old, new):
    ada = make_user("ada")
    make_file(store=old)
    offload = start_offload(store=old, targets=[new], actor=ada)
    run_offloads()
    pause_offload(offload, actor=ada)
    assert copy_files()["copied"] == 0
    assert run_offloads()["wanted"] == 0
    with pytest.raises(OffloadOver):
        pause_offload(offload, actor=ada)
    resume_offload(offload, actor=ada)
    assert run_offloads()["wanted"] == 1
    stop_offload(offload, actor=ada)
    assert copy_files()["copied"] == 0
    assert offload.finished_at is not None
    for act in (pause_offload, resume_offload, stop_offload):
        with pytest.raises(OffloadOver):
            act(offload, actor=ada)
    actions = ["start_offload", "pause_offload", "resume_offload", "stop_offload"]
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == actions


def test_one_at_a_time(old, new):
    first = start(old, new)
    with pytest.raises(OffloadRunning):
        start(old, new)
    stop_offload(first, actor=None)
    start(old, new)


@pytest.mark.parametrize("wrong", ["none", "itself", "travels", "emptied"])
def test_targets_that_keep_nothing_are_refused(old, new, tmp_path, wrong):
    other = make_store(tmp_path, name="other", travelling=wrong == "travels")
    if wrong == "emptied":
        start(other, new)
    targets = {"none": [], "itself": [new, old]}.get(wrong, [new, other])
    with pytest.raises(InvalidRequest):
        start(old, *targets, drains=True)
    old.refresh_from_db()
    assert old.ingestable
    assert not Offload.objects.filter(store=old).exists()


def test_a_search_that_is_none_is_refused(old, new):
    with pytest.raises(InvalidSearch):
        start(old, new, search="{}")


def test_a_store_that_goes_is_emptied_of_everything(old, new):
    with pytest.raises(InvalidRequest, match="leave files on it"):
        start(old, new, drains=True, search='{"name-matches": "zen.%"}')
    old.refresh_from_db()
    assert old.ingestable


def test_the_queries_do_not_grow_with_the_files(old, new):
    def queries_for(number):
        for _ in range(number):
            make_instance(make_file(store=old), new)
        with CaptureQueriesContext(connection) as caught:
            assert run_offloads()["may_go"] == number
        Offload.objects.update(state="running", finished_at=None, looked_up_to=0)
        return len(caught)

    start(old, new)
    queries_for(1)
    assert queries_for(3) == queries_for(40)
