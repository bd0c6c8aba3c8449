"""`/api/v3/shipments/`, and standing orders of every way: what programs see and do."""

import pytest

from network.models import OutgoingTransfer, Shipment, StandingOrder
from tests.asking import Api
from tests.make import make_cast, make_file, make_peer, make_store

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _home(settings, tmp_path):
    settings.LIBRARIAN_HOME = tmp_path / "home"
    settings.LIBRARIAN_HOME.mkdir()


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def admin(api):
    return Api("admin")


@pytest.fixture
def disk(db, tmp_path):
    make_peer("nrao")
    store = make_store(tmp_path, name="sneaker1", travelling=True, ingestable=False)
    for number in range(3):
        make_file(f"zen.{number}.uvh5", store=store)
    return store


def test_a_disk_is_packed_followed_and_lost(api, admin, disk):
    answer = admin.post("shipments/", {"store": "sneaker1", "peer": "nrao", "begin_transfers": True})
    assert answer.status_code == 201, answer.content
    row = answer.json()
    assert (row["store"], row["peer"], row["state"], row["file_count"]) == ("sneaker1", "nrao", "packed", 3)
    assert (row["confirmed_count"], row["awaited_count"]) == (0, 3)
    address = f"shipments/{row['id']}/"
    assert admin.post(f"{address}note/", {"note": "blue case"}).status_code == 200
    assert admin.post(f"{address}hand-over/", {"person": "A. Courier"}).json()["state"] == "handed_over"
    assert admin.post(f"{address}received/").json()["state"] == "received"
    custody = api.get(address).json()["custody"]
    assert [step["step"] for step in custody] == ["packed", "note", "handed_over", "received"]
    assert custody[2]["person"] == "A. Courier"
    lost = admin.post(f"{address}lost/", {"note": "a mistake"})
    assert lost.json()["shipment"]["state"] == "lost"
    assert [each["id"] for each in api.results("shipments/", store="sneaker1", state="lost", live="false")] == [
        row["id"]
    ]


def test_what_cannot_be_packed_says_why(admin, disk):
    assert admin.post("shipments/", {"store": "nowhere"}).status_code == 404
    answer = admin.post("shipments/", {"store": "sneaker1", "begin_transfers": True})
    assert "suggested_remedy" in answer.json()
    assert admin.post("shipments/", {"store": "sneaker1", "nonsense": 1}).status_code == 400
    assert not Shipment.objects.exists()


def test_contents_come_in_pages(api, admin, disk):
    pk = admin.post("shipments/", {"store": "sneaker1"}).json()["id"]
    first = api.get(f"shipments/{pk}/contents/", limit=2).json()
    assert [line["name"] for line in first["results"]] == ["zen.0.uvh5", "zen.1.uvh5"]
    assert first["results"][0]["size_bytes"] == 19
    assert first["previous"] is None
    second = api.client.get(first["next"]).json()
    assert [line["name"] for line in second["results"]] == ["zen.2.uvh5"]
    assert second["next"] is None
    api.refusal(f"shipments/{pk}/contents/", start="-1")
    assert OutgoingTransfer.objects.count() == 0


def test_a_carried_transfer_says_so(api, admin, disk):
    pk = admin.post("shipments/", {"store": "sneaker1", "peer": "nrao", "begin_transfers": True}).json()["id"]
    row = api.results("transfers/outgoing/")[0]
    assert row["shipment"] == pk
    assert row["standing"] == f"It is carried to nrao on a disk, with passport {pk}."


# --- Standing orders --------------------------------------------------------------------------------------------------


def test_orders_of_every_way_are_given(api, admin, disk, tmp_path):
    make_store(tmp_path, name="archive")
    sent = {
        "push": {"peer": "nrao"},
        "copy": {"way": "copy", "targets": ["archive"], "switch_off_full_stores": True},
        "carry": {"way": "carry", "peer": "nrao", "targets": ["sneaker1"]},
    }
    for name, fields in sent.items():
        answer = admin.post("standing-orders/", {"name": name, **fields})
        assert answer.status_code == 201, answer.content
    rows = {row["name"]: row for row in api.results("standing-orders/")}
    assert (rows["push"]["way"], rows["push"]["peer"], rows["push"]["targets"]) == ("push", "nrao", [])
    assert (rows["copy"]["peer"], rows["copy"]["targets"], rows["copy"]["switch_off_full_stores"]) == (
        "",
        ["archive"],
        True,
    )
    assert (rows["carry"]["peer"], rows["carry"]["targets"]) == ("nrao", ["sneaker1"])
    assert [row["name"] for row in api.results("standing-orders/", way="carry")] == ["carry"]


def test_an_order_without_what_its_way_needs_is_refused(admin, disk, tmp_path):
    make_store(tmp_path, name="archive")
    for fields in (
        {"way": "copy"},
        {"way": "push"},
        {"way": "carry", "peer": "nrao", "targets": ["archive"]},
        {"way": "copy", "targets": ["nowhere"]},
        {"way": "nonsense", "peer": "nrao"},
    ):
        answer = admin.post("standing-orders/", {"name": "odd", **fields})
        assert answer.status_code in (400, 404), fields
        assert answer.json()["suggested_remedy"]
    assert not StandingOrder.objects.exists()
