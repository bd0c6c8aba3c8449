"""`/api/v3/store-copies/`, `offloads/`: what programs see and do."""

import pytest
from django.utils import timezone

from files.models import Offload, StoreCopy
from librarian.common.models import AuditEntry
from tests.asking import Api
from tests.make import make_cast, make_file, make_store

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def admin(api):
    return Api("admin")


@pytest.fixture
def home(db, tmp_path):
    return make_store(tmp_path, name="home")


@pytest.fixture
def far(db, tmp_path):
    return make_store(tmp_path, name="far")


def test_files_are_wanted_on_stores_by_name(api, admin, home, far):
    make_file("zen.one", store=home)
    make_file("zen.two", store=home)
    answer = admin.post(
        "store-copies/", {"files": ["zen.one", "zen.two", "zen.one"], "targets": ["far"], "priority": 3}
    )
    assert (answer.status_code, answer.json()) == (202, {"targets": ["far"], "count": 2})
    rows = api.results("store-copies/", ordering="id")
    assert [(row["file"], row["state"], row["targets"], row["group"], row["priority"]) for row in rows] == [
        ("zen.one", "wanted", ["far"], "person:admin", 3),
        ("zen.two", "wanted", ["far"], "person:admin", 3),
    ]
    assert rows[0]["standing"] == "It waits for its turn."
    assert admin.post("store-copies/", {"files": ["zen.one"], "targets": ["far"]}).json()["count"] == 0
    acts = AuditEntry.objects.filter(action="want_copies")
    assert [entry.facts["copies"] for entry in acts.order_by("pk")] == [2, 0]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"files": ["nowhere"], "targets": ["far"]}, 404, "There is no file nowhere"),
        ({"files": ["zen.one"], "targets": ["nowhere"]}, 404, "There is no store nowhere"),
        ({"files": [], "targets": ["far"]}, 400, "files"),
        ({"files": ["zen.one"], "targets": []}, 400, "targets"),
        ({"files": ["zen.one"], "targets": ["far"], "nonsense": 1}, 400, "There is no such field"),
    ],
)
def test_what_cannot_be_wanted_says_why(admin, home, far, body, status, words):
    make_file("zen.one", store=home)
    answer = admin.post("store-copies/", body)
    assert answer.status_code == status
    assert words in answer.content.decode()
    assert not StoreCopy.objects.exists()


def test_a_copy_is_read_retried_and_cancelled(api, admin, home, far):
    copy = StoreCopy.objects.create(
        file=make_file(store=home),
        targets=[far.pk],
        group="order:3",
        state="failed",
        finished_at=timezone.now(),
        reason="It broke.",
        remedy="Mend it.",
        code="broken",
    )
    row = api.get(f"store-copies/{copy.pk}/").json()
    assert (row["reason"], row["remedy"], row["code"], row["store"]) == ("It broke.", "Mend it.", "broken", None)
    assert row["mended_by"] == "an administrator of this site"
    assert admin.post(f"store-copies/{copy.pk}/retry/").json()["state"] == "wanted"
    assert admin.post(f"store-copies/{copy.pk}/cancel/").json()["state"] == "cancelled"
    assert admin.post(f"store-copies/{copy.pk}/cancel/").status_code == 409
    assert admin.post(f"store-copies/{copy.pk}/retry/", {"x": 1}).status_code == 400
    assert "no copy with id 999" in api.refusal("store-copies/999/", 404)["reason"]


def test_the_list_of_copies_costs_the_same_however_long_it_is(api, home, far, django_assert_num_queries):
    for _ in range(5):
        StoreCopy.objects.create(file=make_file(store=home), targets=[far.pk, home.pk], group="order:1")
    api.get("store-copies/")  # the password is remembered from here on
    with django_assert_num_queries(3):  # account; copies; names of stores
        assert len(api.results("store-copies/")) == 5


def test_a_store_is_emptied(api, admin, home, far):
    make_file("zen.one", store=home)
    answer = admin.post("offloads/", {"store": "home", "targets": ["far"], "drains": True})
    assert answer.status_code == 201, answer.content
    row = answer.json()
    assert (row["store"], row["targets"], row["drains"], row["state"]) == ("home", ["far"], True, "running")
    assert (row["files_total"], row["files_safe"], row["files_left"], row["bytes_left"]) == (1, 0, 1, 19)
    for act, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        assert admin.post(f"offloads/{row['id']}/{act}/").json()["state"] == state
    assert admin.post(f"offloads/{row['id']}/stop/").status_code == 409
    assert [each["id"] for each in api.results("offloads/", store="home", live="false")] == [row["id"]]
    assert api.get(f"offloads/{row['id']}/").json()["state"] == "stopped"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"store": "home", "targets": ["home"]}, "cannot take its own copies"),
        ({"store": "nowhere", "targets": ["far"]}, "There is no store nowhere"),
        ({"store": "home", "targets": ["far"], "search": '{"nonsense": 1}'}, "there is no such clause"),
    ],
)
def test_what_cannot_be_emptied_says_why(admin, home, far, body, words):
    answer = admin.post("offloads/", body)
    assert answer.status_code in (400, 404)
    assert words in answer.content.decode()
    assert not Offload.objects.exists()
