"""What people do to standing orders: add, edit, switch, remove. Every act is audited.

A search is compiled before it is saved, so that what is wrong with it is told to the person who wrote it.
"""

from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from files.search import compile_search
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest, NotFound
from librarian.common.inbox import clear_matching
from network.models import Peer, StandingOrder

LONGEST_NAME = StandingOrder._meta.get_field("name").max_length
LARGEST_PRIORITY = 2**31 - 1
FAILING = "order_failed"
CALLER = "job:choose_files"
EDITABLE = ("name", "search", "peer_name", "priority", "enabled")


class OrderExists(Conflict):
    code = "order_exists"
    remedy = "Choose another name; or edit the order that has it."


def add_order(
    *,
    actor: User | None,
    name: str,
    search: str,
    peer_name: str,
    priority: int = 0,
    enabled: bool = True,
    address: str = "",
) -> StandingOrder:
    """Send what matches a search to a peer from now on.

    Parameters
    ----------
    actor : User or None
        Who adds it; None at the command line.
    name : str
        For people.
    search : str
        In the JSON search language.
    peer_name : str
        A peer that exists; the order outlives its removal.
    priority : int
        Files of a higher number are sent first.
    address : str
        Where the request came from, for the audit trail.

    Raises
    ------
    InvalidSearch, InvalidRequest, NotFound, OrderExists
    """
    order = StandingOrder(name=name.strip(), search=search, peer_name=peer_name, priority=priority, enabled=enabled)
    _check(order, must_exist=True)
    order.created_by = actor.get_username() if actor is not None else ""
    with transaction.atomic():
        _save(order, force_insert=True)
        record_act(actor=actor, action="add_order", subject=f"order {order.name}", facts=_facts(order), address=address)
    return order


def edit_order(*, order: StandingOrder, actor: User | None, address: str = "", **changes: Any) -> bool:
    """Change what an order sends, where, or how urgently; False if nothing is different.

    `changes` are name, search, peer_name, priority and enabled. Raises what `add_order` raises; nothing is saved then.
    """
    unknown = sorted(set(changes) - set(EDITABLE))
    if unknown:
        raise InvalidRequest(f"An order has no {', '.join(unknown)}.", remedy=f"It has {', '.join(EDITABLE)}.")
    before = _facts(order)
    edited = StandingOrder.objects.filter(pk=order.pk).first()
    if edited is None:
        raise NotFound(f"The order {order.name} was removed meanwhile.", remedy="Add it anew.")
    for field, value in changes.items():
        setattr(edited, field, value.strip() if field == "name" else value)
    _check(edited, must_exist=edited.peer_name != order.peer_name)
    if _facts(edited) == before:
        return False
    edited.next_look_at = None  # every file is looked at again
    edited.problem = ""
    with transaction.atomic():
        _save(edited, update_fields=[*EDITABLE, "next_look_at", "problem"])
        facts = {"before": before, "after": _facts(edited)}
        record_act(actor=actor, action="edit_order", subject=f"order {before['name']}", facts=facts, address=address)
        clear_matching(code=FAILING, caller=CALLER, target=before["name"], cleared_by="an edit of the order")
    for field in (*EDITABLE, "next_look_at", "problem"):
        setattr(order, field, getattr(edited, field))
    return True


def set_order_enabled(*, order: StandingOrder, enabled: bool, actor: User | None, address: str = "") -> bool:
    """Switch an order on or off; False if it is so already. What it has chosen before stays chosen."""
    with transaction.atomic():
        rows = StandingOrder.objects.filter(pk=order.pk).exclude(enabled=enabled)
        changed = bool(rows.update(enabled=enabled, next_look_at=None))
        if changed:
            action = "switch_order_on" if enabled else "switch_order_off"
            record_act(actor=actor, action=action, subject=f"order {order.name}", address=address)
            clear_matching(code=FAILING, caller=CALLER, target=order.name, cleared_by="a switch of the order")
    order.enabled = enabled
    return changed


def remove_order(*, order: StandingOrder, actor: User | None, address: str = "") -> bool:
    """Forget an order; False if it is gone already. What it has chosen is sent all the same."""
    with transaction.atomic():
        removed, _ = StandingOrder.objects.filter(pk=order.pk).delete()
        if removed:
            facts = _facts(order)
            record_act(actor=actor, action="remove_order", subject=f"order {order.name}", facts=facts, address=address)
            clear_matching(code=FAILING, caller=CALLER, target=order.name, cleared_by="the removal of the order")
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
    if must_exist and not Peer.objects.filter(name=order.peer_name).exists():
        raise NotFound(f"There is no Librarian called {order.peer_name} here.", remedy="Add it as a peer first.")


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
