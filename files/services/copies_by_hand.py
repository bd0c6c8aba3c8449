"""Copies that a person wants on stores of ours, whatever orders say: by the names of files and stores, audited."""

from collections.abc import Sequence

from django.db import transaction

from accounts.models import User
from files.models import File
from files.names import normalise_name
from files.services.copying import want_copies
from librarian.common.audit import record_act
from librarian.common.errors import NotFound
from stores.models import Store

_PORTION = 500


def want_copies_by_hand(
    names: Sequence[str], *, targets: Sequence[Store], actor: User, address: str = "", priority: int = 0
) -> int:
    """Want files on the first of these stores that takes each; returns how many copies are to be made.

    Raises InvalidName, and NotFound for a name that no file has; nothing is wanted then.
    """
    wanted = list(dict.fromkeys(normalise_name(name).name for name in names))
    keys = _keys_of(wanted)
    group = f"person:{actor.get_username()}"[:80]
    with transaction.atomic():
        made = want_copies(
            file_ids=keys,
            targets=[store.pk for store in targets],
            group=group,
            asked_by=actor.get_username()[:64],
            priority=priority,
        )
        facts = {"files": wanted[:20], "file_count": len(wanted), "copies": made, "priority": priority}
        subject = f"stores {', '.join(store.name for store in targets)}"
        record_act(actor=actor, action="want_copies", subject=subject, facts=facts, address=address)
    return made


def _keys_of(names: Sequence[str]) -> list[int]:
    """Ids of files, in the order of their names."""
    found: dict[str, int] = {}
    for start in range(0, len(names), _PORTION):
        portion = names[start : start + _PORTION]
        found.update(File.objects.filter(name__in=portion).order_by().values_list("name", "pk"))
    if missing := [name for name in names if name not in found]:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise NotFound(
            f"There is no file {missing[0]}{others} in this catalogue.", remedy="Check the names; nothing was wanted."
        )
    return [found[name] for name in names]
