"""The error inbox: what went wrong and what mends it. Repeats of an open trouble fold into one row.

Reporting never needs a lock of its own: the row of an open trouble is found or made by its fingerprint, on which the
database holds a unique constraint. Called inside a transaction, the report lives and dies with it.
"""

import hashlib
import json
from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from librarian.common.errors import Conflict
from librarian.common.models import Category, ErrorRecord, Severity
from librarian.common.texts import storable

MESSAGE_CHARACTERS = 10_000
_TRIES = 5


def report_error(
    *, severity: str, category: str, code: str, message: str, remedy: str = "", caller: str = "", target: str = ""
) -> ErrorRecord:
    """Put a trouble into the inbox, or count it on the open row of the same trouble.

    Parameters
    ----------
    severity, category : str
        Values of `Severity` and `Category`; ValueError for any other.
    code : str
        Stable name of the trouble, as in docs/errors.md.
    message, remedy : str
        One or two sentences for people: what happened, and what mends it. Those of the latest occurrence are kept.
    caller : str
        Job, command or endpoint that met it.
    target : str
        What it happened to (a store, a file), so that the same trouble of two targets stays two rows.

    Returns
    -------
    ErrorRecord
        The open row; its `count` says how often this happened since it was last cleared.
    """
    code, caller = storable(code, 64), storable(caller, 128)
    fingerprint = _fingerprint(Category(category), code, caller, target)
    latest = {
        "severity": Severity(severity),
        "message": storable(message, MESSAGE_CHARACTERS),
        "remedy": storable(remedy, MESSAGE_CHARACTERS),
    }
    same = ErrorRecord.objects.filter(fingerprint=fingerprint, cleared_at__isnull=True)
    for _ in range(_TRIES):
        if same.update(count=F("count") + 1, last_raised_at=timezone.now(), **latest):
            found = same.first()
            if found is not None:
                return found
        try:
            with transaction.atomic():  # the refused insert must not spoil a transaction of the caller's
                return ErrorRecord.objects.create(
                    category=category, code=code, caller=caller, fingerprint=fingerprint, **latest
                )
        except IntegrityError:
            continue  # somebody else reported the same trouble just now: count it on their row
    raise Conflict(f"The report of {code} met other reports or clearings of the same trouble {_TRIES} times.")


def clear_error(*, error: ErrorRecord, cleared_by: str) -> None:
    """Close a trouble; harmless when it is closed already. Its next occurrence opens a new row."""
    _close(ErrorRecord.objects.filter(pk=error.pk), cleared_by)
    error.refresh_from_db()


def clear_matching(*, code: str, caller: str = "", target: str = "", cleared_by: str) -> int:
    """Close the open trouble that `report_error` made of the same code, caller and target; return how many there were.

    Whatever finds a trouble mended calls this, so that nobody has to tidy the inbox after a passing fault.
    """
    code, caller = storable(code, 64), storable(caller, 128)
    fingerprints = [_fingerprint(category, code, caller, target) for category in Category]
    return _close(ErrorRecord.objects.filter(fingerprint__in=fingerprints), cleared_by)


def clear_from(*, caller: str, codes: Iterable[str], cleared_by: str) -> int:
    """Close what one caller has open under these codes, whatever the target; return how many there were."""
    found = ErrorRecord.objects.filter(caller=storable(caller, 128), code__in=list(codes))
    return _close(found, cleared_by)


def _close(errors: QuerySet[ErrorRecord], cleared_by: str) -> int:
    return errors.filter(cleared_at__isnull=True).update(cleared_at=timezone.now(), cleared_by=storable(cleared_by, 64))


def _fingerprint(category: Category, code: str, caller: str, target: str) -> str:
    """SHA-256 over the four parts, kept apart by JSON so that no two different troubles share one."""
    return hashlib.sha256(json.dumps([category.value, code, caller, target]).encode()).hexdigest()
