"""Globus: a service that moves the bytes of a batch from our collection to the one that the peer named.

One task brings the files of a batch that lie in one collection of ours; those in another wait for the next. A task runs
at Globus, for days if need be: a job looks at it for a while, then leaves it alone and looks again later.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import globus_sdk
from django.conf import settings

from librarian.common.errors import Misconfigured
from network.models import Peer
from network.providers import globus_outcomes, globus_task, trouble
from network.providers.base import Offer, Outcome, Parcel, Provider, Sending, failed, stopped, waiting
from network.providers.globus_account import configuration_problem, transfer_client
from network.providers.globus_task import SUBMISSION, Item, Task
from network.providers.globus_trouble import GlobusBusy, GlobusNoTask, GlobusProblem

log = logging.getLogger(__name__)

WATCHED_SECONDS = 30.0  # so long a new task is looked at before the batch is put back: small ones end meanwhile
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


class GlobusProvider(Provider):
    """Sends by a task at Globus, with the app of the settings."""

    name = "globus"

    def offered_as(self, offer: Offer) -> bool:
        return isinstance(offer.get("destination_endpoint"), str)

    def why_not(self, peer: Peer, offer: Offer) -> str | None:
        if (problem := configuration_problem()) is not None:
            return problem
        collection = _collection_of(offer)
        if collection not in peer.globus_endpoints:
            return (
                f"{collection[:64]} is none of the Globus collections that {peer.name} may name; an administrator "
                "enters on its page those to which files may be sent."
            )
        return None

    def send(self, peer: Peer, offer: Offer, parcels: Sequence[Parcel], sending: Sending) -> Iterator[Outcome]:
        destination = _collection_of(offer)
        accepted, refused = _sort_out(destination, parcels, is_new=not sending.task_id)
        outcomes: list[Outcome] = []
        if accepted:
            try:
                outcomes = _carry(destination, accepted, sending)
            except Misconfigured as error:  # since why_not looked
                outcomes = _left_alone(accepted, sending, GlobusProblem(error.reason, remedy=error.suggested_remedy))
            except GlobusProblem as problem:
                outcomes = _left_alone(accepted, sending, problem)
        yield from refused
        yield from outcomes

    def abandon(self, task_id: str) -> None:
        if task_id.startswith(SUBMISSION):
            log.warning("a task was asked for at Globus and not confirmed; if it runs, its files are not wanted")
            return
        try:
            globus_task.cancel(transfer_client(), task_id)
        except (GlobusProblem, Misconfigured) as problem:
            log.warning("the Globus task %s could not be cancelled: %s", task_id, problem.reason)


def _collection_of(offer: Offer) -> str:
    return str(offer["destination_endpoint"]).lower()


# --- What can go ------------------------------------------------------------------------------------------------------


def _sort_out(destination: str, parcels: Sequence[Parcel], *, is_new: bool) -> tuple[list[Item], list[Outcome]]:
    """Those that Globus can be asked to bring, and the outcomes of the others."""
    accepted: list[Item] = []
    refused: list[Outcome] = []
    known = Counter(parcel.destination_path for parcel in parcels)
    default = settings.LIBRARIAN_GLOBUS_ENDPOINT.lower()
    for parcel in parcels:
        item = _item(parcel)
        problem = trouble.path_problem(parcel.destination_path)
        if not problem and known[parcel.destination_path] > 1:
            problem = "two files of the batch would lie there"
        if not problem and isinstance(item, Item) and destination in (item.collection, default):
            problem = "that is our own collection, in which our stores lie"
        if problem:
            refused.append(trouble.destination_refused(parcel, problem))
        elif isinstance(item, Outcome):
            refused.append(item)
        elif is_new and parcel.source.location is not None and (bad := trouble.look_at_source(parcel)) is not None:
            refused.append(bad)
        else:
            accepted.append(item)
    return accepted, refused


def _item(parcel: Parcel) -> Item | Outcome:
    """Where Globus finds the copy, or why it does not."""
    store = parcel.source.backend.store
    collection = (store.globus_endpoint or settings.LIBRARIAN_GLOBUS_ENDPOINT).lower()
    if store.kind not in (store.Kind.POSIX, store.Kind.SSH):
        return _not_there(parcel, f"it lies on store {store.name}, which is no directory")
    if not collection:
        return _not_there(parcel, f"store {store.name} has no Globus collection, and the settings name none")
    path = f"{str(store.configuration.get('root', '')).rstrip('/')}/{parcel.source.place}"
    root = settings.LIBRARIAN_GLOBUS_ROOT.rstrip("/")
    if not path.startswith(f"{root}/"):
        return _not_there(parcel, f"{path} does not lie below LIBRARIAN_GLOBUS_ROOT, {root}")
    return Item(parcel, collection, path[len(root) :])


def _not_there(parcel: Parcel, why: str) -> Outcome:
    return failed(
        parcel,
        code="copy_not_in_a_collection",
        reason=f"Globus cannot reach the copy of {parcel.file_name}: {why}.",
        remedy="Give its store the id of a collection, or use another provider for this peer.",
    )


# --- The task ---------------------------------------------------------------------------------------------------------


def _carry(destination: str, items: Sequence[Item], sending: Sending) -> list[Outcome]:
    """Follow the task of the batch, or ask for one. Raises GlobusProblem."""
    client = transfer_client()
    is_new = not sending.task_id or sending.task_id.startswith(SUBMISSION)
    if is_new:
        if not sending.task_id:
            globus_task.refuse_one_too_many(client)
        globus_task.submit(client, destination, _largest_group(items), sending)
    task = _watch(client, items, sending, seconds=WATCHED_SECONDS if is_new else 0.0)
    if task is None:
        return [stopped(item.parcel) for item in items]
    ours = [item for item in items if item.collection == task.source]
    others = [item for item in items if item.collection != task.source]
    if task.has_ended:
        outcomes = globus_outcomes.ended(client, task, ours)
        sending.remember("")
    else:
        outcomes = globus_outcomes.under_way(client, task, ours)
    return [*outcomes, *map(_with_the_next, others)]


def _largest_group(items: Sequence[Item]) -> list[Item]:
    """A task has one source: the collection of ours that most of the batch lie in."""
    (collection, _), *_ = Counter(item.collection for item in items).most_common(1)
    return [item for item in items if item.collection == collection]


def _watch(
    client: globus_sdk.TransferClient, items: Sequence[Item], sending: Sending, *, seconds: float
) -> Task | None:  # fmt: skip
    """Look at the task until it ends or for so long; None when we were told to stop, and the task goes on."""
    until, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while True:
        task = globus_task.look(client, sending.task_id)
        globus_outcomes.share_out(task, [item for item in items if item.collection == task.source], sending)
        if task.has_ended or time.monotonic() >= until:
            return task
        if not _rest(min(pause, max(0.0, until - time.monotonic())), sending):
            return None
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _rest(seconds: float, sending: Sending) -> bool:
    """Do nothing for so long; False as soon as we are told to stop."""
    ends = time.monotonic() + seconds
    while sending.goes_on():
        if (left := ends - time.monotonic()) <= 0:
            return True
        time.sleep(min(left, 0.5))
    return False


def _left_alone(items: Sequence[Item], sending: Sending, problem: GlobusProblem) -> list[Outcome]:
    """What a problem with Globus means. Raises it when nothing was begun, so that another way may be used."""
    if isinstance(problem, GlobusNoTask):
        sending.remember("")
    elif not sending.task_id and not isinstance(problem, GlobusBusy):
        raise problem
    reason, remedy = problem.reason, problem.suggested_remedy
    return [waiting(item.parcel, code=problem.code, reason=reason, remedy=remedy) for item in items]


def _with_the_next(item: Item) -> Outcome:
    return waiting(
        item.parcel,
        code="globus_under_way",
        reason=f"{item.parcel.file_name} lies in another collection than the files that Globus moves now.",
        remedy="It goes with the next task.",
    )
