"""The staff admin of pairing, ways to a peer, orders and what is on its way, through the real pages."""

import re

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from accounts.levels import Level
from accounts.models import Invitation, User
from files.search import EVERY_FILE
from librarian.common.models import AuditEntry
from network.errors import InvitationNotValid
from network.models import OutgoingTransfer, Peer, StandingOrder
from network.services.peering.inviting import invite, welcome
from network.services.peering.pairing_code import Direction, PairingCode, read_code
from tests.make import make_incoming, make_order, make_outgoing, make_peer, make_queue_item, make_user

pytestmark = pytest.mark.django_db
INVITE, ACCEPT = reverse("admin:network_peer_invite"), reverse("admin:network_peer_accept")
TABLES = ["outgoingtransfer", "incomingtransfer", "sendqueueitem", "standingorder"]


@pytest.fixture
def admin(db):
    return make_user("ada", level=Level.ADMIN)


@pytest.fixture
def staff(client, admin):
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    return client


def act(staff, table, action, *rows):
    page = reverse(f"admin:network_{table}_changelist")
    answer = staff.post(page, {"action": action, "_selected_action": [row.pk for row in rows]})
    assert answer.status_code == 302
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


# --- Pairing ----------------------------------------------------------------------------------------------------------


def test_a_code_is_made_and_shown_once(staff, admin):
    assert "Invite a site" in staff.get(reverse("admin:network_peer_changelist")).content.decode()
    assert "http://testserver" in staff.get(INVITE).content.decode()
    fields = {"direction": "send", "url": "http://librarian.example.org:99", "valid_minutes": 5, "site_name": ""}
    answer = staff.post(INVITE, fields)
    page = answer.content.decode()
    code = read_code(re.search(r"librarian-pair-[\w-]+", page)[0])
    assert (code.url, code.port, code.direction) == ("http://librarian.example.org", 99, "send")
    assert "no-store" in answer.headers["Cache-Control"]
    assert "in clear" in page
    assert Invitation.objects.get().created_by == admin
    assert code.secret not in staff.get(INVITE).content.decode()


def test_what_is_wrong_with_an_invitation_stands_on_the_page(staff):
    fields = {"direction": "both", "url": "ftp://x", "valid_minutes": 60}
    assert "Begin with http" in staff.post(INVITE, fields).content.decode()
    assert "no code of an invitation" in staff.post(ACCEPT, {"code": "x", "url": "http://a"}).content.decode()
    assert not Invitation.objects.exists()


def test_an_invitation_is_accepted_and_both_pings_are_shown(staff, standin):
    standin.answers["v3/pairing/"] = (201, {"name": "north", "authenticator": "test_librarian:right"})
    standin.answers["v3/pairing/check/"] = (200, {"ok": False, "reason": "test_librarian cannot be reached."})
    code = PairingCode("north", "http://127.0.0.1", standin.port, Direction.BOTH, "hunter2" * 6).text
    page = staff.post(ACCEPT, {"code": code, "url": "http://127.0.0.1:5000"}).content.decode()
    assert "it works" in page
    assert "test_librarian cannot be reached." in page
    assert "hunter2" not in page
    assert Peer.objects.get().name == User.objects.get(kind="librarian").username == "north"


def test_an_invitation_is_withdrawn_and_its_digest_not_shown(staff, admin):
    code = invite(actor=admin, url="http://127.0.0.1:5000")
    invitation = Invitation.objects.get()
    page = staff.get(reverse("admin:accounts_invitation_change", args=[invitation.pk])).content.decode()
    assert invitation.code_digest not in page
    pages = reverse("admin:accounts_invitation_changelist")
    for words in ("1 are withdrawn", "expired already"):
        answer = staff.post(pages, {"action": "withdraw", "_selected_action": [invitation.pk]})
        assert words in " ".join(str(each) for each in get_messages(answer.wsgi_request))
    with pytest.raises(InvitationNotValid):
        welcome(secret=read_code(code).secret, proof="p" * 64, name="n", url="http://a", port=1, authenticator="a:b")


def test_pairing_is_for_staff_only_and_by_post(client):
    client.force_login(make_user(level=Level.READWRITE), backend="django.contrib.auth.backends.ModelBackend")
    for page in (INVITE, ACCEPT):
        assert client.post(page, {"direction": "both", "url": "http://a", "valid_minutes": 5}).status_code in (302, 403)
    assert not Invitation.objects.exists()


# --- Ways to a peer ---------------------------------------------------------------------------------------------------


def test_ways_are_edited_in_their_own_part_of_the_page(staff, tmp_path):
    peer = make_peer("north")
    page = reverse("admin:network_peer_change", args=[peer.pk])
    assert "How files go there" in staff.get(page).content.decode()
    fields = {
        "name": "north",
        "url": peer.url,
        "port": peer.port,
        "transfers_enabled": "on",
        "provider_order": "http, rsync",
        "ssh_hosts": "data.example.org\nme@other",
        "globus_endpoints": "0F0E0D0C-1111-4222-8333-444455556666",
        "shared_directories": f"{tmp_path}\n",
        "batch_files": 12,
    }
    assert staff.post(page, fields).status_code == 302
    peer.refresh_from_db()
    assert peer.provider_order == ["http", "rsync"]
    assert peer.ssh_hosts == ["data.example.org", "me@other"]
    assert peer.globus_endpoints == ["0f0e0d0c-1111-4222-8333-444455556666"]
    assert peer.shared_directories == [str(tmp_path)]
    assert (peer.batch_files, peer.files_per_run, peer.rate_limit_bytes_per_second) == (12, 4096, None)
    assert "me@other" in staff.get(page).content.decode()
    refused = staff.post(page, {**fields, "ssh_hosts": "-oProxyCommand=x", "transfers_enabled": ""})
    assert "no host, or user@host" in refused.content.decode()
    peer.refresh_from_db()
    assert peer.ssh_hosts == ["data.example.org", "me@other"]
    assert peer.transfers_enabled


def test_a_new_peer_with_a_bad_way_is_not_added(staff, standin):
    fields = {"name": "north", "url": "http://127.0.0.1", "port": standin.port, "authenticator": "test_librarian:right"}
    answer = staff.post(reverse("admin:network_peer_add"), {**fields, "provider_order": "teleport"})
    assert "no provider called" in answer.content.decode()
    assert not Peer.objects.exists()


def test_removing_a_peer_says_what_waits(staff):
    peer = make_peer("north")
    make_outgoing(peer="north")
    page = reverse("admin:network_peer_delete", args=[peer.pk])
    answer = staff.post(page, {"post": "yes"})
    assert "1 transfers to north wait" in " ".join(str(each) for each in get_messages(answer.wsgi_request))


# --- What is on its way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_its_pages(staff, table):
    rows = {
        "outgoingtransfer": make_outgoing,
        "incomingtransfer": make_incoming,
        "sendqueueitem": make_queue_item,
        "standingorder": make_order,
    }
    row = rows[table]()
    assert staff.get(reverse(f"admin:network_{table}_changelist")).status_code == 200
    assert staff.get(reverse(f"admin:network_{table}_change", args=[row.pk])).status_code == 200
    changed = staff.post(reverse(f"admin:network_{table}_change", args=[row.pk]), {"state": "completed"})
    assert changed.status_code == (200 if table == "standingorder" else 403)


def test_transfers_are_cancelled_and_tried_again(staff, admin):
    make_peer("north")
    transfer, over = make_outgoing(), make_outgoing(state="completed")
    said = act(staff, "outgoingtransfer", "cancel", transfer, over)
    assert "1 are cancelled" in said
    assert "already" in said
    said = act(staff, "outgoingtransfer", "retry", transfer)
    assert "1 are tried again" in said
    assert OutgoingTransfer.objects.order_by("-pk")[0].state == "initiated"
    incoming = make_incoming()
    act(staff, "incomingtransfer", "cancel", incoming)
    incoming.refresh_from_db()
    assert incoming.state == "cancelled"
    assert AuditEntry.objects.filter(actor=admin).count() == 3


def test_batches_are_sent_now_or_given_up(staff, admin):
    from datetime import timedelta

    from django.utils import timezone

    make_peer("north")
    item = make_queue_item(next_try_at=timezone.now() + timedelta(hours=1))
    transfer = make_outgoing(queue_item=item, state="ongoing")
    assert "1 are sent now" in act(staff, "sendqueueitem", "retry", item)
    item.refresh_from_db()
    assert item.next_try_at <= timezone.now()
    act(staff, "sendqueueitem", "cancel", item)
    transfer.refresh_from_db()
    assert transfer.state == "cancelled"
    done = make_queue_item(state="sent", finished_at=timezone.now())
    assert "does not wait" in act(staff, "sendqueueitem", "retry", done)
    assert AuditEntry.objects.get(action="cancel_batch").facts == {"transfers": 1}


# --- Standing orders --------------------------------------------------------------------------------------------------


def test_orders_are_written_through_the_service(staff, admin):
    make_peer("north")
    add = reverse("admin:network_standingorder_add")
    fields = {"name": "all", "search": EVERY_FILE, "peer_name": "north", "priority": 3, "enabled": "on"}
    assert "north" in staff.get(add).content.decode()
    assert staff.post(add, fields).status_code == 302
    order = StandingOrder.objects.get()
    assert (order.created_by, order.priority) == ("ada", 3)
    page = reverse("admin:network_standingorder_change", args=[order.pk])
    wrong = staff.post(page, {**fields, "search": "{"})
    assert wrong.status_code == 200
    assert "errorlist" in wrong.content.decode()
    Peer.objects.all().delete()
    assert "not known here at present" in staff.get(page).content.decode()
    assert staff.post(page, {**fields, "priority": 7}).status_code == 302
    act(staff, "standingorder", "switch_off", order)
    order.refresh_from_db()
    assert (order.priority, order.enabled) == (7, False)
    staff.post(reverse("admin:network_standingorder_delete", args=[order.pk]), {"post": "yes"})
    actions = set(AuditEntry.objects.filter(actor=admin).values_list("action", flat=True))
    assert {"add_order", "edit_order", "switch_order_off", "remove_order"} <= actions
