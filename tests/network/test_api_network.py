"""`/api/v3/peers/`, `transfers/`, `remote-instances/`, `standing-orders/`: what programs see and do."""

from datetime import timedelta

import pytest
from django.utils import timezone

from network.models import IncomingTransfer, OutgoingTransfer, StandingOrder, TransferState
from tests.asking import Api
from tests.make import make_cast, make_file, make_peer, make_remote_instance, make_store
from tests.network.traffic import make_batch, make_incoming, make_outgoing


@pytest.fixture
def api(db):
    make_cast()
    return Api("readonly")


@pytest.fixture
def admin(api):
    return Api("admin")


@pytest.fixture
def peer(db):
    return make_peer("nrao", last_error="No route to 10.1.2.3.", last_error_at=timezone.now())


# --- Peers ------------------------------------------------------------------------------------------------------------


def test_a_peer_is_told_by_level_and_never_our_account_there(api, admin, peer):
    [row] = api.results("peers/")
    assert (row["name"], row["state"], row["transfers_enabled"]) == ("nrao", "failing", True)
    assert (row["url"], row["last_error"]) == (None, None)
    assert Api("readwrite").get("peers/nrao/").json()["last_error"] == "No route to 10.1.2.3."
    assert Api("readwrite").get("peers/nrao/").json()["url"] is None
    whole = admin.get("peers/nrao/")
    assert whole.json()["url"] == peer.root
    assert b"authenticator" not in whole.content
    assert b"gAAAA" not in whole.content


def test_one_peer_tells_its_traffic_and_lag(api, peer, tmp_path, django_assert_max_num_queries):
    StandingOrder.objects.create(name="all", peer_name="nrao")
    file = make_file(store=make_store(tmp_path))
    make_outgoing(file, state=TransferState.ONGOING, queue_item=make_batch())
    make_outgoing(state=TransferState.FAILED)
    make_incoming(state=TransferState.STAGED)
    api.get("peers/")  # the password is remembered from here on
    with django_assert_max_num_queries(9):  # account; peer; traffic 2 + 2; rates; orders; lag
        row = api.get("peers/nrao/").json()
    assert row["outgoing"] == {"waiting": 0, "moving": 1, "checking": 0, "again": 0, "failed": 1}
    assert row["incoming"]["checking"] == 1
    assert (row["lag"]["count"], row["lag"]["is_more"]) == (1, False)
    assert row["rate_bytes_per_second"] == 100.0
    assert "nobody" in api.refusal("peers/nobody/", 404)["reason"]


# --- Transfers --------------------------------------------------------------------------------------------------------


def test_both_directions_in_one_list(api, peer):
    now = timezone.now()
    for number in range(3):
        make_outgoing(make_file(f"out.{number}"), created_at=now - timedelta(minutes=10 - 2 * number))
        make_incoming(f"in.{number}", created_at=now - timedelta(minutes=9 - 2 * number))
    rows = api.results("transfers/")
    assert [(row["direction"], row["file"]) for row in rows[:3]] == [("in", "in.2"), ("out", "out.2"), ("in", "in.1")]
    seen, path = [], "transfers/?limit=4"
    while path:
        body = api.get(path).json()
        seen += [row["file"] for row in body["results"]]
        assert body["previous"] is None
        path = body["next"] and body["next"].partition("/api/v3/")[2]
    assert seen == [row["file"] for row in rows]
    assert [row["file"] for row in api.results("transfers/", name_contains="t.1")] == ["out.1"]
    assert len(api.results("transfers/", peer="nrao", state="initiated", live="true")) == 6
    assert api.results("transfers/", given_up="true") == []
    assert "state" in api.refusal("transfers/", state="purple")["reason"]
    assert "colour" in api.refusal("transfers/", colour="red")["reason"]
    assert "cursor" in api.refusal("transfers/", cursor="x")["reason"]


def test_an_outgoing_one_says_where_it_stands(api, peer):
    row = make_outgoing(state=TransferState.ONGOING, queue_item=make_batch(), sent_bytes=7, remote_transfer_id=3)
    [listed] = api.results("transfers/outgoing/")
    assert listed == api.get(f"transfers/outgoing/{row.pk}/").json()
    assert (listed["moved_bytes"], listed["rate_bytes_per_second"], listed["seconds_left"]) == (7, 100.0, 30.0)
    assert (listed["provider"], listed["remote_transfer_id"], listed["order"]) == ("rsync", 3, None)
    assert listed["standing"] == "Its batch is being sent by rsync."
    assert listed["mended_by"]
    assert api.results("transfers/outgoing/", latest="false") == []
    assert api.refusal("transfers/outgoing/99/", 404)["code"] == "not_found"


def test_an_incoming_one_says_whether_its_sender_knows(api, peer):
    row = make_incoming("in.1", state=TransferState.FAILED, report="given_up", kept_aside_at="/data/aside/1")
    answer = api.get(f"transfers/incoming/{row.pk}/")
    body = answer.json()
    assert (body["account"], body["report"], body["reason"]) == ("nrao", "given_up", "The bytes differ.")
    assert body["kept_aside"] is True
    assert b"/data/aside" not in answer.content
    assert [found["id"] for found in api.results("transfers/incoming/", peer="nrao", name="in.1")] == [row.pk]


def test_administrators_retry_and_cancel(api, admin, peer):
    failed, live, come = make_outgoing(state=TransferState.FAILED), make_outgoing(), make_incoming()
    assert Api("readwrite").post(f"transfers/outgoing/{failed.pk}/retry/").status_code == 403
    answer = admin.post(f"transfers/outgoing/{failed.pk}/retry/")
    assert answer.status_code == 201
    assert (answer.json()["state"], answer.json()["asked_by"]) == ("initiated", "admin")
    assert answer.json()["id"] != failed.pk
    again = admin.post(f"transfers/outgoing/{failed.pk}/retry/")
    assert (again.status_code, again.json()["code"]) == (409, "transfer_over")
    assert admin.post(f"transfers/outgoing/{live.pk}/cancel/").json()["state"] == "cancelled"
    assert admin.post(f"transfers/incoming/{come.pk}/cancel/").json()["state"] == "cancelled"
    assert admin.post(f"transfers/incoming/{come.pk}/cancel/").status_code == 409
    assert admin.post(f"transfers/outgoing/{live.pk}/cancel/", {"force": True}).status_code == 400
    assert IncomingTransfer.objects.get().state == TransferState.CANCELLED


def test_administrators_send_files(api, admin, peer, tmp_path):
    store = make_store(tmp_path)
    make_file("zen.1", store=store)
    make_remote_instance(make_file("zen.2", store=store), peer="nrao")
    wish = {"peer": "nrao", "files": ["zen.1", "zen.2"]}
    assert Api("readwrite").post("transfers/outgoing/", wish).status_code == 403
    answer = admin.post("transfers/outgoing/", wish)
    assert (answer.status_code, answer.json()) == (202, {"peer": "nrao", "count": 1})
    assert OutgoingTransfer.objects.get().asked_by == "admin"
    assert admin.post("transfers/outgoing/", {"peer": "nrao", "files": ["nothing"]}).status_code == 404
    assert admin.post("transfers/outgoing/", {"peer": "nobody", "files": ["zen.1"]}).status_code == 404
    assert admin.post("transfers/outgoing/", {"peer": "nrao", "files": []}).status_code == 400


def test_lists_cost_the_same_with_many_rows(api, peer, django_assert_max_num_queries):
    make_remote_instance(make_file(), peer="nrao")
    for number in range(20):
        make_outgoing(queue_item=make_batch())
        make_incoming(f"in.{number}")
        StandingOrder.objects.create(name=f"order {number}", peer_name="nrao")
    api.get("peers/")
    with django_assert_max_num_queries(4):  # account; outgoing; incoming; peers
        assert len(api.results("transfers/")) == 40
    for path in ("transfers/outgoing/", "transfers/incoming/"):
        with django_assert_max_num_queries(3):  # account; page; peers
            assert len(api.results(path)) == 20
    for path in ("peers/", "remote-instances/", "standing-orders/"):
        with django_assert_max_num_queries(2):  # account; page
            api.results(path)


# --- Copies at peers --------------------------------------------------------------------------------------------------


def test_copies_at_peers_are_searched(api):
    make_remote_instance(make_file("zen.1"), peer="nrao", peer_store_id=4)
    make_remote_instance(make_file("zen.2"), peer="other", confirmed_at=timezone.now() - timedelta(days=90))
    [row] = api.results("remote-instances/", file="zen.1")
    assert (row["file"], row["peer"], row["peer_store_id"], row["sender"]) == ("zen.1", "nrao", 4, "here")
    assert [row["file"] for row in api.results("remote-instances/", peer="other")] == ["zen.2"]
    before = (timezone.now() - timedelta(days=30)).strftime("%Y-%m-%d")
    assert [row["file"] for row in api.results("remote-instances/", confirmed_before=before)] == ["zen.2"]
    assert "confirmed_after" in api.refusal("remote-instances/", confirmed_after="soon")["reason"]


# --- Standing orders --------------------------------------------------------------------------------------------------


def test_orders_are_given_changed_and_removed_by_administrators(api, admin, peer):
    wish = {"name": "nightly", "search": '{"name-matches": "zen.%"}', "peer": "nrao"}
    assert Api("readwrite").post("standing-orders/", wish).status_code == 403
    answer = admin.post("standing-orders/", wish)
    assert answer.status_code == 201
    address = f"standing-orders/{answer.json()['id']}/"
    assert api.get(address).json() == answer.json()
    assert answer.json()["created_by"] == "admin"
    assert admin.post("standing-orders/", wish).json()["code"] == "order_exists"

    def patch(caller, body):
        return caller.client.patch(f"/api/v3/{address}", body, content_type="application/json")

    assert patch(admin, {"enabled": False, "priority": 3}).json()["priority"] == 3
    assert [row["name"] for row in api.results("standing-orders/", enabled="false", peer="nrao")] == ["nightly"]
    refused = patch(admin, {"search": '{"older": 1}'}).json()
    assert refused["code"] == "invalid_search"
    assert patch(admin, {"colour": "red"}).status_code == 400
    assert patch(Api("readwrite"), {"enabled": True}).status_code == 403
    assert not StandingOrder.objects.get().enabled
    assert Api("readwrite").client.delete(f"/api/v3/{address}").status_code == 403
    assert admin.client.delete(f"/api/v3/{address}").status_code == 204
    assert api.get(address).status_code == 404
