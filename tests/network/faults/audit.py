"""What the tests of transfers ask inside a site: does anything move still, what came of each file, what lies about."""

from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db.models import F, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from files.invariants import check_invariants
from files.models import File, Instance, Presence, RemoteInstance, Upload
from files.search import compile_search
from files.services.event_verification import verify_events
from files.services.sweeping import finish_commits, sweep_staging
from network.models import (
    GIVEN_UP,
    IncomingTransfer,
    OutgoingTransfer,
    Peer,
    ReportState,
    SendQueueItem,
    StandingOrder,
)
from stores.models import Store

LONG_AGO = timedelta(days=1)


def pass_time() -> None:
    """Let what waits for a later moment be due: retries, rests, questions, reports."""
    past = timezone.now() - timedelta(seconds=1)
    OutgoingTransfer.objects.filter(state__in=GIVEN_UP, next_try_at__isnull=False).update(next_try_at=past)
    OutgoingTransfer.objects.live().filter(next_check_at__isnull=False).update(next_check_at=past)
    SendQueueItem.objects.live().update(next_try_at=past)
    IncomingTransfer.objects.filter(next_try_at__isnull=False).update(next_try_at=past)
    IncomingTransfer.objects.filter(next_check_at__isnull=False).update(next_check_at=past)
    IncomingTransfer.objects.filter(report=ReportState.DUE).update(next_report_at=past)
    for rows in (OutgoingTransfer, IncomingTransfer):
        rows.objects.live().update(changed_at=F("changed_at") - LONG_AGO, created_at=F("created_at") - LONG_AGO)
    IncomingTransfer.objects.live().filter(staged_at__isnull=False).update(staged_at=F("staged_at") - LONG_AGO)
    Upload.objects.live().update(created_at=F("created_at") - LONG_AGO)
    Peer.objects.update(rests_until=None, failures_in_a_row=0, provider_rests={})
    StandingOrder.objects.update(next_look_at=None)


def moving() -> dict[str, Any]:
    """What has not come to rest; empty when everything has."""
    found = {
        "outgoing": list(OutgoingTransfer.objects.live().values_list("file__name", "state")),
        "incoming": list(IncomingTransfer.objects.live().values_list("name", "state")),
        "queue": list(SendQueueItem.objects.live().values_list("peer_name", "state")),
        "untold": OutgoingTransfer.objects.untold().count(),
        "reports": IncomingTransfer.objects.filter(report=ReportState.DUE).count(),
        "uploads": Upload.objects.live().count(),
        "wanted": wanted(),
    }
    return {name: value for name, value in found.items() if value}


def wanted() -> list[str]:
    """Files that an order wants elsewhere, that are not there and that will be tried (again)."""
    names: set[str] = set()
    for order in StandingOrder.objects.active():
        there = RemoteInstance.objects.filter(peer_name=order.peer_name).values("file")
        given_up = OutgoingTransfer.objects.latest().filter(
            peer_name=order.peer_name, state__in=GIVEN_UP, next_try_at__isnull=True
        )
        files = File.objects.filter(compile_search(order.search)).exclude(pk__in=there)
        names.update(files.exclude(pk__in=given_up.values("file")).values_list("name", flat=True))
    return sorted(names)


def sent(peer_name: str) -> dict[str, dict[str, Any]]:
    """Of each file here: its remote instances at a peer, and its latest transfer there."""
    found = {}
    for file in File.objects.all():
        latest = OutgoingTransfer.objects.latest().filter(file=file, peer_name=peer_name).first()
        found[file.name] = {
            "copies": file.remote_instances.filter(peer_name=peer_name).count(),
            "state": latest and latest.state,
            "code": latest and latest.code,
            "reason": latest and latest.reason,
            "remedy": latest and latest.remedy,
            "next_try_at": latest and latest.next_try_at and str(latest.next_try_at),
        }
    return found


def held() -> dict[str, list[str]]:
    """Absolute paths of the present copies of each file."""
    found: dict[str, list[str]] = {name: [] for name in File.objects.values_list("name", flat=True)}
    for copy in Instance.objects.filter(presence=Presence.PRESENT).select_related("file", "store"):
        found[copy.file.name].append(f"{copy.store.configuration['root']}/{copy.path}")
    return found


def left_over() -> dict[str, Any]:
    """After the sweepers: what lies in staging, live uploads, broken truths and histories. Empty if all is well."""
    finish_commits()
    sweep_staging(older_than_seconds=-10)
    found = {
        "uploads": Upload.objects.live().count(),
        "staging": [str(each) for store in Store.objects.all() for each in store.backend.list_staging()],
        "histories": verify_events().findings,
        "invariants": [name for name, rows in check_invariants().items() if rows],
    }
    return {name: value for name, value in found.items() if value}


def traces_of(text: str) -> list[str]:
    """Columns, as `table.column`, of which any row has this text in it."""
    found = []
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            column = Cast(field.attname, TextField())
            if model.objects.annotate(as_text=column).filter(as_text__contains=text).exists():
                found.append(f"{model._meta.db_table}.{field.column}")
    return found
