"""Times as the Librarian means them: UTC, as aware datetimes, ISO 8601 text or Julian Dates (UTC)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

UNIX_EPOCH_JD = 2440587.5  # Julian Date (UTC) of 1970-01-01T00:00:00Z
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_utc(text: str) -> datetime:
    """The aware UTC datetime of an ISO 8601 text; without an offset it is UTC already. Raises ValueError."""
    return as_utc(datetime.fromisoformat(text))


def as_utc(moment: datetime) -> datetime:
    """The same moment as an aware datetime in UTC; a naive one is UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def utc_text(moment: Any) -> str:
    """ISO 8601 in UTC with a Z of a datetime, a date (its midnight), an astropy Time or a pandas Timestamp."""
    for method in ("to_datetime", "to_pydatetime"):  # of astropy and pandas, which are not imported for this
        if hasattr(moment, method):
            moment = getattr(moment.utc if hasattr(moment, "utc") else moment, method)()
            break
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if not isinstance(moment, datetime):
        raise ValueError(f"{moment!r} is not a time")
    return as_utc(moment).isoformat().replace("+00:00", "Z")


def jd_of(moment: datetime) -> float:
    """Julian Date (UTC) of a moment, to about 0.05 milliseconds."""
    return UNIX_EPOCH_JD + (as_utc(moment) - _UNIX_EPOCH) / timedelta(days=1)


def from_jd(jd: float) -> datetime:
    """The aware UTC datetime of a Julian Date (UTC)."""
    return _UNIX_EPOCH + timedelta(days=jd - UNIX_EPOCH_JD)
