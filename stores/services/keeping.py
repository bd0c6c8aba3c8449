"""What people do to stores: add, edit, switch, write the marker. Every act is audited."""

import copy
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest, Refused
from stores.models import Store
from stores.services.measuring import measure_store
from stores.services.overlaps import overlap

# What of a configuration says where the bytes of a store lie.
_WHERE = {
    Store.Kind.POSIX: ("root",),
    Store.Kind.SSH: ("host", "root"),
    Store.Kind.S3: ("endpoint_url", "bucket", "prefix"),
}
EDITABLE = (
    "name",
    "configuration",
    "hosts",
    "ingestable",
    "enabled",
    "travelling",
    "fullness_limit",
    "group_writable_staging",
    "own_after_commit",
    "read_only_after_commit",
    "ssh_host",
    "globus_endpoint",
    "providers",
)


def check_new_store(*, name: str, configuration: dict[str, Any], kind: str = Store.Kind.POSIX, **options: Any) -> Store:
    """A store that could be added, unsaved; touches no disk. Raises InvalidRequest or Conflict."""
    store = Store(name=name, kind=kind, configuration=configuration, **options)
    _validate(store)
    return store


def add_store(
    *,
    actor: User | None,
    name: str,
    configuration: dict[str, Any],
    kind: str = Store.Kind.POSIX,
    hosts: Sequence[str] = (),
    address: str = "",
    **options: Any,
) -> Store:
    """Add a store: its row, then its directories and marker if this host reaches it, then a first measurement.

    Parameters
    ----------
    actor : User or None
        Who adds it; None at the command line.
    configuration : dict
        What its kind needs; for posix `root` and, optionally, `staging`.
    hosts : sequence of str
        Host names that reach it; none means this host.
    address : str
        Where the request came from, for the audit trail.
    options
        Further columns of Store that people set (`EDITABLE`).

    Raises
    ------
    InvalidRequest, Conflict, StoreUnavailable
        Nothing is left in the catalogue then.
    """
    _refuse_unknown(options)
    store = check_new_store(name=name, kind=kind, configuration=configuration, hosts=list(hosts), **options)
    try:
        with transaction.atomic():
            store.save(force_insert=True)
    except IntegrityError as error:  # somebody added one of this name meanwhile
        raise Conflict(f"There is already a store called {name}.", remedy="Choose another name.") from error
    try:
        if store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
            store.backend.initialise()
    except Exception:  # also a mistake of ours, or of a library: a row without its marker is of no use
        store.delete()
        raise
    record_act(actor=actor, action="add_store", subject=f"store {name}", facts=_facts(store), address=address)
    _measure_here(store)
    return store


def edit_store(*, store: Store, actor: User | None, address: str = "", **changes: Any) -> Store:
    """Change what people set of a store. Raises InvalidRequest or Conflict; nothing is changed then.

    A new root (or host, or bucket) must already carry the store's marker: the files are moved first, with their
    `.librarian` directory. Else every file would look as if it were missing.
    """
    _refuse_unknown(changes)
    changed = {field: value for field, value in changes.items() if getattr(store, field) != value}
    if not changed:
        return store
    edited = copy.copy(store)
    for field, value in changed.items():
        setattr(edited, field, value)
    _validate(edited)
    reached = edited.is_reached_from(settings.LIBRARIAN_HOST_NAME)
    if "configuration" in changed and reached:
        _prepare_move(store, edited)
    before = {field: getattr(store, field) for field in changed}
    with transaction.atomic():
        if not Store.objects.filter(pk=store.pk).update(**changed):
            raise Conflict(f"Store {store.name} is gone.")
        facts = {"before": before, "after": changed}
        record_act(actor=actor, action="edit_store", subject=f"store {store.name}", facts=facts, address=address)
    for field, value in changed.items():
        setattr(store, field, value)
    _measure_here(store)
    return store


def _prepare_move(store: Store, edited: Store) -> None:
    moved = any(edited.configuration.get(key) != store.configuration.get(key) for key in _WHERE[Store.Kind(store.kind)])
    if moved and not edited.backend.carries_marker():
        raise Conflict(
            f"The new root of store {store.name} does not carry its marker.",
            remedy="Move the store's files there first, with what lies below .librarian beside them.",
        )
    edited.backend.initialise()  # makes a new staging area; refuses another store's marker


def set_store_enabled(*, store: Store, enabled: bool, actor: User | None, address: str = "") -> None:
    """Switch a store on or off; harmless when it is so already."""
    with transaction.atomic():
        if Store.objects.filter(pk=store.pk).exclude(enabled=enabled).update(enabled=enabled):
            action = "switch_store_on" if enabled else "switch_store_off"
            record_act(actor=actor, action=action, subject=f"store {store.name}", address=address)
    store.enabled = enabled


def write_marker(*, store: Store, actor: User | None, address: str = "") -> None:
    """Write the marker (and make the directories) of a store whose root lacks it: a person says that this is its disk.

    Raises Refused where this host does not reach it, Conflict where the root carries another store's marker.
    """
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        raise Refused(f"Store {store.name} is not reached from this host.", remedy="Do it on a host that reaches it.")
    store.backend.initialise()
    record_act(
        actor=actor, action="write_store_marker", subject=f"store {store.name}", facts=_facts(store), address=address
    )
    _measure_here(store)


def _measure_here(store: Store) -> None:
    if store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        measure_store(store)


def _facts(store: Store) -> dict[str, Any]:
    return {"kind": store.kind, "configuration": store.configuration, "hosts": store.hosts, "marker": str(store.marker)}


def _refuse_unknown(fields: dict[str, Any]) -> None:
    unknown = sorted(set(fields) - set(EDITABLE))
    if unknown:
        raise InvalidRequest(
            f"{', '.join(unknown)} of a store cannot be set.", remedy=f"Settable: {', '.join(EDITABLE)}."
        )


def _validate(store: Store) -> None:
    """Raise what is wrong with a store's row, in sentences."""
    _refuse_bad_lists(store)
    try:
        store.full_clean(validate_unique=False)
    except ValidationError as error:
        problems = [f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()]
        raise InvalidRequest(
            f"A store cannot be like this: {' '.join(problems)}", remedy="Correct what is named."
        ) from error
    others = Store.objects.exclude(pk=store.pk)
    if others.filter(name=store.name).exists():
        raise Conflict(f"There is already a store called {store.name}.", remedy="Choose another name.")
    for other in others:
        if what := overlap(store, other):
            raise Conflict(
                f"Its {what} overlap with those of store {other.name}.",
                remedy="Give each store a place of its own, neither within the other.",
            )


def _refuse_bad_lists(store: Store) -> None:
    for field in ("hosts", "providers"):
        value = getattr(store, field)
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            raise InvalidRequest(f"The {field} of a store are a list of names.", remedy="Send a list of texts.")
