"""Watch folders: products that stopped growing are taken in; what cannot be taken is set aside with its reason.

A product counts as quiet when its fingerprint (sizes and times of change of everything in it) has been the same for
`quiet_seconds`, as two looks by this job saw it: the clock of whoever writes it does not matter.
"""

import hashlib
import os
import shutil
from datetime import timedelta
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from files.models import WatchedPath, WatchFolder
from files.services.ingest import Report, Wishes, ingest_products
from files.services.products import Product, find_products
from files.services.registration import Outcome
from librarian.common.errors import ArchiveError, InvalidRequest
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from librarian.common.texts import storable

QUARANTINE = ".quarantine"
DELIVERED = ".delivered"
OWN = {QUARANTINE, DELIVERED}
BATCH = 256
NAME_CHARACTERS = WatchedPath._meta.get_field("name").max_length
CALLER = "scan_watch_folders"
PASSING_CODES = {"busy", "no_store_available", "store_unavailable", "store_full", "changed_while_read", "lost_race"}


def scan_watch_folders() -> dict[str, int]:
    """Look into every folder that this host sees; one that fails never stops its neighbours."""
    counts = {"folders": 0, "delivered": 0, "quarantined": 0, "waiting": 0}
    for folder in WatchFolder.objects.filter(enabled=True).select_related("store"):
        if folder.host and folder.host != settings.LIBRARIAN_HOST_NAME:
            continue
        counts["folders"] += 1
        try:
            found = scan_folder(folder)
        except (ArchiveError, OSError) as problem:
            _note_failure(folder, problem)
            continue
        WatchFolder.objects.filter(pk=folder.pk).update(scanned_at=timezone.now(), note="")
        clear_matching(code="watch_folder_unreadable", caller=CALLER, target=folder.path, cleared_by=CALLER)
        for name, number in found.items():
            counts[name] += number
    return counts


def scan_folder(folder: WatchFolder) -> dict[str, int]:
    """One look into one folder: notice what is there, take in what has been quiet for long enough."""
    if not os.path.isdir(folder.path):
        raise InvalidRequest(
            f"The watch folder {folder.path} is no directory on {settings.LIBRARIAN_HOST_NAME}.",
            remedy="Mount or create it, or switch the watch folder off.",
        )
    counts = {"delivered": 0, "quarantined": 0, "waiting": 0}
    products = find_products([folder.path], pattern=folder.pattern, never_into=OWN)
    while batch := list(islice(products, BATCH)):
        quiet = _quiet_ones(folder, batch)
        counts["waiting"] += len(batch) - len(quiet)
        _take(folder, quiet, counts)
    return counts


def fingerprint(path: str) -> str:
    """Digest of sizes and times of change of a product and of everything in it; no bytes are read."""
    digest = hashlib.sha256()
    if os.path.isdir(path) and not os.path.islink(path):
        for top, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                member = os.path.join(top, name)
                state = os.lstat(member)
                digest.update(os.fsencode(f"{os.path.relpath(member, path)}\0{state.st_size}\0{state.st_mtime_ns}\0"))
    else:
        state = os.lstat(path)
        digest.update(f"{state.st_size}\0{state.st_mtime_ns}\0{state.st_ino}".encode())
    return digest.hexdigest()


def _quiet_ones(folder: WatchFolder, products: list[Product]) -> list[Product]:
    """Those that have looked the same for `quiet_seconds`. Delivered and unchanged ones never come again."""
    names = [_row_name(product) for product in products]
    rows = {row.name: row for row in WatchedPath.objects.filter(folder=folder, name__in=names)}
    quiet, new, now = [], [], timezone.now()
    quiet_since = now - timedelta(seconds=folder.quiet_seconds)
    for product, name in zip(products, names, strict=True):
        try:
            seen = fingerprint(product.path)
        except FileNotFoundError:
            continue  # moved away while we looked
        row = rows.get(name)
        if row is None:
            new.append(WatchedPath(folder=folder, name=name, fingerprint=seen, unchanged_since=now))
        elif row.fingerprint != seen:
            WatchedPath.objects.filter(pk=row.pk).update(
                fingerprint=seen, unchanged_since=now, state=WatchedPath.State.GROWING, note=""
            )
        elif row.state == WatchedPath.State.GROWING and row.unchanged_since <= quiet_since:
            quiet.append(product)
    WatchedPath.objects.bulk_create(new, ignore_conflicts=True)
    return quiet


def _row_name(product: Product) -> str:
    """How the row of a product calls it: bytes that are not UTF-8, which no database stores, are written out."""
    return storable(product.handed_as, NAME_CHARACTERS)


def _take(folder: WatchFolder, products: list[Product], counts: dict[str, int]) -> None:
    if not products:
        return
    by_path = {product.path: product for product in products}
    wishes = Wishes(
        uploader=folder.uploader,
        source=f"watch:{folder.path}"[:256],
        store_name=folder.store.name if folder.store else None,
        null_obsid=folder.null_obsid,
    )
    for report in ingest_products(products, wishes):
        product = by_path[report.path]
        if report.outcome != Outcome.FAILED:
            _delivered(folder, product)
            counts["delivered"] += 1
        elif report.code in PASSING_CODES:
            counts["waiting"] += 1
        else:
            _quarantine(folder, product, report)
            counts["quarantined"] += 1


def _delivered(folder: WatchFolder, product: Product) -> None:
    row = WatchedPath.objects.filter(folder=folder, name=_row_name(product))
    row.update(state=WatchedPath.State.DELIVERED)
    if folder.remove_after:
        _move_into(folder, product, DELIVERED)
        row.delete()  # what comes under this name again is another delivery


def _quarantine(folder: WatchFolder, product: Product, report: Report) -> None:
    """Set a product aside inside its folder, beside a file that says why; nothing is erased."""
    kept = _move_into(folder, product, QUARANTINE)
    Path(f"{kept}.reason.txt").write_text(
        f"{timezone.now().isoformat(timespec='seconds')}\n{report.code}: {report.reason}\n{report.remedy}\n"
    )
    WatchedPath.objects.filter(folder=folder, name=_row_name(product)).update(
        state=WatchedPath.State.QUARANTINED, note=report.reason
    )
    report_error(
        severity=Severity.ERROR,
        category=Category.DATA_AVAILABILITY,
        code=report.code,
        message=f"{product.path} could not be taken in and was moved to {kept}: {report.reason}",
        remedy=report.remedy,
        caller=CALLER,
        target=product.path,
    )


def _move_into(folder: WatchFolder, product: Product, corner: str) -> str:
    """Move a product into a corner of its folder, under a name that is free there; returns where it lies now."""
    target = os.path.join(folder.path, corner, product.handed_as)
    number = 2
    while os.path.lexists(target):
        target = os.path.join(folder.path, corner, f"{product.handed_as}~{number}")
        number += 1
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.move(product.path, target)
    return target


def _note_failure(folder: WatchFolder, problem: Exception) -> None:
    WatchFolder.objects.filter(pk=folder.pk).update(scanned_at=timezone.now(), note=str(problem))
    report_error(
        severity=Severity.ERROR,
        category=Category.CONFIGURATION,
        code="watch_folder_unreadable",
        message=str(problem) if folder.path in str(problem) else f"The watch folder {folder.path}: {problem}",
        remedy=getattr(problem, "suggested_remedy", "Check that the folder exists and the server may read it."),
        caller=CALLER,
        target=folder.path,
    )


def forget_watched_paths(*, older_than_days: float = 30.0) -> dict[str, int]:
    """Remove what was noted long ago of products that left their folder; a folder that is away says nothing.

    Forgetting too much costs a second look: a product that is in the archive is recognised.
    """
    before = timezone.now() - timedelta(days=older_than_days)
    removed = 0
    for folder in WatchFolder.objects.all():
        if folder.host in ("", settings.LIBRARIAN_HOST_NAME) and os.path.isdir(folder.path):
            removed += _forget_gone(folder, folder.watched.filter(unchanged_since__lt=before))
    return {"watched_paths": removed}


def _forget_gone(folder: WatchFolder, rows: QuerySet[WatchedPath]) -> int:
    last = removed = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:BATCH]):
        gone = [row.pk for row in batch if not os.path.lexists(os.path.join(folder.path, row.name))]
        removed += WatchedPath.objects.filter(pk__in=gone).delete()[0]
        last = batch[-1].pk
    return removed
