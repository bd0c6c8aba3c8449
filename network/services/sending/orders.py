"""What people do to standing orders: add, edit, switch, remove. Every act is audited.

A search is compiled before it is saved, so that what is wrong with it is told to the person who wrote it.
"""

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from files.search import compile_search
from files.services.copying import cancel_group
from files.services.copying.wishes import check_targets
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest, NotFound
from librarian.common.inbox import clear_matching
from network.models import OrderWay, Peer, StandingOrder
from stores.models import Store

LONGEST_NAME = StandingOrder._meta.get_field("name").max_length
LARGEST_PRIORITY = 2**31 - 1
FAILING = "order_failed"
CALLER = "job:choose_files"
CARRYING_CALLER = "job:choose_copies"
EDITABLE = ("name", "search", "way", "peer_name", "targets", "switch_off_full_stores", "priority", "enabled")


class OrderExists(Conflict):
    code = "order_exists"
    remedy = "Choose another name; or edit the order that has it."


def add_order(
    *,
    actor: User | None,
    name: str,
    search: str,
    way: str = OrderWay.PUSH,
    peer_name: str = "",
    targets: Sequence[int] = (),
    switch_off_full_stores: bool = False,
    priority: int = 0,
    enabled: bool = True,
    address: str = "",
) -> StandingOrder:
    """Bring what matches a search to a peer, or to stores of ours, from now on.

    Parameters
    ----------
    actor : User or None
        Who adds it; None at the command line.
    name : str
        For people.
    search : str
        In the JSON search language.
    way : str
        A value of OrderWay: over the network, to stores of ours, or on disks that travel.
    peer_name : str
        A peer that exists; the order outlives its removal. None for copies to stores of ours.
    targets : sequence of int
        Ids of stores, in the order in which they are filled: travelling ones to carry. None for the network.
    switch_off_full_stores : bool
        A store that has no room for the next file is switched off.
    priority : int
        Files of a higher number are sent first.
    address : str
        Where the request came from, for the audit trail.

    Raises
    ------
    InvalidSearch, InvalidRequest, NotFound, OrderExists
    """
    order = StandingOrder(
        name=name.strip(),
        search=search,
        way=way,
        peer_name=peer_name,
        targets=list(targets),
        switch_off_full_stores=switch_off_full_stores,
        priority=priority,
        enabled=enabled,
    )
    _check(order, must_exist=True)
    order.created_by = actor.get_username() if actor is not None else ""
    with transaction.atomic():
        _save(order, force_insert=True)
        record_act(actor=actor, action="add_order", subject=f"order {order.name}", facts=_facts(order), address=address)
    return order


def edit_order(*, order: StandingOrder, actor: User | None, address: str = "", **changes: Any) -> bool:
    """Change what an order sends, where, or how urgently; False if nothing is different.

    `changes` are what `add_order` takes. Copies that wait for an order which is switched off by it, or copies nothing
    any more, are given up. Raises what `add_order` raises; nothing is saved then.
    """
    unknown = sorted(set(changes) - set(EDITABLE))
    if unknown:
        raise InvalidRequest(f"An order has no {', '.join(unknown)}.", remedy=f"It has {', '.join(EDITABLE)}.")
    before = _facts(order)
    edited = StandingOrder.objects.filter(pk=order.pk).first()
    if edited is None:
        raise NotFound(f"The order {order.name} was removed meanwhile.", remedy="Add it anew.")
    for field, value in changes.items():
        setattr(edited, field, value.strip() if field == "name" else list(value) if field == "targets" else value)
    _check(edited, must_exist=edited.peer_name != order.peer_name)
    if _facts(edited) == before:
        return False
    edited.next_look_at = None  # every file is looked at again
    edited.problem = ""
    with transaction.atomic():
        _save(edited, update_fields=[*EDITABLE, "next_look_at", "problem"])
        facts = {"before": before, "after": _facts(edited)}
        record_act(actor=actor, action="edit_order", subject=f"order {before['name']}", facts=facts, address=address)
        _clear(before["name"], "an edit of the order")
        if _is_served_otherwise(before, edited):
            cancel_group(edited.group, because=f"The order {edited.name} was changed.")
    for field in (*EDITABLE, "next_look_at", "problem"):
        setattr(order, field, getattr(edited, field))
    return True


def set_order_enabled(*, order: StandingOrder, enabled: bool, actor: User | None, address: str = "") -> bool:
    """Switch an order on or off; False if it is so already.

    What it has chosen for a peer stays chosen; copies that wait are wanted no more while it is off.
    """
    with transaction.atomic():
        rows = StandingOrder.objects.filter(pk=order.pk).exclude(enabled=enabled)
        changed = bool(rows.update(enabled=enabled, next_look_at=None))
        if changed:
            action = "switch_order_on" if enabled else "switch_order_off"
            record_act(actor=actor, action=action, subject=f"order {order.name}", address=address)
            _clear(order.name, "a switch of the order")
            if not enabled:
                cancel_group(order.group, because=f"The order {order.name} was switched off.")
    order.enabled = enabled
    return changed


def remove_order(*, order: StandingOrder, actor: User | None, address: str = "") -> bool:
    """Forget an order; False if it is gone already.

    What it has chosen for a peer is sent all the same; copies that wait are wanted no more.
    """
    group = order.group
    with transaction.atomic():
        removed, _ = StandingOrder.objects.filter(pk=order.pk).delete()
        if removed:
            facts = _facts(order)
            record_act(actor=actor, action="remove_order", subject=f"order {order.name}", facts=facts, address=address)
            _clear(order.name, "the removal of the order")
            cancel_group(group, because=f"The order {order.name} was removed.")
    return bool(removed)


def _check(order: StandingOrder, *, must_exist: bool) -> None:
    """Raise what is wrong with an order."""
    if not order.name or len(order.name) > LONGEST_NAME or not order.name.isprintable():
        raise InvalidRequest(
            f"The name of an order has 1 to {LONGEST_NAME} printable characters.", remedy="Give it another name."
        )
    if not isinstance(order.priority, int) or abs(order.priority) > LARGEST_PRIORITY:
        raise InvalidRequest("The priority of an order is a whole number of 32 bits.", remedy="0 is the usual one.")
    compile_search(order.search)
    if order.way not in OrderWay.values:
        raise InvalidRequest(f"There is no way {order.way!r}.", remedy=f"Choose one of {', '.join(OrderWay.values)}.")
    _check_stores(order)
    if order.way == OrderWay.COPY:
        if order.peer_name:
            raise InvalidRequest("An order that copies to stores of ours has no peer.", remedy="Leave the peer out.")
        return
    if must_exist and not Peer.objects.filter(name=order.peer_name).exists():
        raise NotFound(f"There is no Librarian called {order.peer_name} here.", remedy="Add it as a peer first.")


def _check_stores(order: StandingOrder) -> None:
    """Raise what is wrong with the stores of an order, and put them in their canonical form."""
    if order.way == OrderWay.PUSH:
        if order.targets or order.switch_off_full_stores:
            raise InvalidRequest(
                "An order that sends over the network has no stores.", remedy="Leave them out, or choose another way."
            )
        return
    order.targets = check_targets(order.targets)
    if order.way == OrderWay.CARRY:
        staying = Store.objects.filter(pk__in=order.targets, travelling=False).order_by("name")
        if name := staying.values_list("name", flat=True).first():
            raise InvalidRequest(
                f"Store {name} does not travel: nothing is carried on it.",
                remedy="Name stores that travel, or mark this one as travelling first.",
            )


def _is_served_otherwise(before: dict[str, Any], order: StandingOrder) -> bool:
    """True if what waits for an order may not be wanted by it any more: it is chosen anew then."""
    return any(before[field] != getattr(order, field) for field in ("search", "way", "peer_name", "targets", "enabled"))


def _clear(name: str, cleared_by: str) -> None:
    for caller in (CALLER, CARRYING_CALLER):
        clear_matching(code=FAILING, caller=caller, target=name, cleared_by=cleared_by)


def _save(order: StandingOrder, **how: Any) -> None:
    try:
        with transaction.atomic():
            order.save(**how)
    except IntegrityError:
        if StandingOrder.objects.filter(name=order.name).exclude(pk=order.pk).exists():
            raise OrderExists(f"There is already an order called {order.name}.") from None
        raise


def _facts(order: StandingOrder) -> dict[str, Any]:
    return {field: getattr(order, field) for field in EDITABLE}
