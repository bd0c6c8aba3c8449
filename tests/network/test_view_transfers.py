"""The pages of transfers: both directions in one list, what each waits for, retry and cancel."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from files.models import File
from librarian.common.models import AuditEntry
from network.models import IncomingTransfer, OutgoingTransfer, TransferState
from tests.make import make_file, make_peer, make_store
from tests.network.traffic import make_batch, make_incoming, make_outgoing
from tests.portal.looking import links_of, queries_of, read, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def peer(db):
    return make_peer("nrao")


@pytest.fixture
def reader(as_user):
    return as_user("readonly")


def names_on(page):
    return [words for words in read(page).words if words.startswith("zen.")]


def test_both_directions_stand_in_one_list_newest_first(reader, peer):
    now = timezone.now()
    for number in range(4):
        make_outgoing(make_file(f"zen.out.{number}"), created_at=now - timedelta(minutes=10 - 2 * number))
        make_incoming(f"zen.in.{number}", created_at=now - timedelta(minutes=9 - 2 * number))
    both = [f"zen.{direction}.{number}" for number in (3, 2, 1, 0) for direction in ("in", "out")]
    assert names_on(reader.get("/transfers/")) == both
    assert names_on(reader.get("/transfers/?direction=out")) == both[1::2]
    assert names_on(reader.get("/transfers/?direction=in")) == both[::2]


def test_pages_of_both_directions_miss_nothing_and_repeat_nothing(reader, peer):
    now = timezone.now()
    for number in range(40):
        make_outgoing(make_file(f"zen.out.{number}"), created_at=now - timedelta(minutes=80 - number))
    for number in range(80):
        make_incoming(f"zen.in.{number}", created_at=now - timedelta(minutes=80 - number))
    seen, address = [], "/transfers/"
    for _ in range(3):
        page = reader.get(address)
        seen += names_on(page)
        following = [attributes["href"] for tag, attributes in read(page).tags if attributes.get("rel") == "next"]
        address = f"/transfers/{following[0]}" if following else ""
    assert address == ""
    assert len(seen) == len(set(seen)) == 120
    refused = reader.get("/transfers/?cursor=nonsense")
    assert refused.status_code == 400
    assert "not a cursor of this list" in words_of(refused)


def test_it_is_filtered_by_state_site_and_name(reader, peer):
    make_outgoing(make_file("zen.a"), state=TransferState.FAILED)
    make_outgoing(make_file("zen.b"), peer="other")
    make_outgoing(make_file("zen.c"), state=TransferState.FAILED, next_try_at=timezone.now())
    make_incoming("zen.d", state=TransferState.FAILED)

    def found(query):
        return sorted(names_on(reader.get(f"/transfers/?{query}")))

    assert found("state=failed") == ["zen.a", "zen.c", "zen.d"]
    assert found("given_up=true&direction=out") == ["zen.a"]
    assert found("peer=other") == ["zen.b"]
    assert found("name_contains=n.d") == ["zen.d"]
    assert found("name_glob=*.[x]") == []
    page = reader.get("/transfers/?state=purple")
    assert page.status_code == 400
    assert "is not one of initiated, ongoing" in words_of(page)
    assert "No transfer is like that" in words_of(reader.get("/transfers/?peer=nobody"))


def test_each_says_what_it_waits_for_and_who_can_mend_it(reader, peer):
    soon = timezone.now() + timedelta(minutes=20)
    said = {
        "It waits to be offered to nrao.": make_outgoing(),
        "Its batch is being sent by rsync.": make_outgoing(
            state=TransferState.ONGOING, queue_item=make_batch(), sent_bytes=9
        ),
        "All bytes are at nrao, which reads them back.": make_outgoing(state=TransferState.STAGED, next_check_at=soon),
        "It is tried again by itself.": make_outgoing(state=TransferState.FAILED, next_try_at=soon),
        "It is not tried again before a person wants it.": make_outgoing(state=TransferState.FAILED),
        "removed is no peer of this site any more.": make_outgoing(peer="removed"),
        "nrao has verified its copy.": make_outgoing(state=TransferState.COMPLETED),
    }
    pages = {sentence: words_of(reader.get(f"/transfers/out/{row.pk}/")) for sentence, row in said.items()}
    for sentence, words in pages.items():
        assert sentence in words
    assert "an administrator of this site" in pages["It is not tried again before a person wants it."]
    assert "9 B of 19 B · 100 B/s · batch done in 30 s" in pages["Its batch is being sent by rsync."]
    listed = words_of(reader.get("/transfers/"))
    assert "Next in 19 min" in listed or "Next in 20 min" in listed


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"transfers_enabled": False}, "Transfers to nrao are switched off."),
        ({"rests_until": timezone.now() + timedelta(days=1)}, "nrao does not answer."),
    ],
)
def test_what_hinders_the_peer_is_said_of_its_transfers(reader, fields, sentence):
    make_peer("nrao", **fields)
    row = make_outgoing()
    assert sentence in words_of(reader.get(f"/transfers/out/{row.pk}/"))
    assert sentence in words_of(reader.get("/transfers/"))


def test_an_incoming_one_tells_its_report_and_what_is_kept(as_user, peer):
    row = make_incoming(
        state=TransferState.FAILED,
        reason="SHA-256 is a, declared was b.",
        remedy="Send it again.",
        report="due",
        next_report_at=timezone.now() + timedelta(minutes=5),
        report_problem="nrao cannot be reached.",
        kept_aside_at="/data/quarantine/1/item",
    )
    words = words_of(as_user("readonly").get(f"/transfers/in/{row.pk}/"))
    for said in ("SHA-256 is a, declared was b.", "Send it again.", "to be told", "nrao cannot be reached."):
        assert said in words
    assert "The bytes that came are kept aside." in words
    assert "/data/quarantine" not in words
    assert "/data/quarantine/1/item" in words_of(as_user("admin").get(f"/transfers/in/{row.pk}/"))
    assert as_user("readonly").get(f"/transfers/sideways/{row.pk}/").status_code == 404
    assert as_user("readonly").get("/transfers/in/99/").status_code == 404


def test_administrators_retry_what_failed(as_user, peer):
    row = make_outgoing(state=TransferState.FAILED)
    for level in ("readonly", "readappend", "readwrite"):
        assert "Retry" not in words_of(as_user(level).get("/transfers/"))
        assert as_user(level).post(f"/transfers/out/{row.pk}/retry").status_code == 403
    browser = as_user("admin")
    assert "Retry" in words_of(browser.get("/transfers/"))
    answer = browser.post(f"/transfers/out/{row.pk}/retry")
    new = OutgoingTransfer.objects.live().get()
    assert answer.url == f"/transfers/out/{new.pk}/"
    assert new.asked_by == "admin"
    assert OrmQ.objects.count() == 1
    page = browser.get(answer.url)
    assert f"/transfers/out/{row.pk}/" in links_of(page)
    assert "replaced" in words_of(page)
    browser.post(f"/transfers/out/{row.pk}/retry")
    assert "is not one that waits to be tried again" in words_of(browser.get("/transfers/"))
    assert OutgoingTransfer.objects.count() == 2
    assert AuditEntry.objects.filter(action="retry_transfer").count() == 1


def test_administrators_cancel_in_both_directions(as_user, peer):
    out, come = make_outgoing(), make_incoming()
    assert as_user("readwrite").post(f"/transfers/out/{out.pk}/cancel").status_code == 403
    assert as_user("readwrite").post(f"/transfers/in/{come.pk}/cancel").status_code == 403
    browser = as_user("admin")
    assert browser.get(f"/transfers/in/{come.pk}/cancel").status_code == 405
    browser.post(f"/transfers/out/{out.pk}/cancel")
    browser.post(f"/transfers/in/{come.pk}/cancel")
    assert OutgoingTransfer.objects.get().state == TransferState.CANCELLED
    assert IncomingTransfer.objects.get().state == TransferState.CANCELLED
    browser.post(f"/transfers/in/{come.pk}/cancel")
    assert "already" in words_of(browser.get("/transfers/"))
    assert AuditEntry.objects.filter(action="cancel_transfer", actor_name="admin").count() == 2


def test_the_live_part_comes_alone_for_htmx(reader, peer):
    make_outgoing()
    part = reader.get("/transfers/?live=true", headers={"HX-Request": "true"})
    assert part.status_code == 200
    assert b"<html" not in part.content
    assert ("div", "/transfers/?live=true") in [
        (tag, attributes.get("hx-get")) for tag, attributes in read(part).tags if "hx-get" in attributes
    ]


def test_a_page_costs_the_same_with_many_transfers(reader, peer):
    files = File.objects.bulk_create(
        [File(name=f"zen.{number}", size_bytes=1, checksum="md5:::" + 32 * "0", digest=64 * "0", uploader="x",
              source="x", kind="flat") for number in range(10_000)]
    )  # fmt: skip
    reader.get("/transfers/")
    make_outgoing(files[0])
    make_incoming("zen.in")
    addresses = ("/transfers/", "/transfers/?direction=out", "/transfers/?name_contains=zen&state=initiated")
    before = {address: len(queries_of(lambda a=address: reader.get(a))[1]) for address in addresses}
    OutgoingTransfer.objects.bulk_create(
        [OutgoingTransfer(file=file, peer_name="nrao", size_bytes=1) for file in files[1:]]
    )
    after = {address: len(queries_of(lambda a=address: reader.get(a))[1]) for address in addresses}
    assert after == before
    assert before["/transfers/"] <= 3  # outgoing, incoming, peers


def test_a_file_is_sent_because_a_person_wants_it(as_user, peer, tmp_path):
    make_peer("other")
    file = make_file("zen.1", store=make_store(tmp_path))
    assert "Send to" not in words_of(as_user("readwrite").get("/file/zen.1"))
    assert as_user("readwrite").post("/transfers/send", {"name": "zen.1", "peer": "nrao"}).status_code == 403
    browser = as_user("admin")
    assert "Send to nrao other" in words_of(browser.get("/file/zen.1"))
    assert browser.post("/transfers/send", {"name": "zen.1", "peer": "nrao"}).url == "/file/zen.1"
    page = browser.get("/file/zen.1")
    assert "zen.1 is sent to nrao." in words_of(page)
    assert f"/transfers/out/{OutgoingTransfer.objects.get(file=file).pk}/" in links_of(page)
    assert "Send to other" in words_of(page)
    browser.post("/transfers/send", {"name": "zen.1", "peer": "nrao"})
    assert "zen.1 is not sent to nrao." in words_of(browser.get("/file/zen.1"))
    assert browser.post("/transfers/send", {"name": "zen.1", "peer": "nobody"}).status_code == 404
