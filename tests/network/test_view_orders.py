"""The pages of standing orders: read by everybody, written by administrators, tried before they are saved."""

from datetime import timedelta

import pytest
from django.utils import timezone

from librarian.common.models import AuditEntry
from network.models import StandingOrder
from tests.make import make_file, make_peer, make_remote_instance, make_store
from tests.portal.looking import queries_of, words_of

pytestmark = pytest.mark.django_db

SEARCH = '{"name-matches": "zen.%"}'


@pytest.fixture
def peer(db):
    return make_peer("nrao")


@pytest.fixture
def files(db, tmp_path):
    store = make_store(tmp_path)
    make_remote_instance(make_file("zen.there", store=store), peer="nrao")
    make_file("zen.here", store=store, registered_at=timezone.now() - timedelta(hours=2))
    make_file("other", store=store)


def entered(**changes):
    return {"name": "nightly", "peer_name": "nrao", "search": SEARCH, "priority": "0", "enabled": "on", **changes}


def test_the_list_tells_what_is_still_to_do(as_user, peer, files):
    StandingOrder.objects.create(name="nightly", search=SEARCH, peer_name="nrao", created_by="ada")
    StandingOrder.objects.create(name="odd", search='{"nonsense": 1}', peer_name="nrao")
    StandingOrder.objects.create(name="orphan", search=SEARCH, peer_name="removed", enabled=False)
    words = words_of(as_user("readonly").get("/standing-orders/"))
    assert "1 matching file not there yet, the oldest here since 2 h ago" in words
    assert "nonsense: there is no such clause." in words
    assert "no peer any more; the order waits for it" in words
    assert "by ada" in words
    assert "switched off" in words
    assert "Add an order" not in words


def test_an_order_is_tried_then_given(as_user, peer, files):
    browser = as_user("admin")
    assert "Add an order" in words_of(browser.get("/standing-orders/"))
    tried = browser.post("/standing-orders/new", {**entered(), "preview": "yes"})
    assert "Matches 2 files now , 1 of them readable here and not known to be at nrao." in words_of(tried)
    assert not StandingOrder.objects.exists()
    assert browser.post("/standing-orders/new", entered()).url == "/standing-orders/"
    order = StandingOrder.objects.get()
    assert (order.name, order.search, order.peer_name, order.created_by) == ("nightly", SEARCH, "nrao", "admin")
    assert AuditEntry.objects.filter(action="add_order", actor_name="admin").count() == 1


def test_what_is_wrong_is_said_at_its_field(as_user, peer):
    browser = as_user("admin")
    StandingOrder.objects.create(name="taken", peer_name="nrao")
    wrong = browser.post("/standing-orders/new", entered(search='{"name-matches": 5}'))
    assert wrong.status_code == 400
    words = words_of(wrong)
    assert words.count("name-matches: a text is expected") == 2  # at the field, and in place of the count
    assert 'Write a JSON object of clauses such as {"name-matches"' in words
    assert "There is already an order called taken." in words_of(
        browser.post("/standing-orders/new", entered(name="taken"))
    )
    assert browser.post("/standing-orders/new", entered(peer_name="nobody")).status_code == 400
    assert StandingOrder.objects.count() == 1


def test_the_count_comes_alone_while_one_writes(as_user, peer, files):
    browser = as_user("admin")
    part = browser.post("/standing-orders/matches", {"search": SEARCH, "peer_name": "nrao"})
    assert "Matches 2 files now" in words_of(part)
    assert b"<html" not in part.content
    assert "is not valid JSON" in words_of(browser.post("/standing-orders/matches", {"search": "{"}))


def test_an_order_is_edited_switched_and_removed(as_user, peer):
    order = StandingOrder.objects.create(name="nightly", search=SEARCH, peer_name="removed")
    browser = as_user("admin")
    page = words_of(browser.get(f"/standing-orders/{order.pk}/"))
    assert "removed" in page  # it may stay with a peer that is no more
    browser.post(f"/standing-orders/{order.pk}/", entered(name="daily", priority="5"))
    order.refresh_from_db()
    assert (order.name, order.priority, order.peer_name, order.enabled) == ("daily", 5, "nrao", True)
    browser.post(f"/standing-orders/{order.pk}/switch", {"enabled": "off"})
    order.refresh_from_db()
    assert not order.enabled
    browser.post(f"/standing-orders/{order.pk}/remove")
    assert not StandingOrder.objects.exists()
    acts = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert acts == ["edit_order", "switch_order_off", "remove_order"]


@pytest.mark.parametrize("level", ["readonly", "readappend", "readwrite"])
def test_only_administrators_write_them(as_user, peer, level):
    order = StandingOrder.objects.create(name="nightly", search=SEARCH, peer_name="nrao")
    browser = as_user(level)
    assert browser.get("/standing-orders/").status_code == 200
    for address in ("new", "matches", f"{order.pk}/", f"{order.pk}/switch", f"{order.pk}/remove"):
        assert browser.post(f"/standing-orders/{address}", entered()).status_code == 403, address
    assert list(StandingOrder.objects.values_list("name", "enabled")) == [("nightly", True)]


def test_the_list_costs_one_query_an_order(as_user, peer, files):
    browser = as_user("readonly")
    browser.get("/standing-orders/")
    bare = len(queries_of(lambda: browser.get("/standing-orders/"))[1])
    for number in range(5):
        StandingOrder.objects.create(name=f"order {number}", search=SEARCH, peer_name="nrao")
    assert len(queries_of(lambda: browser.get("/standing-orders/"))[1]) <= bare + 5
