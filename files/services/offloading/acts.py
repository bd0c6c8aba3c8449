"""What people do to offloads: start, pause, go on, stop. Every act is audited."""

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from files.models import Offload, OffloadState
from files.search import compile_search
from files.services.copying import cancel_group
from files.services.copying.destinations import emptied_stores
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest
from librarian.common.inbox import clear_matching
from librarian.common.moves import move
from stores.models import Store

CALLER = "job:run_offloads"
FAILING = "offload_failed"
FINISHED = "offload_done"


class OffloadRunning(Conflict):
    code = "offload_running"
    remedy = "Let it end, or stop it first."


class OffloadOver(Conflict):
    code = "offload_over"
    remedy = "Start a new one; what was copied stays."


def start_offload(
    *,
    store: Store,
    targets: Sequence[Store],
    drains: bool = False,
    search: str = "",
    actor: User | None,
    address: str = "",
) -> Offload:
    """Begin to empty a store: every file gets a verified copy on the first of `targets` that takes it.

    Parameters
    ----------
    store : Store
        That is to be emptied.
    targets : sequence of Store
        In the order in which they are filled.
    drains : bool
        The store is to be taken out of service: it takes no new files from now on.
    search : str
        Only files that match, in the JSON search language; empty: all. Not of one that drains.
    actor : User or None
        Who wants it; None at the command line.
    address : str
        Where the request came from, for the audit trail.

    Raises
    ------
    InvalidRequest, InvalidSearch, OffloadRunning
    """
    _check_targets(store, targets)
    if search and drains:
        raise InvalidRequest(
            f"Store {store.name} is to be taken out of service: a search would leave files on it.",
            remedy="Leave the search out, or empty the store of these files without draining it.",
        )
    if search:
        compile_search(search)
    by = actor.get_username() if actor is not None else ""
    offload = Offload(
        store=store, targets=[target.pk for target in targets], drains=drains, search=search, created_by=by
    )
    facts = {"targets": [target.name for target in targets], "drains": drains, "search": search}
    try:
        with transaction.atomic():
            offload.save(force_insert=True)
            if drains:
                facts["took_new_files"] = bool(
                    Store.objects.filter(pk=store.pk, ingestable=True).update(ingestable=False)
                )
            _record(offload, "start_offload", actor, address, facts)
            clear_matching(code=FINISHED, caller=CALLER, target=store.name, cleared_by="a new offload")
    except IntegrityError:
        raise OffloadRunning(f"Store {store.name} is being emptied already.") from None
    if drains:
        store.ingestable = False
    return offload


def _check_targets(store: Store, targets: Sequence[Store]) -> None:
    if not targets:
        raise InvalidRequest("An offload needs the stores that take the copies.", remedy="Name at least one.")
    emptied = set(emptied_stores().values_list("pk", flat=True))
    for target in targets:
        if target.pk == store.pk:
            raise InvalidRequest(f"Store {store.name} cannot take its own copies.", remedy="Name another store.")
        if target.travelling:
            raise InvalidRequest(
                f"Store {target.name} travels: a copy that is carried away keeps no file here.",
                remedy="Name stores that stay.",
            )
        if target.pk in emptied:
            raise InvalidRequest(
                f"Store {target.name} is being emptied itself, or was.",
                remedy="Name another store; or let this one take new files again first.",
            )


def pause_offload(offload: Offload, *, actor: User | None, address: str = "") -> None:
    """Copy nothing more for now; what is under way is finished. Raises OffloadOver, LostRace."""
    _refuse(offload, unless=OffloadState.RUNNING)
    _move(offload, OffloadState.PAUSED, "pause_offload", actor, address)


def resume_offload(offload: Offload, *, actor: User | None, address: str = "") -> None:
    """Go on, from the first file that is left, with those that had failed too. Raises OffloadOver, LostRace."""
    _refuse(offload, unless=OffloadState.PAUSED)
    _move(offload, OffloadState.RUNNING, "resume_offload", actor, address, looked_up_to=0)


def stop_offload(offload: Offload, *, actor: User | None, address: str = "") -> None:
    """End it as it is: what was copied stays, and so does what may go. Raises OffloadOver, LostRace.

    A store that it drained takes new files again only when a person says so.
    """
    if offload.state not in (OffloadState.RUNNING, OffloadState.PAUSED):
        raise OffloadOver(f"The offload of {offload.store.name} is {offload.state} already.")
    _move(offload, OffloadState.STOPPED, "stop_offload", actor, address, finished_at=timezone.now())


def _refuse(offload: Offload, *, unless: OffloadState) -> None:
    if offload.state != unless:
        raise OffloadOver(
            f"The offload of {offload.store.name} is {offload.state}, not {unless.value}.",
            remedy="Look at its present state.",
        )


def _move(offload: Offload, to: OffloadState, action: str, actor: User | None, address: str, **changes: Any) -> None:
    with transaction.atomic():
        move(offload, to=to, changed_at=timezone.now(), problem="", **changes)
        if to != OffloadState.RUNNING:
            cancel_group(offload.group, because=f"The offload of {offload.store.name} is {to.value}.")
        _record(offload, action, actor, address, {})
        clear_matching(code=FAILING, caller=CALLER, target=offload.store.name, cleared_by=f"a person ({action})")


def _record(offload: Offload, action: str, actor: User | None, address: str, facts: dict[str, Any]) -> None:
    record_act(actor=actor, action=action, subject=f"store {offload.store.name}", facts=facts, address=address)
