"""Removing a peer with what is on its way: ended and told when that is wanted, else untouched; nothing is lost."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.levels import Level
from files.models import RemoteInstance
from librarian.common.models import AuditEntry, ErrorRecord
from network.errors import PeerUnreachable
from network.models import OutgoingTransfer, Peer
from network.services import remove_peer
from network.services.peering.circuit import note_failure
from network.services.peering.removal import COMMAND_LINE
from tests.make import make_file, make_order, make_outgoing, make_peer, make_remote_instance, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def peer(standin):
    standin.answers["v2/clone/fail"] = (
        200,
        {"source_transfer_id": 1, "destination_transfer_id": 1, "success": True},
    )
    return make_peer("north", port=standin.port, authenticator="test_librarian:right")


def states():
    return list(OutgoingTransfer.objects.order_by("pk").values_list("state", flat=True))


def test_live_transfers_end_and_the_peer_is_told_before_it_goes(peer, standin):
    make_outgoing(peer="north", state="initiated")
    make_outgoing(peer="north", state="ongoing", remote_transfer_id=31)
    make_outgoing(peer="north", state="staged", remote_transfer_id=32)
    make_outgoing(peer="north", state="completed")
    make_outgoing(peer="south", state="ongoing", remote_transfer_id=33)
    ada = make_user("ada", level=Level.ADMIN)
    assert remove_peer(peer=peer, actor=ada, end_transfers=True) == 3
    assert states() == ["cancelled", "cancelled", "cancelled", "completed", "ongoing"]
    assert "Cancelled by ada." in OutgoingTransfer.objects.earliest("pk").reason
    assert [message["destination_transfer_id"] for message in standin.messages] == [31, 32]
    assert not OutgoingTransfer.objects.filter(peer_name="north").untold().exists()
    assert not Peer.objects.exists()
    assert AuditEntry.objects.get(action="remove_peer").facts["ended"] == 3


def test_a_peer_that_does_not_answer_is_removed_all_the_same(peer, free_port):
    Peer.objects.update(port=free_port)
    make_outgoing(peer="north", state="ongoing", remote_transfer_id=31)
    assert remove_peer(peer=peer, actor=None, end_transfers=True) == 1
    assert not Peer.objects.exists()
    assert COMMAND_LINE in OutgoingTransfer.objects.get().reason


def test_without_it_everything_waits_for_the_peer_to_come_back(peer, standin):
    transfer = make_outgoing(peer="north", state="ongoing", remote_transfer_id=31)
    remote = make_remote_instance(make_file(), peer="north")
    assert remove_peer(peer=peer, actor=None) == 0
    assert standin.asked == []
    transfer.refresh_from_db()
    assert transfer.state == "ongoing"
    again = make_peer("north")
    assert OutgoingTransfer.objects.live().filter(peer_name=again.name).exists()
    assert RemoteInstance.objects.get() == remote


def test_what_an_order_wanted_is_wanted_again_when_the_peer_is_back(peer):
    ordered = make_outgoing(peer="north", state="initiated", order=make_order(peer))
    asked = make_outgoing(peer="north", state="initiated", asked_by="ada")
    assert remove_peer(peer=peer, actor=None, end_transfers=True) == 2
    blocking = set(OutgoingTransfer.objects.blocking().values_list("pk", flat=True))
    assert blocking == {asked.pk}
    ordered.refresh_from_db()
    assert ordered.next_try_at <= timezone.now() + timedelta(seconds=1)


def test_removing_twice_ends_nothing_twice(peer):
    remove_peer(peer=peer, actor=None)
    transfer = make_outgoing(peer="north", state="initiated")
    assert remove_peer(peer=peer, actor=None, end_transfers=True) == 0
    transfer.refresh_from_db()
    assert transfer.state == "initiated"


def test_the_inbox_does_not_wait_for_a_peer_that_is_gone(peer):
    for _ in range(5):
        note_failure(peer, PeerUnreachable("Nobody there."))
    remove_peer(peer=peer, actor=None)
    assert ErrorRecord.objects.get().cleared_at is not None


def test_over_the_wire_the_number_is_the_true_one(wire, peer, standin):
    for _ in range(2):
        make_outgoing(peer="north", state="initiated")
    body = {"librarian_name": "north", "remove_outgoing_transfers": True}
    answer = wire.ok("admin/librarians/remove", body, user="admin")
    assert answer["number_of_transfers_removed"] == 2
