"""What version 3 says of peers, transfers and copies at peers. Times are ISO 8601 in UTC."""

from typing import Any

from rest_framework import serializers

from accounts.levels import Level
from accounts.permissions import level_of
from files.models import RemoteInstance
from network.models import IncomingTransfer, OutgoingTransfer, Peer, ReportState, TransferState
from network.queries import STATES, state_of
from network.rows import DIRECTIONS, TransferRow, row_of


class PeerSerializer(serializers.ModelSerializer):
    """A site that this one knows. Never our account there."""

    id = serializers.IntegerField(help_text="Id of the peer, as on the wire.")
    name = serializers.CharField(help_text="Its LIBRARIAN_NAME.")
    state = serializers.SerializerMethodField(help_text=f"What our latest calls found: {', '.join(STATES)}.")
    url = serializers.SerializerMethodField(help_text="Where its machine API begins; null below level ADMIN.")
    transfers_enabled = serializers.BooleanField(help_text="Whether files may be sent to it; a person's switch.")
    features = serializers.ListField(
        child=serializers.CharField(), help_text="Extensions of the protocol that it understands; empty: a foreign one."
    )
    last_seen_at = serializers.DateTimeField(allow_null=True, help_text="Its last good answer to us; null: none yet.")
    latency_seconds = serializers.FloatField(allow_null=True, help_text="Of that answer, seconds.")
    last_heard_at = serializers.DateTimeField(
        allow_null=True, help_text="When the account of its name last signed in here; null: never."
    )
    last_error = serializers.SerializerMethodField(
        help_text="Why our latest failed call failed; empty if none did, null below level READWRITE."
    )
    last_error_at = serializers.DateTimeField(allow_null=True, help_text="When that was.")
    rests_until = serializers.DateTimeField(allow_null=True, help_text="Jobs do not call it before; null: as needed.")
    created_at = serializers.DateTimeField(help_text="When it was added.")

    class Meta:
        model = Peer
        fields = [
            "id",
            "name",
            "state",
            "url",
            "transfers_enabled",
            "features",
            "last_seen_at",
            "latency_seconds",
            "last_heard_at",
            "last_error",
            "last_error_at",
            "rests_until",
            "created_at",
        ]
        read_only_fields = fields

    def get_state(self, peer: Peer) -> str:
        return state_of(peer)

    def get_url(self, peer: Peer) -> str | None:
        return peer.root if level_of(self.context["request"]) >= Level.ADMIN else None

    def get_last_error(self, peer: Peer) -> str | None:
        return peer.last_error if level_of(self.context["request"]) >= Level.READWRITE else None


class TrafficSerializer(serializers.Serializer):
    """Transfers of one direction, counted."""

    waiting = serializers.IntegerField(help_text="Transfers whose bytes do not move yet.")
    moving = serializers.IntegerField(help_text="Transfers whose bytes are on their way.")
    checking = serializers.IntegerField(help_text="Transfers whose bytes are there and are being read back.")
    again = serializers.IntegerField(help_text="Files that failed and are tried again by themselves.")
    failed = serializers.IntegerField(
        help_text="Outgoing: files that failed for good. Incoming: transfers that failed within the last day."
    )


class LagSerializer(serializers.Serializer):
    """Files that standing orders want at the peer, and that are not known to be there."""

    count = serializers.IntegerField(help_text="How many; 10000 when there are more.")
    is_more = serializers.BooleanField(help_text="True if there are more than `count`.")
    oldest_at = serializers.DateTimeField(
        allow_null=True, help_text="When the oldest of them was registered here; null if there is none."
    )


class PeerDetailSerializer(PeerSerializer):
    """A peer, and what goes there and comes from there."""

    outgoing = TrafficSerializer(source="view.to", help_text="Transfers to it.")
    incoming = TrafficSerializer(source="view.come", help_text="Transfers from it.")
    lag = LagSerializer(source="view.lag", help_text="How far it is behind the standing orders.")
    rate_bytes_per_second = serializers.FloatField(
        source="view.rate_bytes_per_second", allow_null=True, help_text="Sent to it now, bytes/s; null: nothing."
    )

    class Meta(PeerSerializer.Meta):
        fields = [*PeerSerializer.Meta.fields, "outgoing", "incoming", "lag", "rate_bytes_per_second"]
        read_only_fields = fields


class TransferSerializer(serializers.Serializer):
    """A file on its way in either direction."""

    id = serializers.IntegerField(
        source="transfer.pk", help_text="Id of the transfer here; each direction has its own."
    )
    direction = serializers.ChoiceField(DIRECTIONS, help_text="`out`: to a peer; `in`: from another site.")
    file = serializers.CharField(source="name", help_text="Name of the file.")
    peer = serializers.CharField(source="site", help_text="Name of the other site.")
    state = serializers.CharField(
        source="transfer.state",
        help_text=f"Where it stands, in the words of the wire: {', '.join(TransferState.values)}.",
    )
    size_bytes = serializers.IntegerField(help_text="Size of the file, bytes.")
    moved_bytes = serializers.IntegerField(
        allow_null=True, help_text="Bytes that are there as far as known; null while nobody counts them."
    )
    rate_bytes_per_second = serializers.FloatField(
        allow_null=True, help_text="Of the batch that it goes with, while that is sent, bytes/s."
    )
    seconds_left = serializers.FloatField(allow_null=True, help_text="Estimate for that batch, seconds.")
    code = serializers.CharField(source="transfer.code", help_text="Stable name of why it failed; may be empty.")
    reason = serializers.CharField(help_text="Why it failed, or why it waits; may be empty.")
    remedy = serializers.CharField(help_text="What mends that; may be empty.")
    standing = serializers.CharField(source="standing.sentence", help_text="What it waits for, in a sentence.")
    next_at = serializers.DateTimeField(
        source="standing.next_at", allow_null=True, help_text="When it goes on by itself; null: with the next event."
    )
    mended_by = serializers.CharField(source="standing.who", help_text="Who can make it go on.")
    created_at = serializers.DateTimeField(source="transfer.created_at", help_text="When it was begun.")
    changed_at = serializers.DateTimeField(source="transfer.changed_at", help_text="In this state since.")
    finished_at = serializers.DateTimeField(
        source="transfer.finished_at", allow_null=True, help_text="When it ended; null while it goes on."
    )

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return super().to_representation(self._row(instance))

    def _row(self, instance: Any) -> TransferRow:
        """Views hand over transfers; the peers that a list needs are read once."""
        if not isinstance(instance, OutgoingTransfer | IncomingTransfer):
            return instance
        if "peers" not in self.context:
            self.context["peers"] = Peer.objects.in_bulk(field_name="name")
        return row_of(instance, self.context["peers"])


class OutgoingTransferSerializer(TransferSerializer):
    """A file on its way to a peer."""

    attempt = serializers.IntegerField(source="transfer.attempt", help_text="1 for the first.")
    is_latest = serializers.BooleanField(
        source="transfer.is_latest", help_text="Whether it is the newest attempt for its file and peer."
    )
    asked_by = serializers.CharField(source="transfer.asked_by", help_text="Who wanted it, when a person did.")
    order = serializers.CharField(
        source="transfer.order.name", default=None, help_text="Standing order that chose it; null: none that stands."
    )
    priority = serializers.IntegerField(source="transfer.priority", help_text="Higher numbers are sent first.")
    provider = serializers.CharField(
        source="transfer.queue_item.provider", default="", help_text="Way by which its bytes go; empty: not begun."
    )
    shipment = serializers.IntegerField(
        source="transfer.shipment_id", allow_null=True, help_text="Id of the disk's trip that carries it; null: none."
    )
    remote_transfer_id = serializers.IntegerField(
        source="transfer.remote_transfer_id", allow_null=True, help_text="Id of the peer's transfer; null: not offered."
    )
    told_state = serializers.CharField(
        source="transfer.told_state", help_text="Latest state that the peer has confirmed to know; may be empty."
    )
    next_try_at = serializers.DateTimeField(
        source="transfer.next_try_at", allow_null=True, help_text="For a failed one: when its file is tried again."
    )


class IncomingTransferSerializer(TransferSerializer):
    """A file on its way from another site."""

    account = serializers.CharField(source="transfer.account_name", help_text="Account that offered it.")
    source = serializers.CharField(source="transfer.source", help_text="As the sender called itself.")
    uploader = serializers.CharField(source="transfer.uploader", help_text="Who uploaded the file, by the sender.")
    source_transfer_id = serializers.IntegerField(
        source="transfer.source_transfer_id", help_text="Id of the sender's transfer."
    )
    checksum = serializers.CharField(source="transfer.checksum", help_text="Declared, <algorithm>:::<hex>.")
    attempts = serializers.IntegerField(source="transfer.attempts", help_text="How often it was tried to take it in.")
    report = serializers.ChoiceField(
        ReportState.choices, source="transfer.report", help_text="Whether the sender knows how it ended."
    )
    report_problem = serializers.CharField(
        source="transfer.report_problem", help_text="Why the sender could not be told; may be empty."
    )
    next_report_at = serializers.DateTimeField(
        source="transfer.next_report_at", allow_null=True, help_text="When the sender is told next."
    )
    kept_aside = serializers.SerializerMethodField(
        help_text="Whether bytes that were not as declared are kept for somebody to look at."
    )

    def get_kept_aside(self, row: TransferRow) -> bool:
        return bool(row.transfer.kept_aside_at)


class NewTransfersSerializer(serializers.Serializer):
    """Files that a person wants at a peer."""

    peer = serializers.CharField(max_length=64, help_text="Name of the peer.")
    files = serializers.ListField(
        child=serializers.CharField(max_length=4096),
        min_length=1,
        max_length=10_000,
        help_text="Names of the files, 1 to 10000.",
    )


class QueuedTransfersSerializer(serializers.Serializer):
    """How many of the files are sent."""

    peer = serializers.CharField(help_text="Name of the peer.")
    count = serializers.IntegerField(
        help_text="Transfers that were made; files that are there, on their way or not readable here are left out."
    )


class CopyAtPeerSerializer(serializers.ModelSerializer):
    """A copy that a directly connected peer has confirmed."""

    id = serializers.IntegerField(help_text="Id of the remote instance, as on the wire.")
    file = serializers.CharField(source="file.name", help_text="Name of the file.")
    peer = serializers.CharField(source="peer_name", help_text="Name of the site that holds it.")
    peer_store_id = serializers.IntegerField(help_text="Id of the store there.")
    sender = serializers.CharField(help_text="Name of the site that sent it; may be empty.")
    copied_at = serializers.DateTimeField(help_text="When it was first confirmed.")
    confirmed_at = serializers.DateTimeField(help_text="When the site last said that it holds it.")

    class Meta:
        model = RemoteInstance
        fields = ["id", "file", "peer", "peer_store_id", "sender", "copied_at", "confirmed_at"]
        read_only_fields = fields
