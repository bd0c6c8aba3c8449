"""Each illegal row is refused by the database itself, under the name of the truth it breaks."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.levels import Level
from accounts.models import ApiToken, Invitation, User
from files.models import (
    CorruptInstance,
    EventHead,
    File,
    FileEvent,
    FileFacts,
    FileMember,
    Instance,
    Observation,
    ObservingSession,
    Offload,
    RemoteInstance,
    StoreCopy,
    Upload,
    WatchedPath,
    WatchFolder,
)
from librarian.common.models import AuditEntry, ErrorRecord, JobLease, JobRun
from librarian.common.triggers import (
    check_triggers,
    drop_triggers,
    expected_triggers,
    install_triggers,
    present_triggers,
)
from network.models import CustodyStep, Peer, Shipment, StandingOrder
from stores.models import SpaceReading, Store
from tests.make import (
    make_file,
    make_incoming,
    make_instance,
    make_order,
    make_outgoing,
    make_peer,
    make_queue_item,
    make_store,
    make_user,
)

pytestmark = pytest.mark.django_db

FILE = {
    "name": "a.uv",
    "kind": "flat",
    "size_bytes": 1,
    "checksum": "md5:::" + "a" * 32,
    "digest": "b" * 64,
    "uploader": "u",
    "source": "s",
}
ERROR = {"severity": "error", "category": "transfer", "code": "x", "message": "m", "fingerprint": "f"}


def _file(**changes: object) -> None:
    File.objects.create(**{**FILE, **changes})


def _upload(store: Store, **changes: object) -> Upload:
    fields = {"kind": "wire", "owner_name": "u", "destination": "a", "uploader": "u", "source": "s", "size_bytes": 1}
    return Upload.objects.create(store=store, **{**fields, **changes})


def _member(**changes: object) -> None:
    fields = {"kind": "file", "path": "a", "size_bytes": 1, "sha256": "a" * 64}
    FileMember.objects.create(file=make_file(content={"x": b"1"}), **{**fields, **changes})


def _two(make: Callable[[], object]) -> None:
    make()
    make()


def _token(**changes: object) -> None:
    user = User.objects.filter(username="t").first() or make_user("t")
    number = str(ApiToken.objects.count())
    ApiToken.objects.create(**{"user": user, "name": "n", "level": 1, "digest": number, "hint": "h", **changes})


def _copy(on: Store, **changes: object) -> StoreCopy:
    fields = {"group": "person:ann", "targets": [on.pk], "store": on}
    return StoreCopy.objects.create(**{"file": changes.pop("file", None) or make_file(), **fields, **changes})


def _shipment(store: Store, **changes: object) -> Shipment:
    return Shipment.objects.create(store=store, **{"seal": "a" * 64, **changes})


def _custody(store: Store) -> QuerySet[CustodyStep]:
    return CustodyStep.objects.filter(pk=_shipment(store).steps.create(step="packed").pk)


def _act() -> None:
    AuditEntry.objects.create(actor_name="ann", action="issue_token", subject="bob/laptop")


FINISHED = {"finished_at": timezone.now()}

ILLEGAL: dict[str, Callable[[Store], object]] = {
    "user_level_is_known": lambda s: User.objects.create(username="x", level=5),
    "user_has_a_name": lambda s: User.objects.create(username=""),
    "staff_is_active_admin": lambda s: (make_user("x"), User.objects.filter(username="x").update(is_staff=True)),
    "token_level_is_known": lambda s: _token(level=7),
    "token_has_a_name": lambda s: _token(name=""),
    "one_live_token_per_name": lambda s: _two(_token),
    "accepted_invitation_says_by_whom": lambda s: Invitation.objects.create(
        code_digest="c", level=1, created_by=make_user(), expires_at=timezone.now(), accepted_at=timezone.now()
    ),
    "store_has_a_name": lambda s: Store.objects.create(name=""),
    "store_kind_is_known": lambda s: Store.objects.create(name="x", kind="tape"),
    "store_fullness_is_a_share": lambda s: Store.objects.create(name="x", fullness_limit=1.5),
    "available_store_was_measured": lambda s: Store.objects.create(name="x", available=True),
    "reading_is_possible": lambda s: SpaceReading.objects.create(store=s, capacity_bytes=1, free_bytes=2),
    "file_name_is_legal": lambda s: _file(name="a/../b"),
    "file_kind_is_known": lambda s: _file(kind="tape"),
    "file_size_is_not_negative": lambda s: _file(size_bytes=-1),
    "file_digest_is_lower_hex": lambda s: _file(digest="B" * 64),
    "file_checksum_names_its_algorithm": lambda s: _file(checksum="a" * 32),
    "file_obsid_is_gps_time": lambda s: _file(obsid=-1),
    "one_member_per_path": lambda s: _member(path="x"),
    "member_path_is_legal": lambda s: _member(path="/etc"),
    "member_file_has_digest": lambda s: _member(sha256=""),
    "one_instance_per_file_and_store": lambda s: make_instance(make_file("i", store=s), s, place="other/i"),
    "present_instance_has_path": lambda s: Instance.objects.create(file=make_file(), store=s, path=""),
    "instance_presence_is_known": lambda s: make_instance(make_file(), s, presence="lost"),
    "instance_condition_is_known": lambda s: make_instance(make_file(), s, condition="fine"),
    "checked_instance_says_when": lambda s: make_instance(make_file(), s, condition_at=None),
    "instance_policy_is_known": lambda s: make_instance(make_file(), s, deletion_policy=2),
    "one_present_instance_per_place": lambda s: _two(lambda: make_instance(make_file(), s, place="d/same")),
    "one_remote_instance_per_store": lambda s: [
        RemoteInstance.objects.create(file=f, peer_name="p", peer_store_id=1) for f in [make_file()] * 2
    ],
    "remote_instance_names_its_peer": lambda s: RemoteInstance.objects.create(
        file=make_file(), peer_name="", peer_store_id=1
    ),
    "one_event_per_number": lambda s: FileEvent.objects.create(file=make_file(), number=1, digest="a" * 64),
    "event_numbers_start_at_one": lambda s: FileEvent.objects.create(file=make_file(), number=0, digest="a" * 64),
    "event_digest_is_lower_hex": lambda s: FileEvent.objects.create(file=make_file(), number=9, digest="x"),
    "root_covers_no_more_than_exists": lambda s: EventHead.objects.filter(file=make_file()).update(rooted_count=9),
    "head_digest_is_lower_hex": lambda s: EventHead.objects.filter(file=make_file()).update(digest="x"),
    "facts_lst_is_in_hours": lambda s: FileFacts.objects.create(
        file=make_file(), reader="r", read_at=timezone.now(), start_lst_hours=24
    ),
    "obsid_is_gps_time": lambda s: Observation.objects.create(obsid=-1, start_jd=1),
    "observation_stops_after_start": lambda s: Observation.objects.create(obsid=1, start_jd=2, stop_jd=1),
    "observation_lst_is_in_hours": lambda s: Observation.objects.create(obsid=1, start_jd=2, start_lst_hours=-1),
    "session_stops_after_start": lambda s: ObservingSession.objects.create(id=1, start_jd=2, stop_jd=2),
    "sessions_do_not_overlap": lambda s: [
        ObservingSession.objects.create(id=n, start_jd=n, stop_jd=n + 1.5) for n in (1, 2)
    ],
    "resolved_corruption_says_how": lambda s: CorruptInstance.objects.create(
        file=(f := make_file()),
        instance=make_instance(f, s),
        expected_digest="a",
        expected_size_bytes=1,
        resolved_at=timezone.now(),
    ),
    "one_open_corruption_per_instance": lambda s: [
        CorruptInstance.objects.create(file=i.file, instance=i, expected_digest="a", expected_size_bytes=1)
        for i in [make_instance(make_file(), s)] * 2
    ],
    "upload_kind_is_known": lambda s: _upload(s, kind="pigeon"),
    "upload_content_is_known": lambda s: _upload(s, content="a smell"),
    "upload_holds_no_more_than_its_length": lambda s: _upload(s, length_bytes=1, offset_bytes=2),
    "upload_state_is_known": lambda s: _upload(s, state="lost", **FINISHED),
    "finished_upload_holds_nothing": lambda s: _upload(s, state="failed", failure_reason="x"),
    "committed_upload_has_a_file": lambda s: _upload(s, state="committed", **FINISHED),
    "failed_upload_says_why": lambda s: _upload(s, state="failed", **FINISHED),
    "upload_sizes_are_not_negative": lambda s: _upload(s, size_bytes=-1),
    "one_live_commit_per_name": lambda s: _two(lambda: _upload(s, committing_name="a")),
    "one_upload_per_token": lambda s: _two(lambda: _upload(s, token="a" * 12)),
    "one_row_per_watched_path": lambda s: [
        WatchedPath.objects.create(folder=folder, name="a", fingerprint="f")
        for folder in [WatchFolder.objects.create(path="/watched")] * 2
    ],
    "watch_folder_is_absolute": lambda s: WatchFolder.objects.create(path="here"),
    "one_open_error_per_fingerprint": lambda s: _two(lambda: ErrorRecord.objects.create(**ERROR)),
    "error_severity_is_known": lambda s: ErrorRecord.objects.create(**{**ERROR, "severity": "bad"}),
    "error_category_is_known": lambda s: ErrorRecord.objects.create(**{**ERROR, "category": "bad"}),
    "error_happened_at_least_once": lambda s: ErrorRecord.objects.create(**ERROR, count=0),
    "peer_has_a_legal_name": lambda s: make_peer("two words"),
    "peer_url_is_plain": lambda s: make_peer(url="http://me:secret@north.example.org"),
    "peer_port_is_a_port": lambda s: make_peer(port=65536),
    "peer_authenticator_is_encrypted": lambda s: Peer.objects.filter(pk=make_peer().pk).update(
        sealed_authenticator="here:secret"
    ),
    "peer_seen_was_measured": lambda s: make_peer(last_seen_at=timezone.now()),
    "peer_error_says_when": lambda s: make_peer(last_error="It does not answer."),
    "peer_amounts_are_positive": lambda s: make_peer(batch_files=0),
    "peer_rate_limit_is_positive": lambda s: make_peer(rate_limit_bytes_per_second=0),
    "order_has_a_name": lambda s: StandingOrder.objects.create(name="", peer_name="north"),
    "order_has_a_search": lambda s: StandingOrder.objects.create(name="o", peer_name="north", search=""),
    "order_has_one_destination": lambda s: make_order(peer_name="north", way="copy", targets=[s.pk]),
    "order_that_copies_has_targets": lambda s: make_order(way="copy"),
    "queue_state_is_known": lambda s: make_queue_item(state="lost", **FINISHED),
    "queue_item_names_its_peer": lambda s: make_queue_item(peer=""),
    "finished_queue_item_has_end_time": lambda s: make_queue_item(state="sent"),
    "sending_queue_item_is_claimed": lambda s: make_queue_item(state="sending"),
    "failed_queue_says_why": lambda s: make_queue_item(state="failed", **FINISHED),
    "queue_sizes_not_negative": lambda s: make_queue_item(sent_bytes=-1),
    "outgoing_state_is_known": lambda s: make_outgoing(state="lost", **FINISHED),
    "outgoing_names_its_peer": lambda s: make_outgoing(peer=""),
    "ended_outgoing_has_end_time": lambda s: make_outgoing(state="completed", finished_at=None),
    "failed_outgoing_says_why": lambda s: make_outgoing(state="failed", reason=""),
    "outgoing_retry_is_of_given_up": lambda s: make_outgoing(next_try_at=timezone.now()),
    "live_outgoing_is_latest": lambda s: make_outgoing(is_latest=False),
    "outgoing_sizes_positive": lambda s: make_outgoing(sent_bytes=-1),
    "one_latest_transfer_per_file_and_peer": lambda s: [
        make_outgoing(file, state=state) for file in [make_file()] for state in ("completed", "failed")
    ],
    "incoming_state_is_known": lambda s: make_incoming(state="lost", **FINISHED),
    "incoming_report_is_known": lambda s: make_incoming(state="failed", report="lost"),
    "ended_incoming_has_end_time": lambda s: make_incoming(state="failed", finished_at=None),
    "failed_incoming_says_why": lambda s: make_incoming(state="failed", reason=""),
    "completed_incoming_has_a_file": lambda s: make_incoming(state="completed", file=make_file()),
    "due_report_has_time_and_peer": lambda s: make_incoming(state="failed", report="due"),
    "reported_incoming_has_ended": lambda s: make_incoming(report="done"),
    "one_live_incoming_per_account_and_name": lambda s: _two(lambda: make_incoming(name="a")),
    "copy_state_is_known": lambda s: _copy(s, state="lost", **FINISHED),
    "copy_says_what_wants_it": lambda s: _copy(s, group=""),
    "ended_copy_has_end_time": lambda s: _copy(s, state="cancelled"),
    "running_copy_is_claimed": lambda s: _copy(s, state="copying"),
    "failed_copy_says_why": lambda s: _copy(s, state="failed", **FINISHED),
    "copy_that_is_done_names_its_store": lambda s: _copy(s, state="done", store=None, **FINISHED),
    "copy_sizes_not_negative": lambda s: _copy(s, copied_bytes=-1),
    "one_live_copy_per_file_and_group": lambda s: [_copy(s, file=file) for file in [make_file()] * 2],
    "offload_state_is_known": lambda s: Offload.objects.create(store=s, state="lost", **FINISHED),
    "ended_offload_has_end_time": lambda s: Offload.objects.create(store=s, state="done"),
    "one_live_offload_per_store": lambda s: _two(lambda: Offload.objects.create(store=s)),
    "shipment_state_is_known": lambda s: _shipment(s, state="flown", **FINISHED),
    "shipment_is_sealed": lambda s: _shipment(s, seal="x"),
    "ended_shipment_has_end_time": lambda s: _shipment(s, state="lost"),
    "shipment_size_is_not_negative": lambda s: _shipment(s, size_bytes=-1),
    "custody_step_is_known": lambda s: _shipment(s).steps.create(step="sold"),
    "custody_never_changes": lambda s: _custody(s).update(person="eve"),
    "custody_is_never_deleted": lambda s: _custody(s)._raw_delete("default"),
    "one_lease_per_job_and_target": lambda s: _two(lambda: JobLease.objects.create(job="j")),
    "finished_run_has_end_time": lambda s: JobRun.objects.create(job="j", trigger="person", outcome="failed"),
    "run_starts_before_it_ends": lambda s: JobRun.objects.create(
        job="j", trigger="person", outcome="failed", finished_at=timezone.now() - timedelta(days=1)
    ),
    "audit_never_changes": lambda s: (_act(), AuditEntry.objects.update(subject="another")),
    "audit_is_never_deleted": lambda s: (_act(), AuditEntry.objects.all()._raw_delete("default")),
    "file_never_changes": lambda s: File.objects.filter(pk=make_file().pk).update(size_bytes=5),
    "file_is_never_deleted": lambda s: File.objects.filter(pk=make_file().pk)._raw_delete("default"),
    "member_never_changes": lambda s: FileMember.objects.filter(file=make_file(content={"x": b"1"})).update(path="y"),
    "member_is_never_deleted": lambda s: FileMember.objects.filter(file=make_file(content={"x": b"1"}))._raw_delete(
        "default"
    ),
    "event_never_changes": lambda s: FileEvent.objects.filter(file=make_file()).update(actor="eve"),
    "event_is_never_deleted": lambda s: FileEvent.objects.filter(file=make_file())._raw_delete("default"),
}


@pytest.fixture
def store(tmp_path) -> Store:
    return make_store(tmp_path)


@pytest.mark.parametrize("truth", ILLEGAL)
def test_the_database_refuses_what_breaks(truth: str, store: Store) -> None:
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        ILLEGAL[truth](store)
    said = str(refused.value)
    # SQLite names the columns of a broken unique constraint instead of the constraint.
    assert truth in said or (connection.vendor == "sqlite" and "UNIQUE constraint failed" in said)


def test_every_constraint_has_its_illegal_row() -> None:
    """A new constraint needs a row above that breaks it."""
    from django.apps import apps

    ours = {"accounts", "stores", "files", "common", "network"}
    named = {
        constraint.name
        for model in apps.get_models()
        if model._meta.app_label in ours
        for constraint in model._meta.constraints
    }
    tested = {name.replace("changed_sessions", "sessions") for name in expected_triggers(connection)} | named
    assert tested - set(ILLEGAL) == set()


def test_of_a_file_the_obsid_may_change() -> None:
    file = make_file()
    File.objects.filter(pk=file.pk).update(obsid=1192201262)
    file.refresh_from_db()
    assert file.obsid == 1192201262


def test_an_account_may_go_and_what_it_did_stays_told() -> None:
    user = make_user("ann")
    AuditEntry.objects.create(actor=user, actor_name="ann", action="issue_token", subject="bob/laptop")
    user.delete()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.actor_name) == (None, "ann")


def test_a_changed_session_may_not_overlap_either() -> None:
    ObservingSession.objects.create(id=1, start_jd=1, stop_jd=2)
    ObservingSession.objects.create(id=2, start_jd=2, stop_jd=3)
    with pytest.raises(IntegrityError, match="sessions_do_not_overlap"), transaction.atomic():
        ObservingSession.objects.filter(id=1).update(stop_jd=2.5)


def test_a_missing_trigger_is_found_and_migrate_puts_it_back() -> None:
    drop_triggers(connection)
    try:
        assert check_triggers(databases=["default"])[0].id == "common.W001"
        call_command("migrate", verbosity=0)
        assert expected_triggers(connection) <= present_triggers(connection)
    finally:
        install_triggers(connection)
    assert check_triggers(databases=["default"]) == []


def test_staff_follows_level_and_active_flag() -> None:
    user = make_user(level=Level.ADMIN)
    assert user.is_staff
    assert user.is_superuser
    user.is_active = False
    user.save(update_fields=["is_active"])
    user.refresh_from_db()
    assert not user.is_staff
