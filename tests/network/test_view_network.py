"""The pages of the network: who pushes to whom, and what does not work."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from files.models import Condition
from librarian.common.models import AuditEntry
from network.models import OutgoingTransfer, Peer, StandingOrder, TransferState
from tests.make import make_file, make_peer, make_remote_instance, make_store
from tests.network.traffic import make_batch, make_incoming, make_outgoing
from tests.portal.looking import links_of, queries_of, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(db, tmp_path):
    return make_store(tmp_path, name="pot1")


def test_a_site_without_peers_says_so(as_user):
    assert "This site knows no other" in words_of(as_user("readonly").get("/network/"))


def test_both_directions_are_told_in_words(as_user, store):
    peer = make_peer("nrao", last_seen_at=timezone.now(), latency_seconds=0.02)
    make_outgoing(peer="nrao")
    make_outgoing(peer="nrao", state=TransferState.ONGOING, queue_item=make_batch())
    make_outgoing(peer="nrao", state=TransferState.FAILED)
    make_outgoing(peer="nrao", state=TransferState.FAILED, next_try_at=timezone.now() + timedelta(hours=1))
    make_outgoing(peer="nrao", state=TransferState.FAILED, is_latest=False)
    make_incoming("a", state=TransferState.STAGED)
    make_incoming("b", state=TransferState.FAILED)
    make_incoming("c", state=TransferState.FAILED, finished_at=timezone.now() - timedelta(days=2))
    words = words_of(as_user("readonly").get("/network/"))
    assert "To nrao: 1 waiting, 1 sending, 0 being checked · 1 tried again later · 1 failed · 100 B/s" in words
    assert "From nrao: 0 waiting, 0 arriving, 1 being checked · 1 failed since yesterday" in words
    assert "answers" in words
    assert "has never called us" in words
    assert peer.root not in words


def test_lag_counts_what_orders_want_and_is_not_there(as_user, store):
    make_peer("nrao")
    StandingOrder.objects.create(name="all zen", search='{"name-matches": "zen.%"}', peer_name="nrao")
    StandingOrder.objects.create(name="off", peer_name="nrao", enabled=False)
    make_file("zen.old", store=store, registered_at=timezone.now() - timedelta(hours=3))
    make_file("zen.new", store=store)
    make_remote_instance(make_file("zen.there", store=store), peer="nrao")
    make_file("other", store=store)
    make_file("zen.bad", store=store, instance={"condition": Condition.DIFFERENT})
    words = words_of(as_user("readonly").get("/network/"))
    assert "2 files behind , the oldest here since 3 h ago" in words
    assert "2 standing orders: all zen, off (switched off)" in words
    words = words_of(as_user("readonly").get("/network/nrao/"))
    assert "2 matching files not there yet" in words


def test_a_peer_that_does_not_answer_says_why_to_those_who_may_know(as_user):
    make_peer(
        "nrao",
        last_error="No route to 10.1.2.3.",
        last_error_at=timezone.now(),
        rests_until=timezone.now() + timedelta(minutes=5),
        provider_rests={
            "rsync": {"until": (timezone.now() + timedelta(hours=1)).isoformat(), "reason": "Host key changed."},
            "local": {"until": (timezone.now() - timedelta(hours=1)).isoformat(), "reason": "Long ago."},
        },
    )
    seen = words_of(as_user("readwrite").get("/network/"))
    assert "No route to 10.1.2.3." in seen
    assert "left alone" in seen
    assert "Jobs leave it alone until" in seen
    assert "Host key changed." in seen
    assert "Long ago." not in seen
    assert "10.1.2.3" not in words_of(as_user("readonly").get("/network/"))
    assert "10.1.2.3" not in words_of(as_user("readonly").get("/network/nrao/"))


def test_names_that_are_no_peers_are_told(as_user):
    make_outgoing(peer="removed")
    make_incoming("a", account="nrao", peer_name="")
    words = words_of(as_user("readonly").get("/network/"))
    assert "Known by name only" in words
    assert "removed" in words
    assert "nrao" in words


def test_a_peers_page_has_its_latest_and_its_address_only_for_administrators(as_user):
    peer = make_peer("nrao")
    failed = make_outgoing(state=TransferState.FAILED, reason="Its disk is full.", remedy="Make room there.")
    make_incoming("zen.come.uvh5")
    page = as_user("readonly").get("/network/nrao/")
    words = words_of(page)
    assert "Its disk is full." in words
    assert "Make room there." in words
    assert f"/transfers/out/{failed.pk}/" in links_of(page)
    assert "zen.come.uvh5" in words
    assert peer.root not in words
    assert peer.root in words_of(as_user("admin").get("/network/nrao/"))
    assert as_user("readonly").get("/network/nobody/").status_code == 404


def test_only_administrators_switch_and_it_is_audited(as_user):
    make_peer("nrao")
    for level in ("readonly", "readwrite"):
        assert as_user(level).post("/network/nrao/switch", {"enabled": "off"}).status_code == 403
    browser = as_user("admin")
    assert browser.get("/network/nrao/switch").status_code == 405
    answer = browser.post("/network/nrao/switch", {"enabled": "off", "next": "/network/"})
    assert answer.url == "/network/"
    assert not Peer.objects.get().transfers_enabled
    assert "switched off" in words_of(browser.get("/network/"))
    assert browser.post("/network/nrao/switch", {"enabled": "on", "next": "//evil.org/"}).url == "/network/nrao/"
    assert Peer.objects.get().transfers_enabled
    assert AuditEntry.objects.filter(actor_name="admin", action__startswith="switch_transfers").count() == 2


def test_a_peer_is_called_now(as_user, standin):
    make_peer("nrao", url="http://127.0.0.1", port=1)
    browser = as_user("admin")
    browser.post("/network/nrao/try")
    assert "cannot be reached" in words_of(browser.get("/network/nrao/"))
    assert as_user("readwrite").post("/network/nrao/try").status_code == 403


def test_all_that_failed_for_good_is_tried_again(as_user, store):
    make_peer("nrao")
    for _ in range(2):
        make_outgoing(make_file(store=store), state=TransferState.FAILED)
    make_outgoing(make_file(store=store), state=TransferState.FAILED, next_try_at=timezone.now() + timedelta(hours=1))
    browser = as_user("admin")
    browser.post("/network/nrao/retry")
    assert "2 files are tried again." in words_of(browser.get("/network/nrao/"))
    assert OutgoingTransfer.objects.live().filter(asked_by="admin").count() == 2
    browser.post("/network/nrao/retry")
    assert OutgoingTransfer.objects.live().count() == 2


def test_pages_need_a_login_even_where_strangers_may_read(client, settings, db):
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    make_peer("nrao")
    for address in ("/network/", "/network/nrao/", "/transfers/", "/standing-orders/"):
        assert client.get(address).url.startswith("/login/"), address
    assert "Network" not in words_of(client.get("/stores/"))


def test_the_pages_do_not_grow_with_transfers(as_user, store):
    browser = as_user("admin")
    for number in range(3):
        make_peer(f"site{number}")
        StandingOrder.objects.create(name=f"order {number}", peer_name=f"site{number}")

    def cost(address):
        cache.clear()
        return len(queries_of(lambda: browser.get(address))[1])

    browser.get("/network/")
    before = {address: cost(address) for address in ("/network/", "/network/site0/")}
    for number in range(30):
        make_outgoing(make_file(store=store), peer=f"site{number % 3}", queue_item=make_batch(peer="site0"))
        make_incoming(f"in.{number}", account=f"site{number % 3}")
    assert cost("/network/") == before["/network/"]
    # peers and rates, traffic of both directions (2 each), orders, lag of each of three, names without a peer (4)
    assert before["/network/"] <= 14
    assert cost("/network/site0/") <= before["/network/site0/"] + 2  # the peers of the rows
