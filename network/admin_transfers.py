"""Staff pages of what is on its way: looked at, tried again, given up; machines write it."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounts.admin_acts import ActsAdmin
from network.models import IncomingTransfer, OutgoingTransfer, SendQueueItem
from network.services.sending.batches import cancel_batch, send_batch_now
from network.services.sending.wanted import cancel_transfer, retry_transfer


@admin.register(OutgoingTransfer)
class OutgoingTransferAdmin(ActsAdmin):
    """Files on their way to peers, one row for each attempt."""

    list_display = ["id", "file", "peer_name", "state", "attempt", "changed_at", "reason", "next_try_at"]
    list_filter = ["state", "peer_name", "is_latest"]
    list_select_related = ["file"]
    search_fields = ["file__name"]
    actions = ["retry", "cancel"]

    @admin.action(description="Try the selected transfers again now")
    def retry(self, request: HttpRequest, queryset: QuerySet[OutgoingTransfer]) -> None:
        self.each(request, queryset.select_related("file"), retry_transfer, done="are tried again")

    @admin.action(description="Cancel the selected transfers")
    def cancel(self, request: HttpRequest, queryset: QuerySet[OutgoingTransfer]) -> None:
        self.each(request, queryset.select_related("file"), cancel_transfer, done="are cancelled")


@admin.register(IncomingTransfer)
class IncomingTransferAdmin(ActsAdmin):
    """Files on their way from other sites."""

    list_display = ["id", "name", "account_name", "state", "changed_at", "reason", "next_try_at", "report"]
    list_filter = ["state", "report", "account_name"]
    search_fields = ["name", "source"]
    actions = ["cancel"]

    @admin.action(description="Refuse the selected transfers; their senders are told")
    def cancel(self, request: HttpRequest, queryset: QuerySet[IncomingTransfer]) -> None:
        self.each(request, queryset, cancel_transfer, done="are refused")


@admin.register(SendQueueItem)
class SendQueueItemAdmin(ActsAdmin):
    """Batches for which a peer has made room."""

    list_display = [
        "id",
        "peer_name",
        "state",
        "provider",
        "attempts",
        "sent_bytes",
        "size_bytes",
        "next_try",
        "reason",
    ]
    list_filter = ["state", "peer_name", "provider"]
    actions = ["retry", "cancel"]

    @admin.display(description="next try", ordering="next_try_at")
    def next_try(self, item: SendQueueItem) -> str:
        if item.finished_at is not None:
            return "-"
        return "now" if item.next_try_at <= timezone.now() else f"{item.next_try_at:%Y-%m-%d %H:%M:%S} UTC"

    @admin.action(description="Send the selected batches now")
    def retry(self, request: HttpRequest, queryset: QuerySet[SendQueueItem]) -> None:
        self.each(request, queryset, send_batch_now, done="are sent now")

    @admin.action(description="Cancel the transfers of the selected batches")
    def cancel(self, request: HttpRequest, queryset: QuerySet[SendQueueItem]) -> None:
        self.each(request, queryset, cancel_batch, done="are given up")
