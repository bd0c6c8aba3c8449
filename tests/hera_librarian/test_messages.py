"""Shapes of the wire's messages: what is read, what is refused and why, and how values are written."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import ValidationError

from hera_librarian import exceptions
from hera_librarian.authlevel import AuthLevel
from hera_librarian.deletion import DeletionPolicy
from hera_librarian.models.admin import AdminAddLibrarianRequest, AdminStoreListResponse
from hera_librarian.models.checkin import CheckinStatusResponse, CheckinUpdateRequest
from hera_librarian.models.clone import CloneBatchInitiationResponse
from hera_librarian.models.errors import ErrorClearRequest, ErrorClearResponse
from hera_librarian.models.providers import (
    GlobusAsyncTransferManager,
    LocalAsyncTransferManager,
    RsyncAsyncTransferManager,
)
from hera_librarian.models.search import FileSearchRequest
from hera_librarian.models.uploads import UploadInitiationRequest
from hera_librarian.models.users import UserAdministrationCreationRequest
from hera_librarian.transfer import TransferStatus

pytestmark = pytest.mark.database_independent


def upload(**changes):
    given = {
        "upload_size": 18,
        "upload_checksum": "md5:::" + "0" * 32,
        "upload_name": "hello.txt",
        "destination_location": "2459122/hello.txt",
        "uploader": "me",
    }
    return UploadInitiationRequest.model_validate({**given, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T12:16:09.281204",
        "2026-11-20 12:16:09.281204",
        "2026-11-20T12:16:09.281204Z",
        "2026-11-20T14:16:09.281204+02:00",
    ],
)
def test_times_are_read_in_any_form_and_written_naive_in_utc(text):
    answer = ErrorClearResponse(id=1, cleared_time=text, cleared=True)
    assert answer.cleared_time == datetime(2026, 11, 20, 12, 16, 9, 281204)
    assert '"2026-11-20T12:16:09.281204"' in answer.model_dump_json()


def test_microseconds_are_written_only_when_there_are_any():
    at = datetime(2026, 11, 20, 12, 16, 9, tzinfo=timezone(timedelta(hours=2)))
    assert '"2026-11-20T10:16:09"' in ErrorClearResponse(id=1, cleared_time=at, cleared=True).model_dump_json()
    window = FileSearchRequest(create_time_window=[1_700_000_000, "2026-01-01"]).create_time_window
    assert window == (datetime.fromtimestamp(1_700_000_000, UTC).replace(tzinfo=None), datetime(2026, 1, 1))


def test_paths_may_be_path_objects_and_travel_as_text():
    message = upload(upload_name=Path("hello.txt"), destination_location=Path("2459122/hello.txt"))
    assert '"destination_location":"2459122/hello.txt"' in message.model_dump_json()


def test_unknown_fields_are_ignored():
    assert upload(librarian_features=["partial_batch"]).upload_size == 18


@pytest.mark.parametrize("size", [2**63, -(2**63) - 1, "x", 1.5, None, True])
def test_sizes_fit_into_64_bits(size):
    with pytest.raises(ValidationError):
        upload(upload_size=size)
    assert upload(upload_size=str(2**63 - 1)).upload_size == 2**63 - 1


@pytest.mark.parametrize("number", [2**31, -1, "x", None, False])
def test_ids_fit_into_32_bits(number):
    with pytest.raises(ValidationError):
        ErrorClearRequest(id=number)
    with pytest.raises(ValidationError):
        CheckinUpdateRequest(source_transfer_ids=[number], destination_transfer_ids=[], new_status=1)


def test_names_fit_into_their_columns():
    assert upload(uploader="x" * 256)
    for uploader in ("", "x" * 257):
        with pytest.raises(ValidationError, match="String should have at"):
            upload(uploader=uploader)


def test_enumerations_are_numbers_on_the_wire():
    assert CheckinUpdateRequest(source_transfer_ids=[], destination_transfer_ids=[], new_status=4).new_status is (
        TransferStatus.FAILED
    )
    with pytest.raises(ValidationError):
        CheckinUpdateRequest(source_transfer_ids=[], destination_transfer_ids=[], new_status="FAILED")
    states = CheckinStatusResponse(source_transfer_status={1: None}, destination_transfer_status={5: 1, "1": 3})
    said = states.model_dump_json(exclude={"failures"})  # which is ours
    assert said == '{"source_transfer_status":{"1":null},"destination_transfer_status":{"5":1,"1":3}}'
    user = UserAdministrationCreationRequest(username="a", password="b", permission=100)
    assert user.permission is AuthLevel.ADMIN
    assert '"permission":100' in user.model_dump_json()


def test_secrets_do_not_show_in_logs():
    message = UserAdministrationCreationRequest(username="a", password="hidden", permission=1)
    assert "hidden" not in repr(message)
    peer = AdminAddLibrarianRequest(librarian_name="b", url="http://x", port=80, authenticator="me:hidden")
    assert "hidden" not in repr(peer)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ({"destination_endpoint": "0f0e", "native_app": False, "task_id": ""}, GlobusAsyncTransferManager),
        ({"hostname": "archive01", "transfer_attempted": False}, RsyncAsyncTransferManager),
        ({"hostnames": ["a", "b"], "bytes_transfer": None}, LocalAsyncTransferManager),
        ({"hostnames": ["a"], "ssh_host": "a", "new": 1}, LocalAsyncTransferManager),
    ],
)
def test_the_shape_alone_tells_the_way_bytes_move(shape, kind):
    answer = {"available_bytes_on_store": 1, "store_name": "s", "uploads": [], "async_transfer_providers": {"x": shape}}
    message = CloneBatchInitiationResponse.model_validate(answer)
    assert type(message.async_transfer_providers["x"]) is kind


def test_lists_are_arrays_at_the_top():
    stores = AdminStoreListResponse.model_validate_json(
        '[{"name":"s","store_type":"local","free_space":-1,"ingestable":true,"available":false,"enabled":true}]'
    )
    assert stores.root[0].free_space == -1


def test_a_slip_of_the_pen_permits_no_erasure():
    assert [DeletionPolicy.from_str(text) for text in ("allowed", "ALLOWED", " 1 ")] == [DeletionPolicy.ALLOWED] * 3
    assert {DeletionPolicy.from_str(text) for text in ("disallowed", "0", "", "alowed", "2", "yes")} == {
        DeletionPolicy.DISALLOWED
    }


def test_scripts_that_catch_errors_of_the_librarian_catch_its_absence_too():
    problem = exceptions.LibrarianTimeoutError(url="http://x")
    assert isinstance(problem, exceptions.LibrarianError)
    assert problem.url == "http://x"
    failed = exceptions.LibrarianHTTPError("ping/", 500, "Broken.", "Mend it.", {"reason": "Broken."})
    assert not isinstance(failed, exceptions.LibrarianError)
    assert (failed.status_code, failed.reason, failed.full_response) == (500, "Broken.", {"reason": "Broken."})
