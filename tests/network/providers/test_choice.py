"""Which provider a batch goes by: the peer's order, what it offers, what can be used, and what rests."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from network.models import Peer
from network.providers.choice import NoProvider, choose_provider, rest_provider, wake_provider
from tests.make import make_peer

RSYNC = {"hostname": "far", "transfer_attempted": False, "transfer_complete": False}
HTTP = {"upload_path": "v3/uploads/"}
GLOBUS = {"destination_endpoint": "0f0e0d0c-1111-2222-3333-444455556666", "native_app": False, "task_id": ""}


@pytest.fixture
def local(settings: Any) -> dict[str, Any]:
    return {"hostnames": [settings.LIBRARIAN_HOST_NAME], "transfer_attempted": False, "bytes_transfer": None}


@pytest.fixture
def peer(db: None) -> Peer:
    return make_peer("north", ssh_hosts=["far"], shared_directories=["/mnt/north"])


def chosen(peer: Peer, *offers: Any) -> str:
    return choose_provider(peer, {f"label {at}": offer for at, offer in enumerate(offers)})[0].name


def test_the_best_that_is_offered_is_taken_whatever_its_label_and_place(peer, local):
    assert chosen(peer, HTTP, RSYNC, local) == "local"
    assert chosen(peer, GLOBUS, HTTP, RSYNC) == "rsync"
    assert chosen(peer, HTTP) == "http"
    provider, offer = choose_provider(peer, {"rsync": local})
    assert (provider.name, offer) == ("local", local)


def test_a_second_offer_of_a_kind_counts_when_the_first_cannot_be_used(peer):
    provider, offer = choose_provider(peer, {"a": {"hostname": "stranger"}, "b": RSYNC})
    assert (provider.name, offer["hostname"]) == ("rsync", "far")


def test_the_order_of_the_peer_wins_and_leaves_out(peer, local):
    peer.provider_order = ["carrier pigeon", "http", "local"]
    assert chosen(peer, local, RSYNC, HTTP) == "http"
    with pytest.raises(NoProvider):
        choose_provider(peer, {"rsync": RSYNC})


def test_without_a_way_every_reason_is_told(db, local):
    peer = make_peer("south")
    with pytest.raises(NoProvider) as told:
        choose_provider(peer, {"local": local, "rsync": RSYNC, "globus": GLOBUS})
    for words in ("local: no shared directories", "rsync: far is none of the hosts", "http: the peer does not offer"):
        assert words in told.value.reason
    assert told.value.next_try_at is None


@pytest.mark.parametrize(
    "offer",
    [
        {},
        {"hostnames": "here"},
        {"hostnames": [1]},
        {"hostname": 5},
        {"upload_path": "https://elsewhere/"},
        "x",
        None,
        3,
    ],
)
def test_what_has_no_known_shape_is_no_offer(peer, offer):
    with pytest.raises(NoProvider):
        choose_provider(peer, {"local": offer})


@pytest.mark.parametrize("path", ["../v2/", "v3/../", "v3/uploads", "/v3/uploads/", "v3/uploads/?x=/", "v3/u%2e/"])
def test_an_upload_path_leads_nowhere_but_to_uploads(peer, path):
    with pytest.raises(NoProvider):
        choose_provider(peer, {"http": {"upload_path": path}})


def test_one_that_could_not_start_rests_and_the_next_is_taken(peer):
    rest_provider(peer, "rsync", "The host far refuses our key.")
    assert chosen(peer, RSYNC, HTTP) == "http"
    assert chosen(Peer.objects.get(), RSYNC, HTTP) == "http"
    with pytest.raises(NoProvider) as told:
        choose_provider(peer, {"rsync": RSYNC})
    assert "refuses our key" in told.value.reason
    assert timedelta(minutes=4) < told.value.next_try_at - timezone.now() < timedelta(minutes=6)


def test_a_rest_ends_grows_and_is_forgotten(peer, monkeypatch):
    now = timezone.now()
    seconds = []
    for _ in range(10):
        until = rest_provider(peer, "rsync", "no")
        seconds.append((until - now).total_seconds())
        now = until + timedelta(seconds=1)
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        assert chosen(peer, RSYNC, HTTP) == "rsync"  # it is tried again
    assert [round(each / 60) for each in seconds[:3]] == [5, 10, 20]
    assert round(seconds[-1] / 3600) == 6
    wake_provider(peer, "rsync")
    assert Peer.objects.get().provider_rests == {}
    assert round((rest_provider(peer, "rsync", "no") - now).total_seconds() / 60) == 5


@pytest.mark.django_db(transaction=True)
def test_two_jobs_that_note_a_rest_undo_nothing_of_each_other():
    peer = make_peer("north")

    def note(name: str) -> None:
        try:
            rest_provider(Peer.objects.get(pk=peer.pk), name, "no")
        finally:
            connection.close()

    threads = [threading.Thread(target=note, args=(name,)) for name in ("local", "rsync", "http", "globus")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Peer.objects.get().provider_rests) == {"local", "rsync", "http", "globus"}
