"""Forgetting what ended long ago, and nothing that somebody may still want."""

from datetime import timedelta

import pytest
from django.utils import timezone

from network.models import IncomingTransfer, OutgoingTransfer, SendQueueItem
from network.services import tidying
from network.services.tidying import forget_old_transfers
from tests.make import make_file, make_incoming, make_outgoing, make_queue_item

pytestmark = pytest.mark.django_db
OLD = timezone.now() - timedelta(days=91)
YOUNG = timezone.now() - timedelta(days=89)


def test_only_what_ended_long_ago_and_serves_nobody_goes(monkeypatch):
    monkeypatch.setattr(tidying, "BATCH", 2)
    file = make_file()
    for _ in range(3):
        make_outgoing(file, state="failed", is_latest=False, finished_at=OLD)
    kept = [
        make_outgoing(file, state="failed", finished_at=OLD),
        make_outgoing(state="cancelled", finished_at=OLD),
        make_outgoing(state="completed", finished_at=YOUNG),
        make_outgoing(state="ongoing", created_at=OLD),
    ]
    make_outgoing(state="completed", finished_at=OLD)
    assert forget_old_transfers() == {"outgoing": 4, "incoming": 0, "batches": 0}
    assert list(OutgoingTransfer.objects.order_by("pk")) == kept


def test_incoming_ones_stay_until_their_sender_knows():
    make_incoming(state="failed", finished_at=OLD, report="done")
    make_incoming(state="cancelled", finished_at=OLD, report="given_up")
    kept = [
        make_incoming(state="failed", finished_at=OLD, report="due", next_report_at=OLD),
        make_incoming(state="failed", finished_at=YOUNG, report="done"),
        make_incoming(state="staged"),
    ]
    assert forget_old_transfers()["incoming"] == 2
    assert list(IncomingTransfer.objects.order_by("pk")) == kept


def test_batches_stay_while_a_transfer_shows_them():
    shown, _, young, live = (make_queue_item(**fields) for fields in (OVER, OVER, {**OVER, "finished_at": YOUNG}, {}))
    make_outgoing(state="failed", finished_at=OLD, queue_item=shown)
    assert forget_old_transfers()["batches"] == 1
    assert list(SendQueueItem.objects.order_by("pk")) == [shown, young, live]


OVER = {"state": "sent", "finished_at": OLD}
