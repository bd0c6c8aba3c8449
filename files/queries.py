"""Reads of files shaped for one page or endpoint."""

from collections.abc import Callable
from datetime import datetime

from django.db.models import Prefetch, Q, QuerySet

from accounts.models import User
from files.models import File, FileEvent, FileMember, Instance, RemoteInstance
from files.names import normalise_name
from librarian.common.errors import NotFound
from librarian.common.filters import shown
from stores.models import Store

MAX_MEMBER_CHARACTERS = 4096


def file_named(name: str, queryset: QuerySet[File] | None = None) -> File:
    """The file that a name means, normalised as every surface does it. Raises InvalidName, NotFound."""
    filed = normalise_name(name).name
    file = (File.objects.all() if queryset is None else queryset).filter(name=filed).first()
    if file is None:
        raise NotFound(
            f"There is no file {filed} in this catalogue.", remedy="Check the name, or search with name_contains."
        )
    return file


def member_at(file: File, path: str) -> FileMember:
    """The entry of a directory product that has bytes and this path. Raises NotFound."""
    found = None
    if len(path) <= MAX_MEMBER_CHARACTERS and "\x00" not in path:
        found = file.members.filter(path=path, kind=FileMember.Kind.FILE).first()
    if found is None:
        what = (
            "has no members: it is a flat file" if not file.is_directory else f"has no member {shown(path)} with bytes"
        )
        raise NotFound(f"{file.name} {what}.", remedy="List the members of the file first.")
    return found


def files_for_list() -> QuerySet[File]:
    """Files with the counts of their copies."""
    return File.objects.with_copies()


def files_in_detail() -> QuerySet[File]:
    """Files with everything that a page about one of them shows, histories and members apart."""
    copies = Instance.objects.select_related("store").order_by("pk")
    return (
        File.objects.with_copies()
        .select_related("head", "facts")
        .prefetch_related(Prefetch("instances", queryset=copies), "remote_instances")
    )


def instances_for_list() -> QuerySet[Instance]:
    """Copies with the names of their files and stores.

    Stores are fetched apart: joined, SQLite starts from the few stores and sorts every copy of one (measured with
    200,000 copies: 500 ms a page instead of 5).
    """
    return Instance.objects.select_related("file").prefetch_related("store")


def events_for_list() -> QuerySet[FileEvent]:
    """Lines of all histories with the names of their files."""
    return FileEvent.objects.select_related("file")


def newest_files(
    *,
    name: str | None = None,
    registered_between: tuple[datetime, datetime] | None = None,
    uploader: str | None = None,
    source: str | None = None,
    seen_by: User,
) -> QuerySet[File]:
    """Files that meet every condition, newest first, with their copies, elsewhere as far as `seen_by` may know.

    `name` is filed first, as every name that is handed to us; both ends of the window belong to it. Raises InvalidName.
    """
    files = File.objects.order_by("-registered_at", "-pk")
    if name is not None:
        files = files.filter(name=normalise_name(name).name)
    if registered_between is not None:
        start, end = registered_between
        files = files.filter(registered_at__gte=start, registered_at__lte=end)
    if uploader is not None:
        files = files.filter(uploader=uploader)
    if source is not None:
        files = files.filter(source=source)
    return files.prefetch_related(
        Prefetch("instances", Instance.objects.order_by("pk")),
        Prefetch("remote_instances", RemoteInstance.objects.visible_to(seen_by).order_by("pk")),
    )


def instances_at(location: str) -> Q:
    """Condition for instances whose bytes have this address, as `addresses` gives it."""
    condition = Q(pk__in=[])
    for store in Store.objects.all():
        place = store.backend.place_of(location)
        if place is not None:
            condition |= Q(store=store, path=place)
    return condition


def addresses() -> Callable[[Instance], str]:
    """A function that gives an instance's address; reads the stores once, however many instances follow."""
    backends = {store.pk: store.backend for store in Store.objects.all()}

    def address(instance: Instance) -> str:
        return backends[instance.store_id].locate(instance.path) if instance.path else ""

    return address
