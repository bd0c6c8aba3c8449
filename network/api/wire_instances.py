"""Wire protocol: `search/instance_remote`, `admin/instance/delete_remote`."""

from django.db.models import QuerySet
from rest_framework.request import Request

from accounts.levels import Level
from accounts.permissions import wire_level_required
from files.models import RemoteInstance
from files.names import normalise_name
from hera_librarian.models.admin import AdminDeleteInstanceRequest, AdminDeleteInstanceResponse
from hera_librarian.models.instances import (
    RemoteInstanceSearchRequest,
    RemoteInstanceSearchResponse,
    RemoteInstanceSearchResponses,
)
from librarian.common.wire import WireFailure, WireView, aware, result_limit
from network.models import Peer
from network.services.transfers import drop_remote_instance


class SearchRemoteInstances(WireView):
    """`search/instance_remote`: copies at peers, newest first; also at those that were removed since."""

    request_model = RemoteInstanceSearchRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: RemoteInstanceSearchRequest) -> RemoteInstanceSearchResponses:
        found = list(find_remote_instances(message)[: result_limit(message.max_results, is_admin=True)])
        if not found:
            raise WireFailure(404, "No instances found.", "Widen the search.", code="not_found")
        return RemoteInstanceSearchResponses([describe_remote_instance(each) for each in found])


class DeleteRemoteInstance(WireView):
    """`admin/instance/delete_remote`: forgets what is known of a copy at a peer. The copy there is not touched."""

    request_model = AdminDeleteInstanceRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: AdminDeleteInstanceRequest) -> AdminDeleteInstanceResponse:
        remote = RemoteInstance.objects.select_related("file").filter(pk=message.instance_id).first()
        if remote is None:
            raise WireFailure(
                400,
                f"Instance does not exist: there is no remote instance {message.instance_id} here.",
                "Search for remote instances to learn their ids.",
                code="not_found",
                success=False,
                instance_id=message.instance_id,
            )
        drop_remote_instance(remote, why="an administrator asked for it", by=request.user.username)
        return AdminDeleteInstanceResponse(success=True, instance_id=message.instance_id)


def find_remote_instances(message: RemoteInstanceSearchRequest) -> QuerySet[RemoteInstance]:
    """Remote instances that meet every condition of the message, newest first. Raises InvalidName."""
    conditions = {
        "pk": message.id,
        "file__name": None if message.file_name is None else normalise_name(message.file_name).name,
        "peer_store_id": message.store_id,
        "copied_at": None if message.copy_time is None else aware(message.copy_time),
        "sender": message.sender,
    }
    found = RemoteInstance.objects.filter(**{field: value for field, value in conditions.items() if value is not None})
    if message.librarian_id is not None:
        found = found.filter(peer_name__in=Peer.objects.filter(pk=message.librarian_id).values("name"))
    return found.select_related("file").order_by("-copied_at", "-pk")


def describe_remote_instance(remote: RemoteInstance) -> RemoteInstanceSearchResponse:
    """A copy at a peer as the wire shows it."""
    return RemoteInstanceSearchResponse(
        librarian_name=remote.peer_name,
        copy_time=remote.copied_at,
        id=remote.pk,
        file_name=remote.file.name,
        store_id=remote.peer_store_id,
        sender=remote.sender,
    )
