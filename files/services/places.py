"""Whose place it is: no product may lie within another's copy, or around it.

A store tells files from directories, not a directory on the way from a directory that is somebody's product: only the
catalogue and the deliveries under way know that. A delivery writes its place down before it looks here, so of two that
would get entangled at least one sees the other.
"""

from collections.abc import Sequence
from itertools import islice

from files.models import Instance, Upload
from files.services.registration import Delivery
from librarian.common.errors import InvalidRequest
from stores.backends.base import PlaceOccupied, StoreBackend

_MEMBER_BATCH = 500
_MOST_KNOWN = 10_000
_ways: set[tuple[str, str]] = set()  # (store's marker, directory): seen to be nobody's product


def refuse_entangled(delivery: Delivery, backend: StoreBackend) -> None:
    """Raise PlaceOccupied if the place of a staged product lies within another's, or around it.

    What is in place already stays there: it got there by this same rule, before a crash.
    """
    upload = delivery.upload
    holder = _holder(upload) or (_delivery_within(upload) if delivery.content.kind == "directory" else "")
    if holder and not backend.is_placed(upload.token, upload.place):
        raise PlaceOccupied(f"{upload.place} on store {upload.store.name} would get entangled with {holder}.")


def remember_ways(upload: Upload) -> None:
    """A product was placed: the directories above it are on the way now, and no product is ever placed over one."""
    if len(_ways) > _MOST_KNOWN:
        _ways.clear()
    marker = str(upload.store.marker)
    _ways.update((marker, directory) for directory in _above(upload.place))


def refuse_shared_copy(delivery: Delivery) -> None:
    """Raise InvalidRequest if what is to be catalogued where it lies is part of another's copy, or holds one."""
    upload = delivery.upload
    holder = _holder(upload) or _copy_within(delivery)
    if holder:
        raise InvalidRequest(
            f"{upload.place} on store {upload.store.name} shares bytes with {holder}, the copy of another file.",
            remedy="Search for that copy's file; the same bytes in one place cannot be two files.",
        )
    remember_ways(upload)


def _holder(upload: Upload) -> str:
    """The place of another product above the place of `upload`; empty when there is none."""
    ways = _unknown_ways(upload)
    if not ways:
        return ""
    present = Instance.objects.present().filter(store=upload.store_id, path__in=ways)
    others = Upload.objects.live().filter(store=upload.store_id, place__in=ways).exclude(pk=upload.pk)
    return present.values_list("path", flat=True).first() or others.values_list("place", flat=True).first() or ""


def _delivery_within(upload: Upload) -> str:
    """The place of another delivery within that of `upload`. Copies within would already occupy it on the disk."""
    others = Upload.objects.live().filter(store=upload.store_id, place__startswith=f"{upload.place}/")
    return others.values_list("place", flat=True).first() or ""


def _copy_within(delivery: Delivery) -> str:
    upload, members = delivery.upload, iter(delivery.content.members)
    present = Instance.objects.present().filter(store=upload.store_id)
    while batch := [f"{upload.place}/{member.path}" for member in islice(members, _MEMBER_BATCH)]:
        if path := present.filter(path__in=batch).values_list("path", flat=True).first():
            return path
    return ""


# --- Directories that are on the way ----------------------------------------------------------------------------------


def _above(place: str) -> Sequence[str]:
    parts = place.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _unknown_ways(upload: Upload) -> list[str]:
    marker = str(upload.store.marker)
    return [directory for directory in _above(upload.place) if (marker, directory) not in _ways]
