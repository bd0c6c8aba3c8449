"""`/api/v3/store-copies/`, `offloads/`: copies between stores of this site, and stores that are emptied.

Everybody who may read sees them; what changes something is for ADMIN.
"""

from collections.abc import Callable, Sequence

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.acts import address_of
from accounts.levels import Level
from accounts.permissions import ReadByAllWrittenByAdmins, level_required
from files.api.copy_serializers import (
    NewOffloadSerializer,
    OffloadSerializer,
    QueuedCopiesSerializer,
    StoreCopySerializer,
    WantedCopiesSerializer,
)
from files.copy_filters import OffloadFilterSet, StoreCopyFilterSet
from files.copy_queries import copies_for_list, offloads_for_list
from files.models import Offload, StoreCopy
from files.services.copies_by_hand import want_copies_by_hand
from files.services.copying import cancel_copy, retry_copy
from files.services.offloading import pause_offload, resume_offload, start_offload, stop_offload
from librarian.common.errors import NotFound
from librarian.common.filters import refuse_unknown_parameters
from librarian.common.resources import read_fields, refuse_fields, row_with_id
from stores.models import Store

# --- Copies -----------------------------------------------------------------------------------------------------------


@extend_schema_view(
    get=extend_schema(operation_id="store_copies_list", summary="Copies between our stores", tags=["stores"])
)
class StoreCopyList(ReadByAllWrittenByAdmins, generics.ListAPIView):
    """Copies that are wanted on stores of this site, or were made, the newest first."""

    queryset = StoreCopy.objects.none()
    serializer_class = StoreCopySerializer
    filterset_class = StoreCopyFilterSet
    ordering_fields = ["created_at", "changed_at", "finished_at", "size_bytes", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[StoreCopy]:
        return copies_for_list()

    @extend_schema(
        operation_id="store_copies_create",
        summary="Copy files to stores of this site",
        tags=["stores"],
        request=WantedCopiesSerializer,
        responses={202: QueuedCopiesSerializer},
    )
    def post(self, request: Request) -> Response:
        """Want files on the first of some stores that takes each, whatever the standing orders say. Needs ADMIN."""
        fields = read_fields(WantedCopiesSerializer(data=request.data))
        targets = _stores(fields["targets"])
        count = want_copies_by_hand(
            fields["files"],
            targets=targets,
            actor=request.user,
            address=address_of(request),
            priority=fields["priority"],
        )
        answer = {"targets": [store.name for store in targets], "count": count}
        return Response(QueuedCopiesSerializer(answer).data, status=202)


class StoreCopyDetail(APIView):
    """One copy."""

    @extend_schema(
        operation_id="store_copies_retrieve",
        summary="One copy between our stores",
        tags=["stores"],
        responses=StoreCopySerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        """The copy of this id."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return _copy_answer(pk)


class StoreCopyRetry(APIView):
    """Wanting a copy again."""

    permission_classes = [level_required(Level.ADMIN)]

    @extend_schema(
        operation_id="store_copies_retry",
        summary="Try a copy again",
        tags=["stores"],
        request=None,
        responses=StoreCopySerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        """Try a copy again, now, that failed. Needs ADMIN. Takes no fields."""
        refuse_fields(request.data)
        retry_copy(_copy(pk), actor=request.user, address=address_of(request))
        return _copy_answer(pk)


class StoreCopyCancel(APIView):
    """Giving a copy up."""

    permission_classes = [level_required(Level.ADMIN)]

    @extend_schema(
        operation_id="store_copies_cancel",
        summary="Cancel a copy",
        tags=["stores"],
        request=None,
        responses=StoreCopySerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        """Give a copy up that waits or failed. Needs ADMIN. Takes no fields."""
        refuse_fields(request.data)
        cancel_copy(_copy(pk), actor=request.user, address=address_of(request))
        return _copy_answer(pk)


# --- Offloads ---------------------------------------------------------------------------------------------------------


@extend_schema_view(get=extend_schema(operation_id="offloads_list", summary="Stores that are emptied", tags=["stores"]))
class OffloadList(ReadByAllWrittenByAdmins, generics.ListAPIView):
    """Offloads with their progress, the newest first."""

    queryset = Offload.objects.none()
    serializer_class = OffloadSerializer
    filterset_class = OffloadFilterSet
    ordering_fields = ["created_at", "changed_at", "finished_at", "id"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[Offload]:
        return offloads_for_list()

    @extend_schema(
        operation_id="offloads_create",
        summary="Empty a store",
        tags=["stores"],
        request=NewOffloadSerializer,
        responses={201: OffloadSerializer},
    )
    def post(self, request: Request) -> Response:
        """Give every file of a store a verified copy elsewhere; nothing is erased. Needs ADMIN."""
        fields = read_fields(NewOffloadSerializer(data=request.data))
        begun = start_offload(
            store=_stores([fields["store"]])[0],
            targets=_stores(fields["targets"]),
            drains=fields["drains"],
            search=fields["search"],
            actor=request.user,
            address=address_of(request),
        )
        return Response(OffloadSerializer(_offload(begun.pk)).data, status=201)


class OffloadDetail(APIView):
    """One offload."""

    @extend_schema(
        operation_id="offloads_retrieve",
        summary="One offload with its progress",
        tags=["stores"],
        responses=OffloadSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        """The offload of this id."""
        refuse_unknown_parameters(request.query_params, ["format"])
        return Response(OffloadSerializer(_offload(pk)).data)


class _ChangeOffload(APIView):
    """What a person does to an offload."""

    permission_classes = [level_required(Level.ADMIN)]
    service: Callable[..., object]

    def post(self, request: Request, pk: int) -> Response:
        refuse_fields(request.data)
        type(self).service(_offload(pk), actor=request.user, address=address_of(request))
        return Response(OffloadSerializer(_offload(pk)).data)


def _described(act: str, summary: str, words: str) -> dict[str, object]:
    description = f"{words} Needs ADMIN. Takes no fields."
    return {
        "operation_id": f"offloads_{act}",
        "summary": summary,
        "description": description,
        "tags": ["stores"],
        "request": None,
        "responses": OffloadSerializer,
    }


@extend_schema_view(post=extend_schema(**_described("pause", "Pause an offload", "Copy nothing new from its store.")))
class OffloadPause(_ChangeOffload):
    """Pausing an offload."""

    service = staticmethod(pause_offload)


@extend_schema_view(post=extend_schema(**_described("resume", "Resume an offload", "Go on with one that was paused.")))
class OffloadResume(_ChangeOffload):
    """Going on with an offload."""

    service = staticmethod(resume_offload)


@extend_schema_view(post=extend_schema(**_described("stop", "Stop an offload", "End it; what was copied stays.")))
class OffloadStop(_ChangeOffload):
    """Ending an offload."""

    service = staticmethod(stop_offload)


# --- Reading requests -------------------------------------------------------------------------------------------------


def _stores(names: Sequence[str]) -> list[Store]:
    """Stores by their names, in the same order. Raises NotFound."""
    found = Store.objects.in_bulk(list(names), field_name="name")
    if missing := [name for name in names if name not in found]:
        raise NotFound(f"There is no store {missing[0]}.", remedy="List the stores first.")
    return [found[name] for name in names]


def _copy(pk: int) -> StoreCopy:
    return row_with_id(copies_for_list(), pk, "copy")


def _copy_answer(pk: int) -> Response:
    return Response(StoreCopySerializer(_copy(pk)).data)


def _offload(pk: int) -> Offload:
    return row_with_id(offloads_for_list(), pk, "offload")
