"""Pages of copies between our stores and of stores that are emptied: what waits, why, and what people may do."""

from datetime import timedelta

import pytest
from django.utils import timezone

from files.models import Offload, StoreCopy
from librarian.common.models import AuditEntry
from stores.models import Store
from tests.make import make_cast, make_file, make_store
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_remembered():
    from django.core.cache import cache

    cache.clear()


@pytest.fixture
def as_user(db):
    from django.test import Client

    cast = make_cast()

    def make(name):
        browser = Client(raise_request_exception=False)
        browser.force_login(cast[name])
        return browser

    return make


@pytest.fixture
def home(db, tmp_path):
    return make_store(tmp_path, name="home")


@pytest.fixture
def far(db, tmp_path):
    return make_store(tmp_path, name="far")


def make_copy(file, *targets, group="person:ada", **fields):
    return StoreCopy.objects.create(
        file=file, targets=[store.pk for store in targets], group=group, size_bytes=file.size_bytes, **fields
    )


def ended(state, **fields):
    return {"state": state, "finished_at": timezone.now(), **fields}


# --- Copies -----------------------------------------------------------------------------------------------------------


def test_nothing_was_wanted_yet(as_user):
    assert "No copy was ever wanted" in words_of(as_user("readonly").get("/copies/"))


def test_each_copy_says_why_it_waits_and_who_can_mend_it(as_user, home, far):
    later = timezone.now() + timedelta(minutes=40)
    make_copy(
        make_file("zen.waits", store=home),
        far,
        home,
        reason="Store far has no room for 3.1 GB.",
        remedy="Make room on it.",
        code="no_room",
        next_try_at=later,
    )
    make_copy(make_file("zen.failed", store=home), far, **ended("failed", reason="Other bytes were read than sent."))
    make_copy(make_file("zen.done", store=home), far, store=far, **ended("done"), group="offload:7")
    words = words_of(as_user("readonly").get("/copies/"))
    assert "far or else home tried again Store far has no room for 3.1 GB. It is tried again by itself." in words
    assert "Make room on it. Can be mended by an administrator of this site, as the remedy says." in words
    assert "failed Other bytes were read than sent. It is not made before somebody wants it again." in words
    assert "copied It is on far, was read back and is right." in words
    assert "offload 7" in words
    assert "Retry" not in words


def test_copies_are_filtered(as_user, home, far, tmp_path):
    third = make_store(tmp_path, name="third")
    make_copy(make_file("zen.to_far", store=home), far, third)
    make_copy(make_file("zen.to_third", store=home), third, group="order:1")
    make_copy(make_file("zen.was_made", store=home), far, store=far, **ended("done"))
    browser = as_user("readonly")

    def shown(query):
        return sorted(link[6:] for link in links_of(browser.get(f"/copies/?{query}")) if link.startswith("/file/"))

    assert shown("store=far") == ["zen.to_far", "zen.was_made"]
    assert shown("store=third") == ["zen.to_far", "zen.to_third"]
    assert shown("state=wanted&group=order:1") == ["zen.to_third"]
    assert shown("live=false") == ["zen.was_made"]
    assert shown("name_contains=third") == ["zen.to_third"]
    wrong = browser.get("/copies/?state=nonsense")
    assert wrong.status_code == 400
    assert "is not one of wanted" in words_of(wrong)
    assert browser.get("/copies/?state=&store=far").url == "/copies/?store=far"


def test_only_the_list_is_swapped(as_user, home, far):
    make_copy(make_file(store=home), far)
    part = as_user("readonly").get("/copies/", headers={"HX-Request": "true"})
    assert b"<html" not in part.content
    assert 'id="copies"' in part.content.decode()


def test_a_copy_is_retried_and_cancelled(as_user, home, far):
    failed = make_copy(make_file(store=home), far, **ended("failed", reason="It broke."))
    browser = as_user("admin")
    assert "Retry" in words_of(browser.get("/copies/"))
    answer = browser.post(f"/copies/{failed.pk}/retry", {"next": "/copies/?state=failed"})
    assert answer.url == "/copies/?state=failed"
    failed.refresh_from_db()
    assert failed.state == "wanted"
    browser.post(f"/copies/{failed.pk}/cancel")
    failed.refresh_from_db()
    assert failed.state == "cancelled"
    told = browser.post(f"/copies/{failed.pk}/cancel", follow=True)
    assert [message.level_tag for message in told.context["messages"]][-1] == "error"


def test_a_file_is_copied_from_its_page(as_user, home, far):
    file = make_file("zen.one", store=home)
    browser = as_user("admin")
    page = browser.get("/file/zen.one")
    options = [attrs["value"] for tag, attrs in read(page).tags if tag == "option"]
    assert options == [str(far.pk)]  # not where it is already
    told = browser.post("/copies/want", {"name": "zen.one", "targets": far.pk}, follow=True)
    assert "zen.one is to be copied to far." in words_of(told)
    copy = StoreCopy.objects.get()
    assert (copy.file, copy.targets, copy.group, copy.asked_by) == (file, [far.pk], "person:admin", "admin")
    assert AuditEntry.objects.filter(action="want_copies", actor_name="admin").count() == 1
    told = browser.post("/copies/want", {"name": "zen.one", "targets": far.pk}, follow=True)
    assert "is on far already, or on its way there" in words_of(told)
    assert "Choose a store" in words_of(browser.post("/copies/want", {"name": "zen.one"}, follow=True))
    assert StoreCopy.objects.count() == 1
    readers = words_of(as_user("readonly").get("/file/zen.one"))
    assert "waiting It waits for its turn." in readers
    assert "Copy to" not in readers


def test_the_list_costs_the_same_however_long_it_is(as_user, home, far):
    browser = as_user("readonly")
    make_copy(make_file(store=home), far)
    bare = len(queries_of(lambda: browser.get("/copies/"))[1])
    assert bare <= 3  # copies; names of stores; stores to filter by
    for _ in range(5):
        make_copy(make_file(store=home), far)
    assert len(queries_of(lambda: browser.get("/copies/"))[1]) == bare


# --- Offloads ---------------------------------------------------------------------------------------------------------


def test_a_store_is_emptied_from_its_page(as_user, home, far):
    make_file("zen.one", store=home)
    browser = as_user("admin")
    assert "/offloads/new?store=home&drains=yes" in links_of(browser.get("/stores/home/"))
    form = browser.get("/offloads/new?store=home&drains=yes")
    assert ("option", {"value": "home", "selected": None}) in read(form).tags
    itself = browser.post("/offloads/new", {"store": "home", "targets": [home.pk]})
    assert itself.status_code == 400
    assert "cannot be where its files go" in words_of(itself)
    twice = browser.post("/offloads/new", {"store": "home", "targets": [far.pk, far.pk]})
    assert "A store is named twice." in words_of(twice)
    begun = browser.post("/offloads/new", {"store": "home", "targets": [far.pk, "", ""], "drains": "on"})
    offload = Offload.objects.get()
    assert begun.url == f"/offloads/{offload.pk}/"
    assert (offload.store, offload.targets, offload.drains, offload.created_by) == (home, [far.pk], True, "admin")
    assert not Store.objects.get(name="home").ingestable
    again = browser.post("/offloads/new", {"store": "home", "targets": [far.pk]})
    assert "Store home is being emptied already." in words_of(again)


def test_disks_that_travel_are_not_offered(as_user, home, far, tmp_path):
    disk = make_store(tmp_path, name="disk", travelling=True)
    browser = as_user("admin")
    values = [attrs.get("value") for tag, attrs in read(browser.get("/offloads/new")).tags if tag == "option"]
    assert str(far.pk) in values
    assert str(disk.pk) not in values
    assert browser.post("/offloads/new", {"store": "home", "targets": [disk.pk]}).status_code == 400


def test_what_is_left_is_listed_with_its_reason(as_user, home, far):
    safe = make_file("zen.safe", store=home)
    from tests.make import make_instance

    make_instance(safe, far, content=b"the bytes of a file")
    waits, untouched = make_file("zen.waits", store=home), make_file("zen.untouched", store=home)
    offload = Offload.objects.create(store=home, targets=[far.pk], drains=True, created_by="ada")
    make_copy(waits, far, group=offload.group, reason="Store far is away.", remedy="Mount it.")
    page = as_user("readonly").get(f"/offloads/{offload.pk}/")
    words = words_of(page)
    assert "1 of 3 files safe · 2 left" in words
    assert "zen.waits 19 B tried again Store far is away. Mount it." in words
    assert "zen.untouched 19 B It has not been looked at yet." in words
    assert f"/file/{safe.name}" not in links_of(page)
    assert untouched.name in words
    assert "Pause" not in words
    assert "running" in words_of(as_user("readonly").get("/offloads/"))
    on_store = words_of(as_user("readonly").get("/stores/home/"))
    assert "It is drained before it goes out of service" in on_store
    assert "1 copy waits for this store" in words_of(as_user("readonly").get("/stores/far/"))


def test_an_offload_is_paused_resumed_and_stopped(as_user, home, far):
    offload = Offload.objects.create(store=home, targets=[far.pk])
    browser = as_user("admin")
    for act, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        browser.post(f"/offloads/{offload.pk}/{act}")
        offload.refresh_from_db()
        assert offload.state == state
    told = browser.post(f"/offloads/{offload.pk}/pause", follow=True)
    assert "The offload of home is" in words_of(told)
    assert browser.post(f"/offloads/{offload.pk}/explode").status_code == 404


def test_home_tells_of_what_does_not_get_on(as_user, home, far):
    file = make_file(store=home)
    make_copy(file, far, **ended("failed", reason="It broke."))
    Offload.objects.create(store=home, targets=[far.pk], drains=True, problem="Store far is full.")
    words = words_of(as_user("readonly").get("/"))
    assert "1 copy to a store of ours failed, and nobody tries again." in words
    assert "The store home is being drained, and it does not get on: Store far is full." in words


def test_the_list_of_offloads_costs_some_queries_for_each(as_user, home, far):
    browser = as_user("readonly")
    bare = len(queries_of(lambda: browser.get("/offloads/"))[1])
    Offload.objects.create(store=home, targets=[far.pk])
    assert len(queries_of(lambda: browser.get("/offloads/"))[1]) <= bare + 3  # all, left, failed


@pytest.mark.parametrize("level", ["readonly", "readappend", "readwrite"])
def test_only_administrators_act(as_user, home, far, level):
    copy = make_copy(make_file(store=home), far)
    offload = Offload.objects.create(store=home, targets=[far.pk])
    browser = as_user(level)
    for address in (
        f"copies/{copy.pk}/retry",
        f"copies/{copy.pk}/cancel",
        "copies/want",
        "offloads/new",
        f"offloads/{offload.pk}/stop",
    ):
        assert browser.post(f"/{address}", {"name": "x"}).status_code == 403, address
    copy.refresh_from_db()
    offload.refresh_from_db()
    assert (copy.state, offload.state) == ("wanted", "running")


def test_strangers_are_sent_to_the_login(client, home, settings):
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    for address in ("/copies/", "/offloads/"):
        assert client.get(address).url.startswith("/login/")
