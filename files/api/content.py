"""`GET` and `HEAD /api/v3/files/{name}/content`: the bytes of a file, of a directory product, or of one member."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from files.api.ranges import ByteRange, RangeNotSatisfiable, asked_range, is_unchanged
from files.models import File, FileMember
from files.queries import file_named, member_at
from files.services.download import KnownCopies, ReadableCopy, begin_reading, copies_of, open_copy
from files.services.tar_stream import tar_blocks, tar_size
from librarian.common.errors import NotFound
from librarian.common.filters import refuse_unknown_parameters, shown

OCTETS = "application/octet-stream"
TAR = "application/x-tar"
_DESCRIPTION = """\
A flat file is answered as its bytes, a directory product as one tar stream (POSIX pax; the same bytes every time), and
with `member` one entry of a directory product as its bytes.

`ETag` is strong: the digest that the catalogue holds. Flat files and members take one `Range` (a request for several is
answered in whole), `If-Range`, `If-None-Match` and `If-Match`, and carry `Repr-Digest: sha-256=:…:` (RFC 9530) of the
whole, by which the bytes can be checked after the download.

A copy that is missing or has the wrong size is not served: the next copy is. A read that fails on the way closes the
connection before `Content-Length` bytes have come. A caller that finds them wrong asks for another copy: `store`."""


class AnyAccept(DefaultContentNegotiation):
    """Takes every Accept header: the bytes have the type they have, and errors are JSON."""

    def select_renderer(
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class FileContent(APIView):
    """Downloads. The path of a request never reaches the file system: members are looked up in the catalogue."""

    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="files_content",
        summary="Download a file",
        description=_DESCRIPTION,
        tags=["files"],
        parameters=[
            OpenApiParameter("member", str, description="Path of one entry of a directory product, as in its members."),
            OpenApiParameter("store", str, description="Read the copy on the store of this name, and no other."),
            OpenApiParameter("Range", str, "header", description="One range of bytes, such as `bytes=0-1023`."),
            OpenApiParameter("If-Range", str, "header", description="ETag for which the range is meant."),
            OpenApiParameter("If-None-Match", str, "header", description="ETags that the caller has already."),
        ],
        responses={
            (200, OCTETS): OpenApiResponse(OpenApiTypes.BINARY, description="The whole."),
            (206, OCTETS): OpenApiResponse(OpenApiTypes.BINARY, description="The range that was asked for."),
            304: OpenApiResponse(description="The caller has these bytes."),
        },
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        return self._answer(request, name)

    @extend_schema(exclude=True)
    def head(self, request: Request, name: str) -> HttpResponseBase:
        return self._answer(request, name)

    def _answer(self, request: Request, name: str) -> HttpResponseBase:
        refuse_unknown_parameters(request.query_params, ["member", "store"])
        file = file_named(name)
        copies = _copies(request, file)
        member = member_at(file, request.query_params["member"]) if "member" in request.query_params else None
        if file.is_directory and member is None:
            return _answer_tar(request, file, copies)
        return _answer_bytes(request, file, member, copies)

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(exc, RangeNotSatisfiable):
            response.headers["Content-Range"] = f"bytes */{exc.extra['size_bytes']}"
        return response


# --- Flat files and members -------------------------------------------------------------------------------------------


def _answer_bytes(
    request: Request, file: File, member: FileMember | None, copies: KnownCopies | None
) -> HttpResponseBase:
    sha256 = member.sha256 if member else file.digest
    etag = f'"{sha256}"'
    headers = {
        **_common_headers(etag, member.path.rpartition("/")[2] if member else file.base_name),
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:",
    }
    if is_unchanged(request, etag):
        return _without_body(304, headers)
    if request.method == "HEAD":
        copy = open_copy(file=file, member=member, copies=copies)
        return _without_body(200, {**headers, "Content-Type": OCTETS, "Content-Length": str(copy.size_bytes)})
    if settings.LIBRARIAN_ACCEL_PREFIX:
        copy = open_copy(file=file, member=member, copies=copies)
        if copy.instance.store.kind == "posix":
            return _handed_to_nginx(copy, headers)
    size_bytes = member.size_bytes if member else file.size_bytes
    asked = asked_range(request, size_bytes=size_bytes, etag=etag)
    part = asked or ByteRange(0, size_bytes)
    blocks = begin_reading(file=file, member=member, offset=part.first, length=part.length, copies=copies)
    if asked:
        headers["Content-Range"] = asked.content_range(size_bytes)
    return _streamed(blocks, 206 if asked else 200, OCTETS, part.length, headers)


def _handed_to_nginx(copy: ReadableCopy, headers: dict[str, str]) -> HttpResponse:
    """Let nginx send the bytes, ranges included; the location below the prefix is internal (deploy/)."""
    place = f"{copy.instance.path}/{copy.member.path}" if copy.member else copy.instance.path
    internal = f"{settings.LIBRARIAN_ACCEL_PREFIX.rstrip('/')}/{copy.instance.store.name}/{quote(place)}"
    del headers["Accept-Ranges"]  # nginx says so itself
    return HttpResponse(headers={**headers, "Content-Type": OCTETS, "X-Accel-Redirect": internal})


# --- Directory products -----------------------------------------------------------------------------------------------


def _answer_tar(request: Request, file: File, copies: KnownCopies | None) -> HttpResponseBase:
    etag = f'"tar-{file.digest}"'  # of the stream, which the tree digest determines with the name and the time
    headers = {**_common_headers(etag, f"{file.base_name}.tar"), "Accept-Ranges": "none"}
    if is_unchanged(request, etag):
        return _without_body(304, headers)
    copy = open_copy(file=file, copies=copies)
    size_bytes = tar_size(file)
    if request.method == "HEAD":
        return _without_body(200, {**headers, "Content-Type": TAR, "Content-Length": str(size_bytes)})
    return _streamed(tar_blocks(copy.instance), 200, TAR, size_bytes, headers)


# --- Shared -----------------------------------------------------------------------------------------------------------


def _copies(request: Request, file: File) -> KnownCopies | None:
    """The copies to choose from: None for all of them, or those on the store that `store` names. Raises NotFound."""
    if "store" not in request.query_params:
        return None
    asked, copies = request.query_params["store"], copies_of([file])[file.pk]
    here = [copy for copy in copies.here if copy.store.name == asked]
    if not here:
        remedy = "Leave the parameter out, or name a store of one of the file's instances."
        raise NotFound(f"{file.name} has no copy on a store {shown(asked)}.", remedy=remedy)
    return replace(copies, here=here)


def _common_headers(etag: str, filename: str) -> dict[str, str]:
    return {
        "ETag": etag,
        "Cache-Control": "private, no-cache",  # keep it, but ask each time whether the account may still see it
        "Content-Disposition": content_disposition_header(True, filename) or "attachment",
        "X-Content-Type-Options": "nosniff",
    }


def _streamed(
    blocks: Iterator[bytes], status: int, content_type: str, length: int, headers: dict[str, str]
) -> StreamingHttpResponse:
    response = StreamingHttpResponse(blocks, status=status, content_type=content_type, headers=headers)
    response.headers["Content-Length"] = str(length)
    return response


def _without_body(status: int, headers: dict[str, str]) -> HttpResponse:
    response = HttpResponse(status=status, headers=headers)
    if status == 304:
        del response.headers["Content-Type"]  # there is no body that it could describe
    return response
