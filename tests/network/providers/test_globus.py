"""Sending by Globus: one task brings a batch, is found again after a crash, and its troubles are told precisely."""

import logging
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from network.providers import globus, globus_account
from network.providers.base import CouldNotStart
from network.providers.globus import GlobusProvider
from tests.make import make_peer, make_store
from tests.network.providers.checks import ODD_NAMES, tree_at
from tests.rig.globus_server import CLIENT, CODE, REFRESH, SCOPE, SECRET, GlobusServer

OURS, ALSO_OURS = "0f0e0d0c-1111-4222-8333-444455556666", "0f0e0d0c-1111-4222-8333-00000000000a"
THEIRS = "0f0e0d0c-9999-4222-8333-444455556666"
OFFER = {"destination_endpoint": THEIRS, "native_app": False, "task_id": ""}
GLOBUS = GlobusProvider()
BIG = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def service(tmp_path: Path, staging: Path, store: Any) -> Any:
    with GlobusServer() as running:
        running.mover.collections = {OURS: tmp_path, THEIRS: Path("/")}
        running.mover.writable = [staging]
        yield running


@pytest.fixture(autouse=True)
def set_up(service: Any, settings: Any, tmp_path: Path, monkeypatch: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    settings.LIBRARIAN_GLOBUS_CLIENT_ID = CLIENT
    settings.LIBRARIAN_GLOBUS_SECRET_FILE = str(secret)
    settings.LIBRARIAN_GLOBUS_ENDPOINT = OURS
    settings.LIBRARIAN_GLOBUS_ROOT = str(tmp_path)
    settings.LIBRARIAN_GLOBUS_AUTH_URL = settings.LIBRARIAN_GLOBUS_TRANSFER_URL = service.url
    monkeypatch.setattr(globus_account, "_authorizers", {})
    monkeypatch.setattr(globus, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(globus, "LONGEST_PAUSE_SECONDS", 0.1)


@pytest.fixture
def briefly(monkeypatch: Any) -> None:
    """A new task is looked at once."""
    monkeypatch.setattr(globus, "WATCHED_SECONDS", 0.0)


@pytest.fixture
def no_pauses(monkeypatch: Any) -> None:
    """The library of Globus does not pause before it tries a call again."""
    monkeypatch.setattr("globus_sdk.transport.requests.time.sleep", lambda _: None)


@pytest.fixture
def peer(db: None) -> Any:
    return make_peer("north", globus_endpoints=[THEIRS])


class Batch:
    """Runs of one batch, with what is remembered between them."""

    def __init__(self, peer: Any, make_watched: Any) -> None:
        self.peer, self.make_watched = peer, make_watched
        self.noted: list[str] = []
        self.told: dict[int, list[int]] = {}

    @property
    def task_id(self) -> str:
        return self.noted[-1] if self.noted else ""

    def send(self, *parcels: Any, **options: Any) -> list[Any]:
        watched = self.make_watched(task_id=self.task_id, note_task=self.noted.append, **options)
        self.told = watched.told
        return list(GLOBUS.send(self.peer, OFFER, parcels, watched.sending))


@pytest.fixture
def batch(peer: Any, make_watched: Any) -> Batch:
    return Batch(peer, make_watched)


def only(outcomes: Any) -> Any:
    (outcome,) = outcomes
    return outcome


# --- It gets there ----------------------------------------------------------------------------------------------------


def test_a_batch_arrives_whole_by_one_task(batch, make_parcel, service):
    flat, empty, tree = make_parcel(BIG), make_parcel(b""), make_parcel(ODD_NAMES, name="a.uvh")
    outcomes = batch.send(flat, empty, tree)
    assert [outcome.ok for outcome in outcomes] == [True] * 3, outcomes
    assert Path(flat.destination_path).read_bytes() == BIG
    assert Path(empty.destination_path).read_bytes() == b""
    assert tree_at(Path(tree.destination_path)) == ODD_NAMES
    assert os.stat(flat.destination_path).st_mtime_ns == os.stat(flat.source.location).st_mtime_ns
    assert (len(service.tasks), batch.task_id) == (1, "")
    assert max(batch.told[flat.transfer_id]) > 0


def test_the_task_is_asked_for_as_the_reference_says_and_takes_nothing_half_for_whole(
    batch, make_parcel, service, tmp_path
):
    parcel, tree = make_parcel(BIG, name="first " + "x" * 200), make_parcel(ODD_NAMES, name="a.uvh")
    Path(parcel.destination_path).write_bytes(BIG[:1000])  # of an attempt that was cut
    outcomes = batch.send(parcel, tree)
    assert [outcome.ok for outcome in outcomes] == [True, True]
    assert Path(parcel.destination_path).read_bytes() == BIG
    asked = service.last.document
    first, second = asked.pop("DATA")
    assert first["source_path"] == "/" + str(Path(parcel.source.location).relative_to(tmp_path))
    assert (first["destination_path"], first["recursive"]) == (parcel.destination_path, False)
    assert second["recursive"] is True
    assert asked["label"].startswith("batch with first x")
    assert len(asked["label"]) == 128
    assert (asked["source_endpoint"], asked["destination_endpoint"]) == (OURS, THEIRS)
    assert asked["sync_level"] == 3
    wanted = ("verify_checksum", "preserve_timestamp", "encrypt_data", "fail_on_quota_errors", "skip_source_errors")
    assert [asked[name] for name in wanted] == [True, True, True, True, False]


def test_a_file_that_is_over_there_is_not_sent_again(batch, make_parcel, service):
    parcel = make_parcel(BIG)
    Path(parcel.destination_path).write_bytes(BIG)
    assert only(batch.send(parcel)).ok
    assert (service.last.skipped, service.last.bytes) == (1, 0)


def test_a_native_app_logs_in_with_its_refresh_token(batch, make_parcel, service, settings):
    Path(settings.LIBRARIAN_GLOBUS_SECRET_FILE).write_text(REFRESH)
    settings.LIBRARIAN_GLOBUS_NATIVE_APP = True
    assert only(batch.send(make_parcel())).ok


def test_a_confidential_app_asks_for_the_scope_of_transfers_and_logs_in_once(batch, make_parcel, service):
    assert only(batch.send(make_parcel())).ok
    assert only(batch.send(make_parcel())).ok
    assert service.scopes == [SCOPE]


def test_an_expired_token_is_renewed(batch, make_parcel, service):
    assert only(batch.send(make_parcel())).ok
    service.expire_tokens()
    assert only(batch.send(make_parcel())).ok
    assert len(service.scopes) == 2


# --- A task that takes long -------------------------------------------------------------------------------------------


def test_a_long_task_is_left_alone_and_found_again(batch, make_parcel, service, briefly):
    service.mover.gate.clear()
    parcel = make_parcel(BIG)
    outcome = only(batch.send(parcel))
    assert (outcome.is_waiting, outcome.passing, outcome.code) == (True, True, "globus_under_way")
    assert batch.noted[0].startswith("submission:")
    assert batch.task_id == service.last.id
    assert only(batch.send(parcel)).is_waiting
    service.mover.gate.set()
    assert service.last.over.wait(30)
    assert only(batch.send(parcel)).ok
    assert (len(service.tasks), service.count("POST /v0.10/transfer")) == (1, 1)


def test_bytes_are_reported_while_a_task_runs(batch, make_parcel, service, briefly):
    service.mover.hold_after = 1000
    parcels = [make_parcel(b"x" * 30_000), make_parcel(b"y" * 10_000)]
    service.mover.gate.clear()
    batch.send(*parcels)
    service.last.bytes = 20_000  # as far as the service tells: half of all
    batch.send(*parcels)
    assert [batch.told[parcel.transfer_id] for parcel in parcels] == [[15_000], [5_000]]


def test_one_that_is_told_to_stop_leaves_the_task_running(batch, make_parcel, service):
    service.mover.gate.clear()
    outcome = only(batch.send(make_parcel(), keep_going=lambda: False))
    assert (outcome.code, outcome.passing, outcome.is_waiting) == ("sending_stopped", True, False)
    assert batch.task_id == service.last.id
    assert not service.last.cancelled.is_set()


def test_a_batch_that_nobody_wants_any_more_has_its_task_cancelled(batch, make_parcel, service, briefly):
    service.mover.gate.clear()
    batch.send(make_parcel())
    GLOBUS.abandon(batch.task_id)
    assert service.last.over.wait(30)
    assert (service.last.status, service.last.fatal_error["code"]) == ("FAILED", "CANCELED")
    GLOBUS.abandon("unknown-task")  # and never raises
    GLOBUS.abandon("submission:1")


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut", "503"])
def test_a_task_whose_id_was_never_noted_is_not_made_twice(batch, make_parcel, service, is_cut, briefly, no_pauses):
    parcel = make_parcel(BIG)
    service.refuse("POST /v0.10/transfer", 503, times=2, done_first=True, cut=is_cut)
    outcome = only(batch.send(parcel))
    assert (outcome.code, outcome.is_waiting) == ("globus_unreachable", True)
    assert batch.task_id.startswith("submission:")
    assert service.last.over.wait(30)
    assert only(batch.send(parcel)).ok
    assert (len(service.tasks), service.count("GET /v0.10/submission_id")) == (1, 1)


def test_no_more_tasks_than_allowed_are_there_at_a_time(batch, make_parcel, service, settings, briefly, peer):
    settings.LIBRARIAN_GLOBUS_TASKS = 1
    service.mover.gate.clear()
    batch.send(make_parcel())
    second = Batch(peer, batch.make_watched)
    parcel = make_parcel()
    outcome = only(second.send(parcel))
    assert (outcome.code, outcome.is_waiting, second.task_id) == ("globus_busy", True, "")
    service.mover.gate.set()
    assert service.last.over.wait(30)
    assert second.send(parcel)[0].code != "globus_busy"


def test_files_of_two_collections_go_by_two_tasks(batch, make_parcel, service, tmp_path):
    service.mover.collections[ALSO_OURS] = tmp_path
    other_store = make_store(tmp_path / "other", globus_endpoint=ALSO_OURS)
    near = [make_parcel(b"1"), make_parcel(b"2")]
    far = make_parcel(b"3")
    place = Path(other_store.configuration["root"]) / "three"
    place.write_bytes(b"3")
    far = replace(far, source=replace(far.source, backend=other_store.backend, place="three", location=str(place)))
    outcomes = batch.send(far, *near)
    assert [(outcome.ok, outcome.is_waiting) for outcome in outcomes] == [(True, False), (True, False), (False, True)]
    assert only(batch.send(far)).ok
    assert Path(far.destination_path).read_bytes() == b"3"
    assert [task.document["source_endpoint"] for task in service.tasks.values()] == [OURS, ALSO_OURS]


# --- What goes wrong --------------------------------------------------------------------------------------------------


def test_a_missing_copy_fails_alone_and_the_others_go_with_the_next_task(batch, make_parcel, service):
    good, bad, late = make_parcel(b"good"), make_parcel(b"bad"), make_parcel(b"late")
    bad = replace(bad, source=replace(bad.source, location=None))  # this machine cannot see that it is gone
    os.remove(f"{bad.source.backend.store.configuration['root']}/{bad.source.place}")
    by_id = {outcome.transfer_id: outcome for outcome in batch.send(good, bad, late)}
    assert by_id[good.transfer_id].ok
    assert (by_id[bad.transfer_id].code, by_id[bad.transfer_id].passing) == ("copy_missing", False)
    assert by_id[late.transfer_id].is_waiting
    assert only(batch.send(late)).ok
    assert len(service.tasks) == 2


def test_a_copy_that_this_machine_sees_is_wrong_is_not_even_asked_for(batch, make_parcel, service):
    parcel = make_parcel(b"whole")
    Path(parcel.source.location).chmod(0o644)
    Path(parcel.source.location).write_bytes(b"who")
    assert only(batch.send(parcel)).code == "copy_short"
    assert not service.tasks


def test_denied_paths_are_told_apart_by_their_side(batch, make_parcel, service, tmp_path):
    unreadable, unwritable = make_parcel(b"1"), make_parcel(b"2")
    service.mover.denied = {"/" + str(Path(unreadable.source.location).relative_to(tmp_path))}
    assert only(batch.send(unreadable)).code == "copy_unreadable"
    service.mover.denied = {unwritable.destination_path}
    outcome, other = batch.send(unwritable, make_parcel(b"3"))
    assert outcome.code == "destination_forbidden"
    assert "Path not allowed" in outcome.reason
    assert (other.code, other.is_waiting) == ("destination_forbidden", False)


def test_a_full_disk_and_a_staging_that_is_gone_are_named(batch, make_parcel, service):
    service.mover.full_after = 3
    for outcome in batch.send(make_parcel(b"four"), make_parcel(b"five")):
        assert (outcome.code, outcome.passing, outcome.is_waiting) == ("destination_full", True, False)
    service.mover.full_after = None
    parcel = make_parcel()
    Path(parcel.destination_path).parent.rmdir()
    assert only(batch.send(parcel)).code == "destination_gone"


def test_a_task_that_failed_as_a_whole_is_a_passing_failure_in_its_words(batch, make_parcel, service, briefly):
    service.mover.gate.clear()
    parcel = make_parcel()
    batch.send(parcel)
    service.last.cancelled.set()
    assert service.last.over.wait(30)
    outcome = only(batch.send(parcel))
    assert (outcome.code, outcome.passing, outcome.is_waiting) == ("globus_task_failed", True, False)
    assert "canceled by the task owner" in outcome.reason
    assert batch.task_id == ""
    service.mover.gate.set()
    batch.send(parcel)
    assert service.last.over.wait(30)
    assert service.last.status == "SUCCEEDED"


def test_a_fault_does_not_fail_a_task_but_is_why_it_waits(batch, make_parcel, service, briefly):
    service.mover.gate.clear()
    parcel = make_parcel()
    batch.send(parcel)
    service.last.note("CONNECT_FAILED", "connect failed", "Could not connect to gridftp.example.org", is_error=True)
    service.last.nice_status = "CONNECT_FAILED"
    outcome = only(batch.send(parcel))
    assert (outcome.code, outcome.is_waiting) == ("globus_faults", True)
    assert "Could not connect to gridftp.example.org" in outcome.reason
    service.mover.gate.set()
    assert service.last.over.wait(30)
    assert only(batch.send(parcel)).ok


@pytest.mark.parametrize(
    ("status", "is_paused", "code", "remedy"),
    [("INACTIVE", False, "globus_inactive", "Log in"), ("ACTIVE", True, "globus_paused", "cancel the batch")],
)
def test_a_task_that_waits_for_a_person_says_so(
    batch, make_parcel, service, briefly, status, is_paused, code, remedy
):  # fmt: skip
    service.mover.gate.clear()
    parcel = make_parcel()
    batch.send(parcel)
    service.last.status, service.last.is_paused = status, is_paused
    outcome = only(batch.send(parcel))
    assert (outcome.code, outcome.is_waiting) == (code, True)
    assert remedy in outcome.remedy


@pytest.mark.parametrize(
    ("status", "code", "more", "ours", "words"),
    [
        (429, "TooManyRequests", {}, "globus_unreachable", "429"),
        (503, "ServiceUnavailable", {}, "globus_unreachable", "503"),
        (403, "PermissionDenied", {}, "globus_forbidden", "403"),
        (403, "ConsentRequired", {"more": {"required_scopes": ["a[*b]"]}}, "globus_consent_required", "a[*b]"),
        (404, "EndpointNotFound", {}, "globus_no_collection", "404"),
        (400, "ClientError.BadRequest", {}, "globus_failed", "400"),
    ],
)
def test_an_answer_that_says_no_keeps_it_from_beginning(
    batch, make_parcel, service, no_pauses, status, code, more, ours, words
):
    service.refuse("GET /v0.10/submission_id", status, code, times=2, **more)
    with pytest.raises(CouldNotStart) as told:
        batch.send(make_parcel())
    assert told.value.code == ours
    assert words in told.value.reason
    assert batch.task_id == ""


def test_a_refused_submission_is_forgotten_and_another_way_may_be_used(batch, make_parcel, service):
    del service.mover.collections[THEIRS]
    with pytest.raises(CouldNotStart, match="No such endpoint"):
        batch.send(make_parcel())
    assert (batch.noted[0][:11], batch.task_id) == ("submission:", "")


@pytest.mark.parametrize("status", [429, 503, 401, 403])
def test_a_task_under_way_waits_while_globus_cannot_be_asked(
    batch, make_parcel, service, briefly, no_pauses, status
):  # fmt: skip
    service.mover.gate.clear()
    parcel = make_parcel()
    batch.send(parcel)
    service.refuse("GET /v0.10/task/", status, "Trouble", times=2)
    outcome = only(batch.send(parcel))
    assert outcome.is_waiting
    assert outcome.code != "globus_under_way"
    assert batch.task_id == service.last.id


def test_a_service_that_is_away_is_named(batch, make_parcel, settings, free_port, no_pauses):
    settings.LIBRARIAN_GLOBUS_AUTH_URL = f"http://127.0.0.1:{free_port}/"
    with pytest.raises(CouldNotStart) as told:
        batch.send(make_parcel())
    assert (told.value.code, told.value.passing) == ("globus_unreachable", True)


def test_a_task_that_is_not_known_any_more_is_asked_for_anew(batch, make_parcel, service):
    parcel = make_parcel()
    batch.noted.append("11111111-2222-4333-8444-555555555555")
    outcome = only(batch.send(parcel))
    assert (outcome.code, outcome.is_waiting, batch.task_id) == ("globus_no_task", True, "")
    assert only(batch.send(parcel)).ok


# --- Settings, and what is never told ---------------------------------------------------------------------------------


def test_a_wrong_secret_is_refused_and_appears_nowhere(batch, make_parcel, settings, caplog):
    caplog.set_level(logging.DEBUG)
    Path(settings.LIBRARIAN_GLOBUS_SECRET_FILE).write_text("another-s3cr3t")
    with pytest.raises(CouldNotStart) as told:
        batch.send(make_parcel())
    assert told.value.code == "globus_login_refused"
    everything = f"{told.value!r} {told.value.reason} {told.value.suggested_remedy} {told.value.__context__!r}"
    assert "another-s3cr3t" not in everything + caplog.text


def test_neither_secret_nor_token_is_logged(batch, make_parcel, service, caplog):
    caplog.set_level(logging.DEBUG)
    assert only(batch.send(make_parcel())).ok
    service.expire_tokens()
    assert only(batch.send(make_parcel())).ok
    assert "access-" not in caplog.text.replace("access-token", "")
    assert SECRET not in caplog.text


def test_what_is_missing_is_said_before_anybody_is_called(peer, settings, service, tmp_path):
    assert GLOBUS.why_not(peer, OFFER) is None
    assert GLOBUS.why_not(peer, {"destination_endpoint": THEIRS.upper()}) is None
    assert "none of the Globus collections" in GLOBUS.why_not(peer, {"destination_endpoint": OURS})
    secret = Path(settings.LIBRARIAN_GLOBUS_SECRET_FILE)
    secret.chmod(0o604)
    assert "open to everybody" in GLOBUS.why_not(peer, OFFER)
    secret.chmod(0o600)
    secret.write_text("\n")
    assert "holds no secret" in GLOBUS.why_not(peer, OFFER)
    secret.unlink()
    assert "cannot be read" in GLOBUS.why_not(peer, OFFER)
    settings.LIBRARIAN_GLOBUS_TRANSFER_URL = "http://transfer.example.org/"
    assert "https://" in GLOBUS.why_not(peer, OFFER)
    settings.LIBRARIAN_GLOBUS_TRANSFER_URL = ""
    settings.LIBRARIAN_GLOBUS_ENVIRONMENT = "moon"
    assert "moon" in GLOBUS.why_not(peer, OFFER)
    settings.LIBRARIAN_GLOBUS_CLIENT_ID = ""
    assert "not set up" in GLOBUS.why_not(peer, OFFER)
    assert not service.calls


def test_copies_outside_every_collection_are_another_way_s(batch, make_parcel, settings, service):
    settings.LIBRARIAN_GLOBUS_ENDPOINT = ""
    assert only(batch.send(make_parcel())).code == "copy_not_in_a_collection"
    settings.LIBRARIAN_GLOBUS_ENDPOINT, settings.LIBRARIAN_GLOBUS_ROOT = OURS, "/somewhere/else"
    outcome = only(batch.send(make_parcel()))
    assert (outcome.code, "LIBRARIAN_GLOBUS_ROOT" in outcome.reason) == ("copy_not_in_a_collection", True)
    assert not service.calls


@pytest.mark.parametrize("path", ["relative", "/a/../../etc/passwd", "/a//b", "/a/./b"])
def test_odd_destinations_are_refused(batch, make_parcel, path, service):
    assert only(batch.send(make_parcel(destination=path))).code == "destination_refused"
    assert not service.tasks


def test_nothing_is_written_into_our_own_collection(batch, make_parcel, settings, service):
    settings.LIBRARIAN_GLOBUS_ENDPOINT = THEIRS
    parcel = make_parcel()
    assert only(batch.send(parcel)).code == "destination_refused"
    parcel.source.backend.store.globus_endpoint = OURS  # nor into the one that other stores lie in
    assert only(batch.send(parcel)).code == "destination_refused"
    assert not service.tasks


@pytest.mark.parametrize("offer", [{"destination_endpoint": 5}, {"hostname": "far"}, {"upload_path": "v3/uploads/"}])
def test_offers_are_known_by_their_shape(offer):
    assert GLOBUS.offered_as(OFFER)
    assert not GLOBUS.offered_as(offer)


def test_a_person_logs_the_native_app_in_by_a_command(batch, make_parcel, settings, monkeypatch, capsys):
    path = Path(settings.LIBRARIAN_GLOBUS_SECRET_FILE)
    monkeypatch.setattr("builtins.input", lambda _: f" {CODE} ")
    with pytest.raises(CommandError, match="confidential"):
        call_command("globus_login")
    settings.LIBRARIAN_GLOBUS_NATIVE_APP = True
    call_command("globus_login", "--collection", OURS)
    said = capsys.readouterr().out
    assert f"{OURS}%2Fdata_access" in said
    assert "access_type=offline" in said
    assert REFRESH not in said
    assert (path.read_text().strip(), stat.S_IMODE(path.stat().st_mode)) == (REFRESH, 0o600)
    assert only(batch.send(make_parcel())).ok
    monkeypatch.setattr("builtins.input", lambda _: "a wrong code")
    with pytest.raises(CommandError, match="Log in again"):
        call_command("globus_login")
    assert path.read_text().strip() == REFRESH
