"""`/api/v3/pairing/`: another site accepts an invitation of this one, and asks to be called back."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.addresses import client_address
from accounts.authentication import PingAuthentication, credential_of
from accounts.levels import Level
from accounts.lockout import count_wrong_secret
from accounts.permissions import level_required
from librarian.common.errors import ArchiveError, Busy, InvalidRequest, NotFound
from librarian.common.leases import acquire
from network.errors import NoSuchInvitation
from network.models import Peer
from network.services.peering.connections import check_peer
from network.services.peering.inviting import refuse_unknown, welcome
from network.services.peering.pairing_code import LONGEST_SECRET, own_name

CHECK_SECONDS = 60  # longer than a try takes
GUESSES = "pairing code"  # what the lock-out counts guesses under; with its blank no account can be called so


class NewPair(serializers.Serializer):
    """The site that accepts."""

    name = serializers.CharField(max_length=64, help_text="Its LIBRARIAN_NAME.")
    url = serializers.CharField(max_length=256, help_text="Where it answers, without the port.")
    port = serializers.IntegerField(min_value=1, max_value=65535, help_text="Its port.")
    authenticator = serializers.CharField(
        max_length=1024, trim_whitespace=False, help_text="Account of this site there, `name:password`."
    )
    proof = serializers.CharField(
        min_length=32, max_length=128, help_text="What only that site can make of the code; the same when it repeats."
    )


class Welcome(serializers.Serializer):
    """What the site that accepts is given."""

    name = serializers.CharField(help_text="LIBRARIAN_NAME of this site.")
    authenticator = serializers.CharField(help_text="Its account here, `name:password`; kept nowhere.")


class CallBack(serializers.Serializer):
    """What was met when this site called the caller's."""

    ok = serializers.BooleanField(help_text="True if it answers and knows us.")
    latency_seconds = serializers.FloatField(allow_null=True, help_text="Seconds that its greeting took.")
    reason = serializers.CharField(allow_blank=True, help_text="What is wrong; empty if nothing is.")
    suggested_remedy = serializers.CharField(allow_blank=True, help_text="What mends it.")
    notes = serializers.ListField(child=serializers.CharField(), help_text="What works, yet looks wrong.")


class Pairing(APIView):
    """A site shows the one-time secret of an invitation. The secret is all that it has yet: no account opens this."""

    authentication_classes = [PingAuthentication]  # looks nobody up; without any credentials it answers 401
    permission_classes: list[Any] = []

    @extend_schema(
        request=NewPair,
        responses={201: Welcome},
        tags=["pairing"],
        summary="Accept an invitation",
        operation_id="pairing_accept",
        auth=[{"token": []}],
    )
    def post(self, request: Request) -> Response:
        """Pair the calling site with this one. The secret of the invitation is the bearer token. May be repeated."""
        secret = credential_of(request, "bearer") or ""
        if not secret or len(secret) > LONGEST_SECRET:
            raise InvalidRequest(
                "The secret of an invitation is missing.", remedy="Send it as 'Authorization: Bearer <secret>'."
            )
        try:
            refuse_unknown(secret)
            given = NewPair(data=request.data)  # read for those alone who know a secret
            given.is_valid(raise_exception=True)
            authenticator = welcome(secret=secret, address=client_address(request) or "", **given.validated_data)
        except NoSuchInvitation:
            count_wrong_secret(request, GUESSES)
            raise
        answer = Welcome({"name": own_name(), "authenticator": authenticator})
        return Response(answer.data, status=201, headers={"Cache-Control": "no-store"})


class PairingCheck(APIView):
    """The account of a peer asks to be called, so that its people see at once whether both directions work."""

    permission_classes = [level_required(Level.CALLBACK)]

    @extend_schema(
        request=None,
        responses=CallBack,
        tags=["pairing"],
        summary="Have this site call the caller's",
        operation_id="pairing_check",
    )
    def post(self, request: Request) -> Response:
        """Call the site whose account this is, at the address it gave, and tell what was met."""
        name = request.user.get_username()
        peer = Peer.objects.filter(name=name).first()
        if peer is None:
            raise NotFound(f"There is no Librarian called {name} here.", remedy="Only the account of a peer is called.")
        lease = acquire(job="pairing_check", target=name, seconds=CHECK_SECONDS)
        if lease is None:  # else a site that never answers could keep every worker of the web server waiting
            raise Busy(f"{name} is being called already.", retry_after_seconds=CHECK_SECONDS)
        try:
            return Response(CallBack(self._call(peer, request)).data)
        finally:
            lease.release()

    def _call(self, peer: Peer, request: Request) -> dict[str, Any]:
        try:
            found = check_peer(peer=peer, actor=request.user, address=client_address(request) or "")
        except ArchiveError as problem:
            met = {"ok": False, "latency_seconds": None, "notes": []}
            met |= {"reason": problem.reason, "suggested_remedy": problem.suggested_remedy}
        else:
            met = {"ok": True, "latency_seconds": found.latency_seconds, "notes": list(found.notes)}
            met |= {"reason": "", "suggested_remedy": ""}
        return met
