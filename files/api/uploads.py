"""`/api/v3/uploads/`: resumable uploads (tus 1.0), their state as JSON, and the call that commits one.

A view reads headers, asks a service, and answers in the words of the protocol; each call may be repeated.
"""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import UnreadablePostError
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.levels import Level
from accounts.permissions import level_of, level_required, require_level_still
from files.api import tus
from files.api.slots import upload_slot
from files.api.upload_serializers import CommitSerializer, UploadDetailSerializer, UploadSerializer
from files.filters import UploadFilterSet
from files.models import Upload, UploadKind, UploadState
from files.services.arrivals import (
    TooManyBytes,
    cancel_upload,
    open_arrival,
    receive_piece,
    take_over,
)
from files.services.finishing import finish_upload
from librarian.common.errors import ArchiveError, LevelTooLow, NotFound

_TUS = [OpenApiParameter("Tus-Resumable", str, "header", required=True, description="1.0.0")]
_OFFSET = OpenApiResponse(description="`Upload-Offset` says how many bytes have arrived.")


class Piece:
    """The body of a request as a file of known length. `read` ends early when the connection does."""

    def __init__(self, request: Request, length_bytes: int) -> None:
        self._request = request._request
        self._left = length_bytes

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        try:
            block = self._request.read(wanted)
        except (UnreadablePostError, OSError):  # the client is gone, or silent for longer than the server waits
            block = b""
        self._left = self._left - len(block) if block else 0
        return block


class TusView(APIView):
    """What all calls of the protocol share: its version on the way in and out, and methods under other names."""

    permission_classes = [level_required(Level.READAPPEND)]

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        named = request.headers.get("X-HTTP-Method-Override", "").upper()
        if request.method == "POST" and named in ("PATCH", "HEAD", "DELETE"):
            request.method = named  # for clients behind something that only lets GET and POST through
        return super().dispatch(request, *args, **kwargs)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Tus-Resumable"] = tus.VERSION
        if response.status_code == 412:
            response.headers["Tus-Version"] = tus.VERSION
        if request.method in ("HEAD", "PATCH", "POST") and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        return response


@extend_schema_view(
    get=extend_schema(operation_id="uploads_list", summary="Uploads of the caller", tags=["uploads"]),
)
class UploadList(TusView, generics.ListAPIView):
    """Uploads, newest first: the caller's own, for administrators everybody's."""

    queryset = Upload.objects.none()
    serializer_class = UploadSerializer
    filterset_class = UploadFilterSet
    ordering_fields = ["id", "created_at"]
    ordering = ["-id"]

    def get_queryset(self) -> QuerySet[Upload]:
        uploads = Upload.objects.filter(kind=UploadKind.TUS).select_related("file").defer("products")
        return uploads if level_of(self.request) == Level.ADMIN else uploads.filter(owner=self.request.user)

    def get_permissions(self) -> list[Any]:
        return [] if self.request.method == "OPTIONS" else super().get_permissions()

    @extend_schema(exclude=True)
    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What this server can do; needs no login, as the protocol has it."""
        return Response(status=204, headers=tus.server_headers())

    @extend_schema(
        operation_id="uploads_create",
        summary="Begin a resumable upload",
        description="tus 1.0, creation. Room for `Upload-Length` bytes is held on a store. A body of type "
        "`application/offset+octet-stream` may bring the first bytes, or all of a small file.",
        tags=["uploads"],
        parameters=[
            *_TUS,
            OpenApiParameter("Upload-Length", int, "header", required=True, description="Length in bytes."),
            OpenApiParameter("Upload-Metadata", str, "header", description="Keys and base64 values; docs/api.md."),
        ],
        request=None,
        responses={201: OpenApiResponse(description="`Location` is the upload's address.")},
    )
    def post(self, request: Request) -> Response:
        tus.require_version(request)
        length, metadata = tus.read_length(request), tus.read_metadata(request)
        body = _length_of_body(request)
        if body and body > length:
            raise TooManyBytes(f"The body has {body} bytes; Upload-Length announces {length}.")
        upload = open_arrival(
            owner=request.user,
            destination=metadata.destination,
            length_bytes=length,
            content=metadata.content,
            checksum=metadata.checksum,
            uploader=metadata.uploader,
            metadata=metadata.raw,
            **metadata.fields,
        )
        location = request.build_absolute_uri(reverse("v3-upload", args=[upload.pk]))
        try:
            headers = self._receive_first(request, upload, body, length)
        except ArchiveError as error:
            error.extra.setdefault("location", location)  # what has arrived is kept there
            raise
        return Response(status=201, headers={"Location": location, **headers})

    def _receive_first(self, request: Request, upload: Upload, body: int, length: int) -> dict[str, str]:
        if upload.state == UploadState.STAGED and (body or not length):
            return _receive(request, upload, offset_bytes=0, piece_bytes=body)
        return tus.upload_headers(upload, upload.offset_bytes) | tus.outcome_headers(upload)


def _length_of_body(request: Request) -> int:
    """Bytes that come with the creation; none unless they are declared as such."""
    if request.content_type.partition(";")[0].strip().lower() != tus.OFFSET_TYPE:
        return 0
    return tus.piece_bytes(request)


class UploadDetail(TusView):
    """One upload, for its owner (administrators may look, and give it up)."""

    @extend_schema(
        operation_id="uploads_retrieve",
        summary="One upload",
        description="How far it is, and how it ended; for a batch with an answer for each product.",
        tags=["uploads"],
        responses=UploadDetailSerializer,
    )
    def get(self, request: Request, pk: int) -> Response:
        return Response(UploadDetailSerializer(_visible(request, pk)).data)

    @extend_schema(
        operation_id="uploads_offset",
        summary="How many bytes have arrived",
        description="tus 1.0, core. Also takes the upload over: a request that still writes to it is stopped.",
        tags=["uploads"],
        parameters=_TUS,
        responses={200: _OFFSET},
    )
    def head(self, request: Request, pk: int) -> Response:
        tus.require_version(request)
        upload = _own(request, pk)
        offset = take_over(upload)
        headers = {"Upload-Length": str(upload.length_bytes), **tus.upload_headers(upload, offset)}
        if upload.metadata:
            headers["Upload-Metadata"] = upload.metadata
        return Response(headers={**headers, **tus.outcome_headers(upload)})

    @extend_schema(
        operation_id="uploads_append",
        summary="Send a piece",
        description="tus 1.0, core. The body goes behind the first `Upload-Offset` bytes.",
        tags=["uploads"],
        parameters=[*_TUS, OpenApiParameter("Upload-Offset", int, "header", required=True, description="Bytes.")],
        request={tus.OFFSET_TYPE: bytes},
        responses={204: _OFFSET},
    )
    def patch(self, request: Request, pk: int) -> Response:
        tus.require_version(request)
        length, offset = tus.piece_bytes(request), tus.read_number(request, "Upload-Offset")
        upload = _own(request, pk)
        return Response(status=204, headers=_receive(request, upload, offset_bytes=offset, piece_bytes=length))

    @extend_schema(
        operation_id="uploads_cancel",
        summary="Give an upload up",
        description="tus 1.0, termination. What has arrived is removed; a committed upload stays a file.",
        tags=["uploads"],
        parameters=_TUS,
        responses={204: OpenApiResponse(description="Given up.")},
    )
    def delete(self, request: Request, pk: int) -> Response:
        tus.require_version(request)
        cancel_upload(_visible(request, pk, kinds=[UploadKind.TUS]), by=request.user.username)
        return Response(status=204)


class UploadCommit(APIView):
    """The word that everything has come, with what it must be."""

    permission_classes = [level_required(Level.READAPPEND)]

    @extend_schema(
        operation_id="uploads_commit",
        summary="Commit an upload",
        description="For uploads begun with `commit asked`; harmless for others and when repeated. Answers once the "
        "product is safe, for a batch with an answer for each product.",
        tags=["uploads"],
        request=CommitSerializer,
        responses=UploadDetailSerializer,
    )
    def post(self, request: Request, pk: int) -> Response:
        wishes = CommitSerializer(data=request.data)
        wishes.is_valid(raise_exception=True)
        upload = _own(request, pk, kinds=[UploadKind.TUS])
        with upload_slot():
            return Response(UploadDetailSerializer(finish_upload(upload, **wishes.validated_data)).data)


def _receive(request: Request, upload: Upload, *, offset_bytes: int, piece_bytes: int) -> dict[str, str]:
    """Take a piece, commit the upload if that was its last and it wants to be, and say where it stands."""
    checksum = tus.piece_checksum(request)
    with upload_slot():
        arrived = receive_piece(
            upload,
            source=Piece(request, piece_bytes),
            offset_bytes=offset_bytes,
            piece_bytes=piece_bytes,
            piece_checksum=checksum,
        )
        if arrived == upload.length_bytes and upload.is_committed_when_complete:
            require_level_still(request, Level.READAPPEND)  # sending may have taken hours
            upload = finish_upload(upload)
    return tus.upload_headers(upload, arrived) | tus.outcome_headers(upload)


_RESUMABLE = (UploadKind.TUS, UploadKind.CLONE)  # what a peer brings ends with its transfer, not by a call here


def _visible(request: Request, pk: int, kinds: Sequence[str] = _RESUMABLE) -> Upload:
    """An upload that the caller may look at. Raises NotFound, as for one that does not exist."""
    upload = Upload.objects.select_related("store", "file").filter(pk=pk, kind__in=kinds).first()
    if upload is None or (upload.owner_id != request.user.pk and level_of(request) != Level.ADMIN):
        raise NotFound(f"There is no upload {pk} of {request.user.username}.", remedy="Begin with a new upload.")
    return upload


def _own(request: Request, pk: int, kinds: Sequence[str] = _RESUMABLE) -> Upload:
    upload = _visible(request, pk, kinds)
    if upload.owner_id != request.user.pk:
        raise LevelTooLow(f"Upload {pk} is {upload.owner_name}'s; only they go on with it.")
    return upload
