"""What the home page and the page of a file say of other sites."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from network.models import StandingOrder, TransferState
from tests.make import make_file, make_peer, make_remote_instance, make_store
from tests.network.traffic import make_incoming, make_outgoing
from tests.portal.looking import links_of, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(db, tmp_path):
    return make_store(tmp_path, name="pot1")


def test_home_tells_of_a_peer_that_does_not_answer(as_user, store):
    make_file(store=store)
    make_peer("nrao", last_error="x", last_error_at=timezone.now())
    make_peer("off", last_error="x", last_error_at=timezone.now(), transfers_enabled=False)
    page = as_user("readonly").get("/")
    assert "The site nrao does not answer." in words_of(page)
    assert "The site off" not in words_of(page)
    assert "/network/nrao/" in links_of(page)


def test_home_tells_what_has_waited_long_and_what_was_given_up(as_user, store):
    make_peer("nrao")
    StandingOrder.objects.create(name="all", peer_name="nrao")
    make_file("young", store=store)
    browser = as_user("readonly")
    assert "behind" not in words_of(browser.get("/"))
    old = make_file("old", store=store, registered_at=timezone.now() - timedelta(hours=7))
    make_outgoing(old, state=TransferState.FAILED, is_latest=False)
    make_outgoing(old, state=TransferState.CANCELLED, peer="other")
    late = make_remote_instance(make_file("late"), peer="third").file
    make_outgoing(late, peer="third", state=TransferState.FAILED)  # it is there all the same
    cache.clear()
    words = words_of(browser.get("/"))
    assert "The site nrao is 2 files behind; the oldest has waited for 7 h" in words
    assert "nobody tries again" not in words
    make_outgoing(old, state=TransferState.FAILED)
    assert "1 file did not get to another site, and nobody tries again." in words_of(browser.get("/"))


def test_the_page_of_a_file_tells_copies_near_and_far(as_user, store):
    """The five states, with the sites in words."""
    make_peer("nrao")
    since = timezone.now() - timedelta(days=3)
    make_file("one", store=store)
    make_remote_instance(
        make_file("both", store=store), peer="nrao", peer_store_id=4, copied_at=since, confirmed_at=timezone.now()
    )
    make_remote_instance(make_file("far"), peer="removed", copied_at=since)
    make_file("nowhere")
    browser = as_user("readonly")
    assert "No directly connected site has confirmed a copy." in words_of(browser.get("/file/one"))
    both = browser.get("/file/both")
    assert "Here on pot1, and confirmed at nrao." in words_of(both)
    assert f"{since:%Y-%m-%d %H:%M}" in words_of(both)
    assert "/network/nrao/" in links_of(both)
    far = browser.get("/file/far")
    assert "No copy here; confirmed at removed." in words_of(far)
    assert "/network/removed/" not in links_of(far)
    assert "No copy is known" in words_of(browser.get("/file/nowhere"))


def test_the_page_of_a_file_tells_what_is_on_its_way(as_user, client, settings, store):
    make_peer("nrao")
    file = make_file("zen.1", store=store)
    failed = make_outgoing(file, state=TransferState.FAILED, reason="Its disk is full.", is_latest=False)
    make_outgoing(file, peer="other", state=TransferState.FAILED, reason="It holds other bytes.")
    make_remote_instance(file, peer="third")
    make_outgoing(file, peer="third", state=TransferState.FAILED, reason="A late word.")
    waiting = make_outgoing(file)
    make_incoming("zen.1", account="south")
    page = as_user("readonly").get("/file/zen.1")
    words = words_of(page)
    assert "It waits to be offered to nrao." in words
    assert "It holds other bytes." in words
    assert "from south" in words
    assert "Its disk is full." not in words  # a later attempt took its place
    assert "A late word." not in words  # it is there
    assert f"/transfers/out/{waiting.pk}/" in links_of(page)
    assert f"/transfers/out/{failed.pk}/" not in links_of(page)
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    assert "It holds other bytes." not in words_of(client.get("/file/zen.1"))
