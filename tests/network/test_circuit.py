"""A peer that fails again and again is left alone for a while, the inbox says so once, and a good answer ends it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from librarian.common.models import ErrorRecord
from network.errors import PeerAnswered, PeerResting, PeerUnreachable
from network.models import Peer
from network.services import edit_peer
from network.services.peering.calls import call_peer, reachable
from network.services.peering.checking import check_peers_in_turn
from network.services.peering.circuit import note_failure, rest_seconds
from network.services.peering.connections import check_peers
from tests.make import make_peer

pytestmark = pytest.mark.django_db
PATH = "v2/some/thing"


@pytest.fixture
def peer(standin):
    standin.answers[PATH] = (503, {"reason": "Down for maintenance."})
    return make_peer("north", port=standin.port, authenticator="test_librarian:right")


def fail(peer, times, **options):
    for _ in range(times):
        with pytest.raises(PeerAnswered):
            call_peer(peer, PATH, None, **options)
    peer.refresh_from_db()


def seconds_of_rest(peer):
    return (peer.rests_until - timezone.now()).total_seconds()


def test_the_third_failure_in_a_row_opens_the_circuit(peer, standin):
    fail(peer, 2)
    assert reachable(peer)
    fail(peer, 1)
    assert not reachable(peer)
    assert 5 < seconds_of_rest(peer) <= 10
    calls = len(standin.asked)
    with pytest.raises(PeerResting, match="3 times in a row.*Down for maintenance") as resting:
        call_peer(peer, PATH, None)
    assert resting.value.passing
    assert len(standin.asked) == calls


def test_an_urgent_call_is_made_all_the_same_and_its_good_answer_closes_it(peer, standin):
    fail(peer, 3)
    standin.answers[PATH] = (200, {})
    call_peer(peer, PATH, None, is_urgent=True)
    assert reachable(peer)
    peer.refresh_from_db()
    assert (peer.failures_in_a_row, peer.rests_until) == (0, None)


def test_a_no_closes_it_too(peer, standin):
    fail(peer, 3)
    standin.answers[PATH] = (404, {"reason": "No files found."})
    with pytest.raises(PeerAnswered):
        call_peer(peer, PATH, None, is_urgent=True)
    assert reachable(peer)


def test_a_rest_ends_by_itself_and_the_next_failure_makes_it_longer(peer):
    fail(peer, 3)
    Peer.objects.update(rests_until=timezone.now() - timedelta(seconds=1))
    assert reachable(peer)
    fail(peer, 1)
    assert 15 < seconds_of_rest(peer) <= 20


def test_rests_double_up_to_ten_minutes():
    assert [rest_seconds(failures) for failures in (3, 4, 5, 6, 9, 10, 10_000)] == [10, 20, 40, 80, 600, 600, 600]


def test_failures_in_a_burst_do_not_lengthen_the_rest(peer):
    fail(peer, 8, is_urgent=True)
    assert peer.failures_in_a_row == 8
    assert seconds_of_rest(peer) <= 10


@pytest.mark.django_db(transaction=True)
def test_calls_that_fail_at_the_same_moment_are_all_counted(peer):
    def one(_):
        try:
            note_failure(peer, PeerUnreachable("Nobody there."))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(24)))
    peer.refresh_from_db()
    assert peer.failures_in_a_row == 24


def test_the_fifth_failure_reaches_the_inbox_and_the_next_good_answer_clears_it(peer, standin):
    fail(peer, 4, is_urgent=True)
    assert not ErrorRecord.objects.exists()
    fail(peer, 1, is_urgent=True)
    error = ErrorRecord.objects.get()
    assert (error.code, error.category) == ("peer_failing", "librarian_network_availability")
    assert "5 calls in a row to Librarian north failed." in error.message
    assert "Down for maintenance." in error.message
    fail(peer, 2, is_urgent=True)
    assert ErrorRecord.objects.get().count == 3
    standin.answers[PATH] = (200, {})
    call_peer(peer, PATH, None, is_urgent=True)
    assert ErrorRecord.objects.get().cleared_at is not None


def test_two_failing_peers_are_two_troubles(peer, free_port):
    fail(peer, 5, is_urgent=True)
    south = make_peer("south", port=free_port)
    for _ in range(5):
        check_peers([south])
    assert ErrorRecord.objects.count() == 2


def test_another_address_is_called_at_once(peer, start_standin):
    fail(peer, 3)
    given = {"url": "http://127.0.0.1", "port": start_standin().port, "authenticator": "test_librarian:right"}
    edit_peer(peer=peer, actor=None, check=False, **given)
    assert reachable(peer)
    peer.refresh_from_db()
    assert peer.failures_in_a_row == 0


# --- The job ----------------------------------------------------------------------------------------------------------


def test_the_job_pings_whoever_is_switched_on_and_ends_rests(peer, standin, start_standin, free_port):
    off = start_standin()
    make_peer("off", port=off.port, transfers_enabled=False)
    make_peer("away", port=free_port)
    fail(peer, 3)
    check_peers_in_turn()
    assert reachable(peer)
    assert off.asked == []
    away = Peer.objects.get(name="away")
    assert (away.failures_in_a_row, away.answers) == (1, False)
    for _ in range(4):
        check_peers_in_turn()
    assert "Librarian away" in ErrorRecord.objects.get().message
    assert not reachable(away)


def test_the_job_has_nothing_to_do_without_peers():
    check_peers_in_turn()
