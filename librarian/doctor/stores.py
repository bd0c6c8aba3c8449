"""Every store: what its kind says of it, and whether a disk that is away is away because it travels."""

from collections.abc import Iterator
from functools import partial

from django.conf import settings

from librarian.common.errors import NotFound
from librarian.common.findings import Finding, Look, doubts, fails, settled, works
from librarian.doctor.scope import Scope
from network.models import Shipment
from stores.models import Store
from stores.services.testing import examine_store

SECONDS = {Store.Kind.POSIX: 30.0, Store.Kind.SSH: 120.0, Store.Kind.S3: 60.0}


def examine(scope: Scope) -> Iterator[Look]:
    """A look at each store that this host reaches. Raises NotFound for a name that no store has."""
    stores = list(Store.objects.order_by("name"))
    if unknown := sorted(set(scope.stores) - {store.name for store in stores}):
        raise NotFound(f"There is no store called {', '.join(unknown)}.")
    stores = [store for store in stores if not scope.stores or store.name in scope.stores]
    if not stores and not scope.stores:
        yield settled(
            "stores", [doubts("stores", "there is none", "Add one: `manage.py add_store`, or the staff admin.")]
        )
    for store in stores:
        yield from _looks(store, scope)


def _looks(store: Store, scope: Scope) -> Iterator[Look]:
    group = f"store {store.name}"
    yield settled(group, _row(store))
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        reason = f"from {', '.join(store.hosts)}, not from this host, {settings.LIBRARIAN_HOST_NAME}"
        yield settled(group, [doubts("reach", reason, "Run the doctor there too; or add this host to its hosts.")])
        return
    if not store.enabled and not scope.stores:
        return  # nobody uses it, and its disk may be long gone; asked for by name it is looked at
    trip = Shipment.objects.live().filter(store=store).first() if store.travelling else None
    away = _trip(trip) if trip is not None else None
    run = partial(_examined, store, away, writes=not scope.quick and store.enabled)
    yield Look(group, run, "store", SECONDS[Store.Kind(store.kind)])


def _row(store: Store) -> Iterator[Finding]:
    """What a person set and what was measured last."""
    if not store.enabled:
        yield doubts("enabled", "switched off by a person", "Switch it on in the staff admin if it is wanted.")
    if store.measured_at is None:
        yield doubts("measured", "no host that reaches it has looked yet", "See that the job measure_stores runs.")
    elif not store.available and store.enabled and not store.travelling:
        reason = f"{store.measured_by} said: {store.availability_reason}"
        yield doubts("measured", reason, "Mend what stands below; the next measurement clears this.")


def _trip(shipment: Shipment) -> str:
    to = f" to {shipment.peer_name}" if shipment.peer_name else ""
    return f"{shipment.get_state_display()}{to} since {shipment.changed_at:%Y-%m-%d %H:%M} UTC"


def _examined(store: Store, away: str | None, *, writes: bool) -> Iterator[Finding]:
    """The findings of its kind; of a disk on a trip, that it is away is no fault."""
    findings = examine_store(store, writes=writes)
    if away is None:
        yield from findings
        return
    found = list(findings)
    if all(finding.works for finding in found):
        yield works("trip", f"{away}, and still mounted here")
        yield from found
        return
    foreign = next((finding for finding in found if not finding.works and "foreign" in finding.reason), None)
    if foreign is not None:
        yield fails(foreign.subject, foreign.reason, foreign.remedy)
        return
    yield works("trip", f"{away}, and not mounted here")
