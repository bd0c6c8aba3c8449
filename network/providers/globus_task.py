"""One task at Globus: how it is asked for, where it stands, how it is ended. What it means: globus_outcomes.

A task is asked for under a submission id that is remembered first: asked for again under the same one, it is not made a
second time, and its own id is told. What is remembered is `submission:<id>` and then the id of the task.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import globus_sdk
from django.conf import settings

from librarian.common.texts import storable
from network.providers.base import Parcel, Sending
from network.providers.globus_trouble import GlobusBusy, GlobusNoCollection, GlobusNoTask, GlobusProblem, asking

SUBMISSION = "submission:"
LABEL = "batch with "
MOST_LABEL = 128
SAID_CHARACTERS = 500
TASK = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Item:
    """A parcel, and where Globus finds its copy."""

    parcel: Parcel
    collection: str
    path: str


@dataclass(frozen=True, slots=True)
class Task:
    """What Globus says of a task; `said` is why it waits or failed, in its words."""

    id: str
    status: str
    source: str
    bytes_transferred: int
    is_paused: bool
    faults: int
    nice_status: str
    said: str

    @property
    def has_ended(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED")


# --- Asking for one ---------------------------------------------------------------------------------------------------


def refuse_one_too_many(client: globus_sdk.TransferClient) -> None:
    """Raise GlobusBusy when as many tasks of ours as are allowed have not ended."""
    with asking("list our tasks at Globus"):
        listed = client.task_list(filter="status:ACTIVE,INACTIVE/type:TRANSFER", limit=1000)
        count = sum(str(task["label"] or "").startswith(LABEL) for task in listed)
    if count >= settings.LIBRARIAN_GLOBUS_TASKS:
        raise GlobusBusy(f"{count} tasks of ours are at Globus, and no more than that may be there at a time.")


def submit(
    client: globus_sdk.TransferClient, destination: str, items: Sequence[Item], sending: Sending
) -> str:  # fmt: skip
    """Ask for one task that brings these items, all of one collection; its id. Raises GlobusProblem."""
    if not sending.task_id:
        with asking("get an id for a task of Globus"):
            sending.remember(SUBMISSION + _checked(client.get_submission_id()["value"]))
    try:
        with asking("submit a task to Globus"):
            task_id = _checked(client.submit_transfer(_document(destination, items, sending))["task_id"])
    except GlobusProblem as problem:
        if not problem.is_unsure:  # it was not made, and will not be
            sending.remember("")
        raise
    sending.remember(task_id)
    return task_id


def _document(destination: str, items: Sequence[Item], sending: Sending) -> globus_sdk.TransferData:
    data = globus_sdk.TransferData(
        items[0].collection,
        destination,
        label=f"{LABEL}{items[0].parcel.file_name}"[:MOST_LABEL].strip(),
        submission_id=sending.task_id.removeprefix(SUBMISSION),
        # Not "exists", which takes what an earlier attempt left half for whole; nor "size", which a file has early when
        # its blocks arrive out of order.
        sync_level="checksum",
        verify_checksum=True,
        preserve_timestamp=True,
        encrypt_data=settings.LIBRARIAN_GLOBUS_ENCRYPT,
        fail_on_quota_errors=True,
        skip_source_errors=False,
        notify_on_succeeded=False,
        notify_on_failed=False,
        notify_on_inactive=True,
    )
    for item in items:
        data.add_item(item.path, item.parcel.destination_path, recursive=item.parcel.is_directory)
    return data


def _checked(given: Any) -> str:
    """An id that Globus gave, as it is remembered and put into addresses. Raises ValueError."""
    if not isinstance(given, str) or not TASK.fullmatch(given) or len(SUBMISSION + given) > 64:
        raise ValueError("no id")
    return given


# --- Looking at one ---------------------------------------------------------------------------------------------------


def look(client: globus_sdk.TransferClient, task_id: str) -> Task:
    """Where a task stands. Raises GlobusProblem, of it GlobusNoTask."""
    try:
        with asking("ask Globus about its task"):
            return _read(client.get_task(task_id).data)
    except GlobusNoCollection:
        raise GlobusNoTask(f"Globus knows no task {task_id} of ours.") from None


def _read(told: Mapping[str, Any]) -> Task:
    fatal = told.get("fatal_error") or {}
    words = (
        fatal.get("code"),
        fatal.get("description"),
        told.get("nice_status_short_description") or told.get("nice_status"),
        told.get("nice_status_details"),
    )
    said = ": ".join(dict.fromkeys(str(word) for word in words if word))
    return Task(
        id=str(told["task_id"]),
        status=str(told["status"]),
        source=str(told.get("source_endpoint_id") or "").lower(),
        bytes_transferred=int(told.get("bytes_transferred") or 0),
        is_paused=bool(told.get("is_paused")),
        faults=int(told.get("faults") or 0),
        nice_status=str(told.get("nice_status") or ""),
        said=storable(said, SAID_CHARACTERS),
    )


def cancel(client: globus_sdk.TransferClient, task_id: str) -> None:
    """End a task. Raises GlobusProblem."""
    with asking("cancel a task of Globus"):
        client.cancel_task(task_id)
