"""Wire protocol: `upload/stage`, `upload/commit`, `admin/add_file`, `admin/instance/delete_local`."""

from typing import NoReturn
from urllib.parse import quote

from django.conf import settings
from rest_framework.request import Request

from accounts.levels import Level
from accounts.permissions import wire_level_required
from files.models import Instance, Upload, UploadKind
from files.services.commit import commit_upload
from files.services.in_place import register_in_place
from files.services.uploads import stage_upload, staging_location
from hera_librarian.models.admin import (
    AdminCreateFileRequest,
    AdminCreateFileResponse,
    AdminDeleteInstanceRequest,
)
from hera_librarian.models.providers import LocalTransferManager
from hera_librarian.models.uploads import (
    UploadCompletionRequest,
    UploadInitiationRequest,
    UploadInitiationResponse,
)
from librarian.common.errors import (
    ArchiveError,
    ContentMismatch,
    InvalidChecksum,
    InvalidRequest,
    NameTaken,
)
from librarian.common.wire import WireFailure, WireView, aware
from stores.backends.base import MissingBytes, PlaceOccupied
from stores.models import Store
from stores.wire import find_store


class StageUpload(WireView):
    """`upload/stage`: room in staging for one product. Each call is a new upload; nobody else's is touched."""

    request_model = UploadInitiationRequest
    permission_classes = [wire_level_required(Level.READAPPEND)]
    success_status = 201

    def answer(self, request: Request, message: UploadInitiationRequest) -> UploadInitiationResponse:
        upload = stage_upload(
            owner=request.user,
            upload_name=message.upload_name,
            destination=message.destination_location,
            size_bytes=message.upload_size,
            checksum=message.upload_checksum,
            uploader=message.uploader,
            source=request.user.username,
            kind=UploadKind.WIRE,
        )
        store = upload.store
        return UploadInitiationResponse(
            available_bytes_on_store=max(0, store.usable_bytes - store.promised_bytes - upload.size_bytes),
            store_name=store.name,
            staging_name=upload.token,
            staging_location=staging_location(upload),
            upload_name=message.upload_name,
            destination_location=message.destination_location,
            transfer_providers={"local": LocalTransferManager(hostnames=hosts_of(store))},
            transfer_id=upload.pk,
        )


class CommitUpload(WireView):
    """`upload/commit`: verify what lies in staging and keep it. Answers once it is safe, with an empty body."""

    request_model = UploadCompletionRequest
    permission_classes = [wire_level_required(Level.READAPPEND)]

    def answer(self, request: Request, message: UploadCompletionRequest) -> None:
        upload = find_upload(request, message)
        try:
            file = commit_upload(
                upload_id=upload.pk,
                destination=message.destination_location,
                deletion_policy=int(message.deletion_policy),
                null_obsid=message.null_obsid,
                seen=upload,
            )
        except ArchiveError as error:
            refuse_commit(error)
        self.headers["Librarian-Name"] = quote(file.name)  # as filed, which may not be as sent


class AddFile(WireView):
    """`admin/add_file`: a file that lies on a store already. Its bytes are read and compared before it is believed."""

    request_model = AdminCreateFileRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: AdminCreateFileRequest) -> AdminCreateFileResponse:
        store = find_store(message.store_name)
        if store.kind != Store.Kind.POSIX:
            raise WireFailure(
                400,
                f"Store {store.name} is not a local store.",
                "Upload the file instead, or name a store that is a directory.",
                code="not_a_local_store",
            )
        try:
            _, already_known = register_in_place(
                actor=request.user,
                name=message.name,
                store=store,
                location=message.path,
                uploader=message.uploader,
                source=message.source,
                checksum=message.checksum,
                size_bytes=message.size,
                first_registered_at=aware(message.create_time),
            )
        except ArchiveError as error:
            refuse_file(error, path=message.path)
        return AdminCreateFileResponse(already_exists=already_known, file_exists=True, success=True)


class DeleteLocalInstance(WireView):
    """`admin/instance/delete_local`: refused, with and without `delete_file`.

    Forgetting the row would leave bytes that nobody knows of, and removing the bytes needs a certificate that other
    copies were read again just now (design sections 4 and 9).
    """

    request_model = AdminDeleteInstanceRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: AdminDeleteInstanceRequest) -> NoReturn:
        instance = Instance.objects.select_related("file", "store").filter(pk=message.instance_id).first()
        extra = {"success": False, "instance_id": message.instance_id}
        if instance is None:
            raise WireFailure(
                400,
                f"Instance does not exist: there is no instance {message.instance_id} here.",
                "Search for instances to learn their ids.",
                code="not_found",
                **extra,
            )
        raise WireFailure(
            400,
            f"The copy of {instance.file.name} on store {instance.store.name} is kept: this site erases nothing on "
            "request, and does not forget copies that lie on its stores.",
            "Leave the copy where it is; to stop a store from taking new files, switch it off.",
            code="erasing_refused",
            **extra,
        )


def hosts_of(store: Store) -> list[str]:
    """Names of the hosts on which a client sees the store's staging area."""
    return store.hosts or [settings.LIBRARIAN_HOST_NAME]


def find_upload(request: Request, message: UploadCompletionRequest) -> Upload:
    """The caller's own upload that a commit speaks of. Raises WireFailure; nobody's upload is changed then."""
    upload = Upload.objects.filter(pk=message.transfer_id, kind=UploadKind.WIRE).first()
    if upload is None:
        raise WireFailure(
            400,
            f"Could not find transfer {message.transfer_id}.",
            "Begin with upload/stage and send the transfer_id of its answer.",
            code="no_such_upload",
        )
    if upload.owner_id != request.user.pk:
        raise WireFailure(
            401,
            f"Transfer {upload.pk} was staged by another account than {request.user.username}.",
            "Commit with the account that staged the upload, or stage it anew.",
            code="not_your_upload",
        )
    if upload.store.name != message.store_name:
        raise WireFailure(
            400,
            f"Store {message.store_name} is not where transfer {upload.pk} was staged; that is {upload.store.name}.",
            "Send the fields of the answer to upload/stage back unchanged.",
            code="other_store",
        )
    return upload


def refuse_commit(error: ArchiveError) -> NoReturn:
    """Raise a failed commit with the status and text that clients match; what was found stands in the remedy."""
    told = f"{error.reason} {error.suggested_remedy}"
    for kinds, status, reason in (
        ((MissingBytes,), 404, "File not found in staging area."),
        ((ContentMismatch,), 406, "File does not have a valid checksum or size"),
        ((NameTaken, PlaceOccupied), 409, "File already exists on store."),
    ):
        if isinstance(error, kinds):
            raise WireFailure(status, reason, told, code=error.code, **error.extra) from error
    raise error


def refuse_file(error: ArchiveError, *, path: str) -> NoReturn:
    """Raise a refused `add_file` so that clients, which look for `File` or `Store` in a 400, show its reason."""
    if isinstance(error, MissingBytes):
        raise WireFailure(400, f"File {path} does not exist.", error.suggested_remedy, code=error.code) from error
    if isinstance(error, ContentMismatch | NameTaken | InvalidRequest | InvalidChecksum) or error.status < 500:
        reason = error.reason if error.reason.startswith(("File ", "Store ")) else f"File {path}: {error.reason}"
        raise WireFailure(400, reason, error.suggested_remedy, code=error.code, **error.extra) from error
    raise error
