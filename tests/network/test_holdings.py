"""What peers said to hold: confirmed by their own word, forgotten by it, and never by their silence."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from files.models import FileEvent, RemoteInstance
from hera_librarian.features import FEATURES
from librarian.common.models import ErrorRecord
from network.models import OutgoingTransfer, StandingOrder
from network.services.sending import holdings
from network.services.sending.choosing import choose_files
from network.services.sending.held import MOST_CHECKSUMS
from network.services.sending.holdings import confirm_remote_instances, drop_duplicate_remote_instances
from tests.make import make_file, make_instance, make_remote_instance, make_store
from tests.network.destination import COMPLETED, FAILED, INITIATED, ONGOING, STAGED, Destination
from tests.network.test_telling import make_pair

pytestmark = pytest.mark.django_db
BOTH_KINDS = pytest.mark.parametrize("features", [FEATURES, ()], ids=["ours", "foreign"])
OLD = timezone.now() - timedelta(days=30)


@pytest.fixture
def start_south(standin, tmp_path):
    def start(features=FEATURES):
        there = Destination(standin, tmp_path / "south", features=features)
        there.make_peer()
        return there

    return start


def make_remote(file=None, **fields):
    return make_remote_instance(
        file or make_file(), peer="south", **{"peer_store_id": 3, "confirmed_at": OLD, **fields}
    )


def counts(**changes):
    return {"confirmed": 0, "elsewhere": 0, "lost": 0, "different": 0, "unclear": 0, **changes}


@BOTH_KINDS
def test_what_is_held_is_confirmed_and_what_is_lost_is_forgotten(start_south, features):
    south = start_south(features)
    held, moved, lost, empty, different = (make_remote() for _ in range(5))
    other_peer = make_remote_instance(lost.file, peer="north", confirmed_at=OLD)
    south.hold(held.file, store_ids=[1, 3])
    south.hold(moved.file, store_ids=[8])
    south.hold(empty.file, store_ids=[])
    south.hold(different.file, content=b"others")
    assert confirm_remote_instances() == counts(confirmed=1, elsewhere=1, lost=2, different=1)
    held.refresh_from_db()
    assert held.confirmed_at > OLD
    assert RemoteInstance.objects.get(file=moved.file).peer_store_id == 8
    assert not RemoteInstance.objects.filter(file__in=[lost.file, empty.file, different.file], peer_name="south")
    assert RemoteInstance.objects.filter(pk=other_peer.pk).exists()
    assert FileEvent.objects.filter(file=lost.file, type="remote_copy_dropped").exists()
    record = ErrorRecord.objects.get(code="other_bytes_at_peer")
    assert different.file.checksum in record.message
    assert south.files[different.file.name]["checksum"] in record.message


def test_of_many_one_question_is_asked(start_south):
    south = start_south()
    for _ in range(5):
        south.hold(make_remote().file)
    assert confirm_remote_instances() == counts(confirmed=5)
    assert len(south.told("v2/clone/holdings")) == 1
    assert south.told("v2/search/file") == []


@BOTH_KINDS
def test_the_longest_unconfirmed_come_first_and_a_run_is_bounded(start_south, features, monkeypatch):
    monkeypatch.setattr(holdings, "BATCH", 2)
    south = start_south(features)
    remotes = [make_remote(confirmed_at=OLD + timedelta(days=day)) for day in (3, 1, 1, 2, 4)]
    for each in remotes:
        south.hold(each.file)
    assert confirm_remote_instances(limit=3)["confirmed"] == 3
    rest = RemoteInstance.objects.filter(confirmed_at__lt=OLD + timedelta(days=10)).order_by("pk")
    assert list(rest) == [remotes[0], remotes[4]]
    assert confirm_remote_instances(limit=3)["confirmed"] == 3


@pytest.mark.parametrize("answer", [(503, {"reason": "Busy."}), (200, b"<html>"), (401, {"detail": "No."})])
@BOTH_KINDS
def test_a_peer_that_does_not_answer_changes_nothing(start_south, features, answer):
    south = start_south(features)
    south.standin.answers |= {"v2/clone/holdings": answer, "v2/search/file": answer}
    make_remote()
    assert confirm_remote_instances() == counts()
    assert RemoteInstance.objects.get().confirmed_at == OLD


def test_what_cannot_be_compared_stays_as_it_is(start_south):
    south = start_south(())
    remote = make_remote()
    south.hold(remote.file)
    south.files[remote.file.name]["checksum"] = "md5:::" + "0" * 32
    assert confirm_remote_instances() == counts(unclear=1)
    assert RemoteInstance.objects.get().confirmed_at == OLD


@BOTH_KINDS
def test_store_ids_that_no_column_holds_are_not_believed(start_south, features):
    south = start_south(features)
    remotes = [make_remote() for _ in range(2)]
    south.hold(remotes[0].file, store_ids=[2**40, 3])
    south.hold(remotes[1].file, store_ids=[2**40])
    assert confirm_remote_instances() == counts(confirmed=1, lost=1)


def test_ever_new_checksums_do_not_make_us_read_a_file_for_each(start_south, monkeypatch):
    south = start_south(())
    remote = make_remote()
    south.hold(remote.file)
    status, found = 200, []
    for number in range(50):
        south.files[remote.file.name]["checksum"] = f"md5:::{number:032x}"
        south.standin.messages.append({"name": remote.file.name})
        status, entries = south.search()
        found += entries
    south.standin.answers["v2/search/file"] = (status, found)
    read = []
    monkeypatch.setattr("network.services.sending.held._computed", lambda file, algorithm: read.append(file))
    assert confirm_remote_instances() == counts(unclear=1)
    assert len(read) == MOST_CHECKSUMS


def test_what_a_peer_calls_a_checksum_is_one_line_for_people(start_south):
    south = start_south()
    remote = make_remote()
    south.hold(remote.file, content=b"others")
    south.files[remote.file.name]["checksum"] = "\x1b[2J\n" + "x" * 5_000
    assert confirm_remote_instances()["different"] == 1
    message = ErrorRecord.objects.get(code="other_bytes_at_peer").message
    assert message.isprintable()
    assert len(message) < 2_000


def test_one_that_became_foreign_is_asked_as_such(start_south):
    south = start_south()
    south.hold(make_remote().file)
    south.standin.answers["v2/clone/holdings"] = (404, {"detail": "Not Found"})
    assert confirm_remote_instances() == counts(confirmed=1)


def test_what_was_lost_is_sent_again(start_south, tmp_path):
    start_south()
    remote = make_remote()
    make_instance(remote.file, make_store(tmp_path, initialise=False))
    StandingOrder.objects.create(name="all", peer_name="south")
    assert choose_files()["chosen"] == 0
    confirm_remote_instances()
    assert choose_files()["chosen"] == 1


def test_a_copy_noted_under_two_stores_of_a_peer_is_counted_once():
    file = make_file()
    make_remote(file, peer_store_id=1)
    newer = make_remote(file, peer_store_id=2, confirmed_at=timezone.now())
    others = [make_remote_instance(file, peer="north"), make_remote()]
    assert drop_duplicate_remote_instances() == {"dropped": 1}
    assert list(RemoteInstance.objects.order_by("pk")) == [newer, *others]
    assert drop_duplicate_remote_instances() == {"dropped": 0}


# --- Everything with one peer, by a person ---


@pytest.fixture
def disarray(start_south):
    """A peer with which nothing agrees any more, and our rows by what is wrong with them."""
    south = start_south()
    rows = {
        "untold": make_pair(south, there=INITIATED),
        "arrived": make_pair(south, "staged", there=COMPLETED, told="staged"),
        "failed": make_pair(south, "staged", there=FAILED, told="staged"),
        "behind": make_pair(south, "staged", there=ONGOING, told="staged"),
        "busy": make_pair(south, "staged", there=STAGED, told="staged"),
    }
    south.hold(rows["arrived"].file)
    south.hold(make_remote().file)
    rows["lost"] = make_remote()
    return south, rows


def states(rows):
    for row in rows.values():
        if isinstance(row, OutgoingTransfer):
            row.refresh_from_db()
    return {name: row.state for name, row in rows.items() if isinstance(row, OutgoingTransfer)}


def test_the_command_compares_everything_and_mends_it(disarray, capsys):
    _, rows = disarray
    call_command("reconcile_peer", "south")
    assert states(rows) == {
        "untold": "ongoing",
        "arrived": "completed",
        "failed": "failed",
        "behind": "staged",
        "busy": "staged",
    }
    assert (rows["untold"].told_state, rows["behind"].told_state) == ("ongoing", "")
    assert RemoteInstance.objects.count() == 2
    said = capsys.readouterr().out
    assert f"{rows['lost'].file.name}: lost" in said
    assert f"{rows['arrived'].file.name}: it is there, on its store 3." in said
    assert "of these: failed: 1" in said


def test_a_dry_run_says_the_same_and_changes_nothing(disarray, capsys):
    south, rows = disarray
    before = states(rows)
    call_command("reconcile_peer", "south", "--dry-run")
    assert states(rows) == before
    assert rows["untold"].told_state == ""
    assert south.told("v2/checkin/update") == []
    assert RemoteInstance.objects.count() == 2
    assert RemoteInstance.objects.filter(confirmed_at=OLD).count() == 2
    said = capsys.readouterr().out
    assert f"{rows['lost'].file.name}: lost" in said
    assert "states of transfers that it does not know: 1" in said
    assert said.endswith("Nothing was changed.\n")


def test_the_command_says_when_the_peer_does_not_answer(disarray, capsys):
    south, rows = disarray
    with pytest.raises(CommandError, match="There is no Librarian called west"):
        call_command("reconcile_peer", "west")
    south.standin.answers["v2/clone/holdings"] = (503, {"reason": "Busy."})
    with pytest.raises(CommandError, match="answers with status 503"):
        call_command("reconcile_peer", "south")
    assert "of these told: 1" in capsys.readouterr().out  # what was done before is told
    assert states(rows)["arrived"] == "staged"
