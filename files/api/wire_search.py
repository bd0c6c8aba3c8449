"""Wire protocol: `search/file`, `search/instance_local`."""

from collections.abc import Callable

from django.db.models import Q, QuerySet
from rest_framework.request import Request

from accounts.levels import Level
from accounts.permissions import level_of, wire_level_required
from files.models import File, Instance, Presence, RemoteInstance
from files.names import normalise_name
from files.queries import addresses, instances_at, newest_files
from hera_librarian.models.instances import (
    InstanceSearchRequest,
    InstanceSearchResponse,
    InstanceSearchResponses,
    RemoteInstanceSearchResponse,
)
from hera_librarian.models.search import FileSearchRequest, FileSearchResponse, FileSearchResponses
from librarian.common.wire import WireFailure, WireView, aware, result_limit


class SearchFiles(WireView):
    """`search/file`: files with their copies. Peers rely on the exact words when there is none."""

    request_model = FileSearchRequest
    permission_classes = [wire_level_required(Level.READONLY)]

    def answer(self, request: Request, message: FileSearchRequest) -> FileSearchResponses:
        window = message.create_time_window
        files = newest_files(
            name=message.name,
            registered_between=(aware(window[0]), aware(window[1])) if window else None,
            uploader=message.uploader,
            source=message.source,
            seen_by=request.user,
        )
        limit = result_limit(message.max_results, is_admin=level_of(request) >= Level.ADMIN)
        found = list(files[:limit])
        if not found:
            raise WireFailure(404, "No files found.", "Widen the search.", code="not_found")
        address = addresses()
        return FileSearchResponses([describe_file(file, address) for file in found])


class SearchInstances(WireView):
    """`search/instance_local`: copies on our stores, newest first."""

    request_model = InstanceSearchRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: InstanceSearchRequest) -> InstanceSearchResponses:
        found = list(find_instances(message)[: result_limit(message.max_results, is_admin=True)])
        if not found:
            raise WireFailure(404, "No instances found.", "Widen the search.", code="not_found")
        address = addresses()
        return InstanceSearchResponses([describe_instance(each, address, in_full=True) for each in found])


def find_instances(message: InstanceSearchRequest) -> QuerySet[Instance]:
    """Instances that meet every condition of the message, newest first. Raises InvalidName."""
    conditions = {
        "pk": message.id,
        "deletion_policy": None if message.deletion_policy is None else int(message.deletion_policy),
        "created_at": None if message.created_time is None else aware(message.created_time),
        "file__name": None if message.file_name is None else normalise_name(message.file_name).name,
        "store_id": message.store_id,
    }
    instances = Instance.objects.filter(**{field: value for field, value in conditions.items() if value is not None})
    if message.path is not None:
        instances = instances.filter(instances_at(message.path))
    if message.available is not None:
        present = Q(presence=Presence.PRESENT)
        instances = instances.filter(present if message.available else ~present)
    return instances.select_related("file").order_by("-created_at", "-pk")


def describe_file(file: File, address: Callable[[Instance], str]) -> FileSearchResponse:
    """A file as the wire shows it, under the name as filed."""
    return FileSearchResponse(
        name=file.name,
        create_time=file.registered_at,
        size=file.size_bytes,
        checksum=file.checksum,
        uploader=file.uploader,
        source=file.source,
        instances=[describe_instance(instance, address) for instance in file.instances.all()],
        remote_instances=[describe_remote(remote) for remote in file.remote_instances.all()],
    )


def describe_instance(
    instance: Instance, address: Callable[[Instance], str], *, in_full: bool = False
) -> InstanceSearchResponse:
    """A copy on one of our stores; with `in_full` also its own id and its file's name."""
    return InstanceSearchResponse(
        path=address(instance),
        deletion_policy=instance.deletion_policy,
        created_time=instance.created_at,
        available=instance.is_present,
        id=instance.pk if in_full else None,
        file_name=instance.file.name if in_full else None,
        store_id=instance.store_id,
    )


def describe_remote(remote: RemoteInstance) -> RemoteInstanceSearchResponse:
    """A copy at a peer, as the answer about its file shows it."""
    return RemoteInstanceSearchResponse(librarian_name=remote.peer_name, copy_time=remote.copied_at)
