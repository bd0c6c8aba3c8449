"""Pages of disks that travel: the passport, its custody, and what a lost disk asks first."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from files.models import Instance, Presence
from librarian.common.models import AuditEntry
from network.models import OutgoingTransfer, Shipment
from network.services.shipping import hand_over, pack
from tests.make import make_file, make_peer, make_store
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _home(settings, tmp_path):
    settings.LIBRARIAN_HOME = tmp_path / "home"
    settings.LIBRARIAN_HOME.mkdir()


@pytest.fixture
def disk(tmp_path):
    """A travelling store with three files."""
    store = make_store(tmp_path, name="sneaker1", travelling=True, ingestable=False)
    for number in range(3):
        make_file(f"zen.{number}.uvh5", store=store)
    return store


@pytest.fixture
def trip(disk, cast):
    """Packed for the site nrao, with transfers."""
    make_peer("nrao")
    return pack(store=disk, peer_name="nrao", begin_transfers=True, actor=cast["admin"])


def test_nothing_travels_yet(as_user):
    words = words_of(as_user("readonly").get("/disks/"))
    assert "No store travels" in words
    assert "No disk has left yet" in words
    assert "Pack a disk" not in words


def test_the_list_tells_of_disks_and_trips(as_user, trip):
    page = as_user("readonly").get("/disks/")
    words = words_of(page)
    assert "sneaker1 reading only 10 % used" in words
    assert "packed to nrao" in words
    assert "0 confirmed, 3 not yet" in words
    assert f"/disks/{trip.pk}/" in links_of(page)


def test_a_disk_is_packed(as_user, disk):
    make_peer("nrao")
    browser = as_user("admin")
    form = browser.get("/disks/pack?store=sneaker1")
    assert ("option", {"value": "sneaker1", "selected": None}) in read(form).tags
    unsaid = browser.post("/disks/pack", {"store": "sneaker1", "begin_transfers": "on"})
    assert unsaid.status_code == 400
    assert "choose it, or begin none" in words_of(unsaid)
    answer = browser.post("/disks/pack", {"store": "sneaker1", "begin_transfers": "on", "peer_name": "nrao"})
    trip = Shipment.objects.get()
    assert answer.url == f"/disks/{trip.pk}/"
    assert (trip.peer_name, trip.file_count, trip.created_by) == ("nrao", 3, "admin")
    assert OutgoingTransfer.objects.filter(shipment=trip).count() == 3


def test_what_cannot_be_packed_says_why(as_user, trip):
    make_peer("mirror")
    refused = as_user("admin").post("/disks/pack", {"store": "sneaker1", "peer_name": "mirror"})
    assert refused.status_code == 400
    assert "Store sneaker1 is on its way to nrao already" in words_of(refused)


def test_the_passport_bears_label_seal_contents_and_custody(as_user, trip):
    words = words_of(as_user("readonly").get(f"/disks/{trip.pk}/"))
    assert f"no. {trip.pk} sneaker1 from test_librarian to nrao 3 files, 57 B" in words
    assert " ".join(trip.seal[start : start + 4] for start in range(0, 64, 4)) in words
    assert "First zen.0.uvh5 Last zen.2.uvh5" in words
    assert "packed" in words
    assert "by admin" not in words
    for word in ("handed over", "received", "verified"):
        assert f"{word} not yet" in words
    assert "Lost in the post" not in words  # that is for administrators


def test_the_symbol_is_a_drawing_that_says_what_it_is(as_user, trip, settings):
    settings.LIBRARIAN_PUBLIC_URL = "https://karoo.example"
    answer = as_user("readonly").get(f"/disks/{trip.pk}/")
    [symbol] = [attrs for tag, attrs in read(answer).tags if tag == "div" and attrs.get("class") == "qr"]
    assert symbol["role"] == "img"
    assert trip.seal[:8] in symbol["aria-label"]
    page = answer.content.decode()
    from network.qr import qr_svg

    text = f"https://karoo.example/disks/{trip.pk}/?seal={trip.seal}"
    assert str(qr_svg(text, words=symbol["aria-label"])) in page
    inside = page[page.index('<div class="qr"') :].partition("</div>")[0]
    assert "style=" not in inside
    assert "<script" not in inside


def test_a_scanned_label_is_compared(as_user, trip):
    browser = as_user("readonly")
    assert "carries the seal of this passport" in words_of(browser.get(f"/disks/{trip.pk}/?seal={trip.seal}"))
    assert "carries another seal" in words_of(browser.get(f"/disks/{trip.pk}/?seal={'0' * 64}"))


def test_a_long_list_comes_in_pages(as_user, tmp_path, cast):
    store = make_store(tmp_path, name="large", travelling=True)
    for number in range(30):
        make_file(f"zen.{number:02}.uvh5", store=store)
    trip = pack(store=store, actor=cast["admin"])
    browser = as_user("readonly")
    page = browser.get(f"/disks/{trip.pk}/")
    assert "First zen.00.uvh5 Last zen.29.uvh5" in words_of(page)
    assert "/file/zen.24.uvh5" in links_of(page)
    assert "/file/zen.25.uvh5" not in links_of(page)
    assert "?start=25#contents" in links_of(page)
    second = browser.get(f"/disks/{trip.pk}/?start=25")
    assert "First zen.00.uvh5 Last zen.29.uvh5" in words_of(second)
    assert "/file/zen.29.uvh5" in links_of(second)
    assert "?start=0#contents" in links_of(second)
    assert browser.get(f"/disks/{trip.pk}/?start=-1").status_code == 200


def test_a_manifest_that_is_gone_leaves_the_passport(as_user, trip, settings):
    (settings.LIBRARIAN_HOME / "manifests" / f"{trip.pk}.json").unlink()
    assert "cannot be read here" in words_of(as_user("readonly").get(f"/disks/{trip.pk}/"))
    assert as_user("admin").get(f"/disks/{trip.pk}/manifest").status_code == 404


def test_custody_is_entered(as_user, trip):
    browser = as_user("admin")
    browser.post(f"/disks/{trip.pk}/note", {"note": "in the blue case"})
    browser.post(f"/disks/{trip.pk}/hand-over", {"person": "A. Courier", "note": "parcel 17"})
    browser.post(f"/disks/{trip.pk}/received", {"person": "B. Keeper"})
    steps = list(trip.steps.values_list("step", "by", "person", "note"))
    assert steps[1:] == [
        ("note", "admin", "", "in the blue case"),
        ("handed_over", "admin", "A. Courier", "parcel 17"),
        ("received", "admin", "B. Keeper", ""),
    ]
    trip.refresh_from_db()
    assert trip.state == "received"
    words = words_of(as_user("readonly").get(f"/disks/{trip.pk}/"))
    assert "A. Courier admin parcel 17" in words
    assert "handed over not yet" not in words
    refused = browser.post(f"/disks/{trip.pk}/note", {"note": " "}, follow=True)
    assert "A note without words says nothing." in words_of(refused)


def test_a_lost_disk_asks_first(as_user, trip, tmp_path):
    """The files have other copies, from which they are sent again."""
    home = make_store(tmp_path, name="home")
    for instance in Instance.objects.filter(store=trip.store).select_related("file"):
        Instance.objects.create(file=instance.file, store=home, path=instance.path)
    browser = as_user("admin")
    browser.post(f"/disks/{trip.pk}/hand-over", {"person": "A. Courier"})
    OutgoingTransfer.objects.filter(shipment=trip).order_by("pk").first().delete()
    asked = browser.get(f"/disks/{trip.pk}/lost")
    assert "2 of its 3 files are not confirmed by nrao and would be wanted again." in words_of(asked)
    trip.refresh_from_db()
    assert trip.state == "handed_over"
    told = browser.post(f"/disks/{trip.pk}/lost", {"over_network": "on", "note": "said the post"}, follow=True)
    assert "The disk sneaker1 is lost;" in words_of(told)
    trip.refresh_from_db()
    assert trip.state == "lost"
    assert AuditEntry.objects.filter(action="disk_lost", actor_name="admin").exists()


def test_the_manifest_is_downloaded_as_it_was_sealed(as_user, trip):
    import hashlib

    answer = as_user("admin").get(f"/disks/{trip.pk}/manifest")
    content = b"".join(answer.streaming_content)
    assert hashlib.sha256(content).hexdigest() == trip.seal
    assert len(json.loads(content)["store_files"]) == 3
    assert f'filename="manifest-sneaker1-{trip.pk}.json"' in answer.headers["Content-Disposition"]


@pytest.mark.parametrize("level", ["readonly", "readappend", "readwrite"])
def test_only_administrators_act(as_user, trip, level):
    browser = as_user(level)
    assert browser.get("/disks/").status_code == 200
    assert browser.get(f"/disks/{trip.pk}/").status_code == 200
    for address in ("pack", f"{trip.pk}/hand-over", f"{trip.pk}/received", f"{trip.pk}/note", f"{trip.pk}/lost"):
        assert browser.post(f"/disks/{address}", {"note": "x"}).status_code == 403, address
    assert browser.get(f"/disks/{trip.pk}/manifest").status_code == 403
    assert [step.step for step in trip.steps.all()] == ["packed"]


def test_strangers_see_no_passport(client, trip, settings):
    settings.LIBRARIAN_PUBLIC_PORTAL = True
    for address in ("/disks/", f"/disks/{trip.pk}/"):
        assert client.get(address).url.startswith("/login/")


def test_the_page_of_a_store_tells_its_trip(as_user, trip, tmp_path):
    words = words_of(as_user("admin").get("/stores/sneaker1/"))
    assert "It is on a trip to nrao: packed" in words
    assert "Pack it" in words
    make_store(tmp_path, name="stays")
    assert "Its trips" not in words_of(as_user("admin").get("/stores/stays/"))


def test_the_page_of_a_file_says_that_its_copy_left(as_user, trip, cast):
    words = words_of(as_user("readonly").get("/file/zen.0.uvh5"))
    assert "The copy on sneaker1 is on a disk that travels, and may leave this site." in words
    hand_over(trip, actor=cast["admin"])
    assert Instance.objects.filter(store=trip.store, presence=Presence.HANDED_OVER).count() == 3
    words = words_of(as_user("readonly").get("/file/zen.0.uvh5"))
    assert "A copy left this site with the disk sneaker1, and cannot be read here." in words


def test_home_asks_after_a_disk_that_is_overdue(as_user, trip, cast):
    hand_over(trip, actor=cast["admin"])
    assert "Nothing was heard of the disk" not in words_of(as_user("readonly").get("/"))
    Shipment.objects.update(changed_at=timezone.now() - timedelta(days=20))
    assert "Nothing was heard of the disk sneaker1 for nrao for 20 d" in words_of(as_user("readonly").get("/"))
    assert "overdue" in words_of(as_user("readonly").get("/disks/"))


def test_lists_cost_the_same_however_long_they_are(as_user, trip, tmp_path):
    browser = as_user("readonly")
    bare = len(queries_of(lambda: browser.get("/disks/"))[1])
    assert bare <= 6  # page, transfers of it; stores, live trips, transfers of them; totals of the frame
    for number in range(4):
        store = make_store(tmp_path, name=f"more{number}", travelling=True, initialise=False)
        Shipment.objects.create(store=store, seal="ab" * 32)
    assert len(queries_of(lambda: browser.get("/disks/"))[1]) <= bare
    assert len(queries_of(lambda: browser.get(f"/disks/{trip.pk}/"))[1]) <= 5
