"""What a task at Globus means for the files of a batch: how far they are, why they wait, what became of each."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import globus_sdk

from librarian.common.texts import storable
from network.providers.base import Outcome, Sending, failed, sent, waiting
from network.providers.globus_blame import blame
from network.providers.globus_task import Item, Task
from network.providers.globus_trouble import asking

MOST_EVENTS = 100
REASON_CHARACTERS = 1_000
# After these a file is no longer of the batch: the others go with the next task, and this comes to an end.
FOR_GOOD = ("copy_missing", "copy_unreadable", "destination_gone")
FINE = ("", "OK", "Queued")  # nice statuses of a task that gets on


def share_out(task: Task, items: Sequence[Item], sending: Sending) -> None:
    """Report its bytes, of which Globus tells for all files together, in proportion to their sizes."""
    total = sum(item.parcel.size_bytes for item in items)
    share = min(1.0, task.bytes_transferred / total) if total else 0.0
    for item in items:
        sending.progress(item.parcel.transfer_id, int(item.parcel.size_bytes * share))


def under_way(client: globus_sdk.TransferClient, task: Task, items: Sequence[Item]) -> list[Outcome]:
    """Why a task that has not ended is not there yet."""
    said = _standing(client, task)
    reason = storable(said.reason.strip(), REASON_CHARACTERS)
    return [replace(said, transfer_id=item.parcel.transfer_id, reason=reason) for item in items]


def _standing(client: globus_sdk.TransferClient, task: Task) -> Outcome:
    """What is said of all its files. A fault does not fail a task: Globus tries again by itself."""
    waits = partial(Outcome, 0, passing=True, is_waiting=True)
    if task.status == "INACTIVE":
        return waits(
            code="globus_inactive",
            reason=f"Globus task {task.id} does not go on: a login has expired. {task.said}",
            remedy="Log in at app.globus.org to the collections of the task, which goes on by itself then.",
        )
    if task.is_paused:
        return waits(
            code="globus_paused",
            reason=f"Globus task {task.id} is paused. {task.said}",
            remedy="The people of one of its collections paused it; ask them. To use another way, cancel the batch.",
        )
    if task.faults and task.nice_status not in FINE:
        last = next((str(event.get("details") or event.get("description")) for event in _errors_of(client, task)), "")
        return waits(
            code="globus_faults",
            reason=f"Globus task {task.id} meets errors and tries again by itself. {task.said} {last}",
            remedy="Mend what it names; it goes on by itself. To use another way, cancel the batch.",
        )
    return waits(
        code="globus_under_way",
        reason=f"Globus moves the files in its task {task.id}.",
        remedy="Nothing has to be done; it is asked again by itself.",
    )


def ended(client: globus_sdk.TransferClient, task: Task, items: Sequence[Item]) -> list[Outcome]:
    """What a task that has ended means for each of its files."""
    if task.status == "SUCCEEDED":
        return [sent(item.parcel) for item in items]
    there = _arrived(client, task)
    guilty = blame({item.path: item.parcel for item in items}, _errors_of(client, task))
    return [_of_failed(task, item, there, guilty) for item in items]


def _of_failed(task: Task, item: Item, there: set[str], guilty: Mapping[int, Outcome]) -> Outcome:
    parcel = item.parcel
    if not parcel.is_directory and posixpath.normpath(parcel.destination_path) in there:
        return sent(parcel)
    if (own := guilty.get(parcel.transfer_id)) is not None:
        return own
    reason = f"Globus task {task.id} failed. {task.said}".strip()
    if any(other.code in FOR_GOOD for other in guilty.values()):
        remedy = "Another file of the batch was the reason; this one goes with the next task."
        return waiting(parcel, code="globus_task_failed", reason=reason, remedy=remedy)
    if guilty:  # the staging area as a whole: full, or closed to us
        return replace(next(iter(guilty.values())), transfer_id=parcel.transfer_id)
    remedy = "It is submitted anew by itself; app.globus.org shows what happened to the task."
    return failed(parcel, code="globus_task_failed", reason=reason, remedy=remedy, passing=True)


def _arrived(client: globus_sdk.TransferClient, task: Task) -> set[str]:
    """Destinations of the files that it has brought. Of a directory product only the members are told of."""
    with asking("ask Globus what its task has brought"):
        pages = client.paginated.task_successful_transfers(task.id)
        return {posixpath.normpath(str(each["destination_path"])) for each in pages.items()}


def _errors_of(client: globus_sdk.TransferClient, task: Task) -> list[Mapping[str, Any]]:
    """Its latest events that tell of an error, the newest first."""
    with asking("ask Globus for the events of its task"):
        return [event for event in client.task_event_list(task.id, limit=MOST_EVENTS) if event.get("is_error")]
