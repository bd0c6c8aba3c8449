"""The words of tus 1.0 (https://tus.io/protocols/resumable-upload, version 1.0.0): headers read and written.

Core, creation, creation-with-upload, checksum, termination and expiration. What an upload is and does lives in
`files.services`; this module knows HTTP only.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.utils.http import http_date
from rest_framework.request import Request

from files.models import Upload, UploadContent
from hera_librarian.deletion import DeletionPolicy
from librarian.common.errors import ArchiveError, InvalidRequest

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,termination,expiration"
PIECE_ALGORITHMS = ("sha1", "md5", "sha256", "sha512")
OFFSET_TYPE = "application/offset+octet-stream"
MAX_METADATA_BYTES = 16 * 1024
_KEY = re.compile(r"[!-+\--~]+")  # printable ASCII without blank and comma
_KNOWN_KEYS = (
    "filename", "name", "destination", "filetype", "type", "relativePath", "content", "checksum", "uploader",
    "deletion_policy", "obsid", "null_obsid", "commit",
)  # fmt: skip
_WORDS_OF_TRUTH = {"true": True, "1": True, "yes": True, "": True, "false": False, "0": False, "no": False}


class UnsupportedTus(ArchiveError):
    code = "unsupported_tus_version"
    status = 412
    remedy = f"Send 'Tus-Resumable: {VERSION}'."


class LengthRequired(ArchiveError):
    code = "length_required"
    status = 411
    remedy = "Send a Content-Length; a body in chunks of unknown length is not taken. Split large ones into pieces."


class WrongContentType(ArchiveError):
    code = "unsupported_media_type"
    status = 415
    remedy = f"Send the bytes with 'Content-Type: {OFFSET_TYPE}'."


@dataclass(frozen=True, slots=True)
class Metadata:
    """What Upload-Metadata said of the product."""

    raw: str
    destination: str
    content: str = UploadContent.FILE
    checksum: str = ""
    uploader: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


def require_version(request: Request) -> None:
    """Raise UnsupportedTus unless the caller speaks our version of the protocol."""
    said = request.headers.get("Tus-Resumable", "")
    if said != VERSION:
        raise UnsupportedTus(f"Tus-Resumable is {said!r}; this server speaks {VERSION}." if said else
                             "The request has no Tus-Resumable header.")  # fmt: skip


def read_number(request: Request, header: str) -> int:
    """A header that is a number of bytes. Raises InvalidRequest."""
    text = request.headers.get(header)
    if text is None:
        raise InvalidRequest(f"The request has no {header} header.", remedy=f"Send {header} in bytes.")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidRequest(f"{header} is {text[:40]!r}, not a number of bytes.", remedy=f"Send {header} in bytes.")
    return int(text)


def read_length(request: Request) -> int:
    """Upload-Length of a new upload. Raises InvalidRequest; a length to be told later is not taken."""
    if "Upload-Defer-Length" in request.headers:
        raise InvalidRequest(
            "The length of an upload has to be known when it begins.", remedy="Send Upload-Length; room is held for it."
        )
    return read_number(request, "Upload-Length")


def piece_bytes(request: Request) -> int:
    """Length of the body. Raises LengthRequired, WrongContentType."""
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower() or not request.headers.get("Content-Length"):
        raise LengthRequired("The request does not say how long its body is.")
    if request.content_type.partition(";")[0].strip().lower() != OFFSET_TYPE:
        raise WrongContentType(f"The body is {request.content_type or 'of no type'}, not {OFFSET_TYPE}.")
    return read_number(request, "Content-Length")


def piece_checksum(request: Request) -> tuple[str, bytes] | None:
    """Upload-Checksum: algorithm and digest of the body. Raises InvalidRequest."""
    text = request.headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    if algorithm not in PIECE_ALGORITHMS:
        raise InvalidRequest(
            f"Upload-Checksum names the algorithm {algorithm[:20]!r}.", remedy=f"Use {', '.join(PIECE_ALGORITHMS)}."
        )
    try:
        return algorithm, base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("Upload-Checksum has no base64 digest after the algorithm.") from None


# --- Metadata ---------------------------------------------------------------------------------------------------------


def read_metadata(request: Request) -> Metadata:
    """Upload-Metadata as a whole. Raises InvalidRequest naming the key that is wrong."""
    raw = request.headers.get("Upload-Metadata", "")
    if len(raw) > MAX_METADATA_BYTES:
        raise InvalidRequest(f"Upload-Metadata has {len(raw)} bytes; {MAX_METADATA_BYTES} are allowed.")
    values = _pairs(raw)
    destination = values.get("destination") or values.get("filename") or values.get("name") or ""
    content = values.get("content", UploadContent.FILE)
    if content not in UploadContent.values:
        raise _bad("content", content, f"one of {', '.join(UploadContent.values)}")
    if not destination and content == UploadContent.BATCH:
        destination = "batch.tar"  # names nothing: each product comes with its own
    if not destination:
        raise InvalidRequest(
            "Upload-Metadata names no file.",
            remedy="Send 'filename' with the name as base64 (UTF-8) in Upload-Metadata.",
        )
    return Metadata(
        raw=raw,
        destination=destination,
        content=content,
        checksum=values.get("checksum", ""),
        uploader=values.get("uploader", ""),
        fields=_fields(values),
    )


def _pairs(raw: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in raw.split(","))):
        key, _, encoded = pair.partition(" ")
        if not _KEY.fullmatch(key) or key in values:
            raise InvalidRequest(f"Upload-Metadata has the key {key[:40]!a} twice, or it is not a word.")
        try:
            text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise InvalidRequest(f"The value of {key[:40]!a} in Upload-Metadata is not base64 of UTF-8 text.") from None
        if "\0" in text:
            raise InvalidRequest(f"The value of {key[:40]!a} in Upload-Metadata has a NUL character.")
        values[key] = text
    return values


def _fields(values: dict[str, str]) -> dict[str, Any]:
    """Columns of the upload that the client chose."""
    fields: dict[str, Any] = {"is_committed_when_complete": True}
    if (commit := values.get("commit", "auto")) not in ("auto", "asked"):
        raise _bad("commit", commit, "auto or asked")
    fields["is_committed_when_complete"] = commit == "auto"
    if "deletion_policy" in values:
        policy = values["deletion_policy"].strip().lower()
        if policy not in ("allowed", "disallowed", "0", "1"):
            raise _bad("deletion_policy", policy, "allowed or disallowed")
        fields["deletion_policy"] = int(DeletionPolicy.ALLOWED if policy in ("allowed", "1") else 0)
    if "null_obsid" in values:
        if values["null_obsid"].lower() not in _WORDS_OF_TRUTH:
            raise _bad("null_obsid", values["null_obsid"], "true or false")
        fields["null_obsid"] = _WORDS_OF_TRUTH[values["null_obsid"].lower()]
    if "obsid" in values:
        if not re.fullmatch(r"[0-9]{1,18}", values["obsid"]):
            raise _bad("obsid", values["obsid"], "the start of the observation in whole GPS seconds")
        fields["obsid"] = int(values["obsid"])
    return fields


def _bad(key: str, value: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"{key} in Upload-Metadata is {value[:40]!a}.", remedy=f"Send {expected}, as base64.")


# --- Answers ----------------------------------------------------------------------------------------------------------


def server_headers() -> dict[str, str]:
    """What OPTIONS tells of this server."""
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(settings.LIBRARIAN_MAX_UPLOAD_SIZE_BYTES),
        "Tus-Checksum-Algorithm": ",".join(PIECE_ALGORITHMS),
    }


def upload_headers(upload: Upload, offset_bytes: int) -> dict[str, str]:
    """Where an upload stands."""
    headers = {"Upload-Offset": str(offset_bytes)}
    if upload.finished_at is None and upload.expires_at is not None:
        headers["Upload-Expires"] = http_date(upload.expires_at.timestamp())
    return headers


def outcome_headers(upload: Upload) -> dict[str, str]:
    """How a committed upload ended; nothing for one that goes on."""
    if not upload.outcome:
        return {}
    headers = {"Librarian-Outcome": upload.outcome}
    file = upload.file
    if file is not None:
        headers |= {"Librarian-Name": quote(file.name), "Librarian-Checksum": file.checksum}
        if not file.is_directory:
            headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(file.digest)).decode()}:"
    return headers
