"""Times of the client: everything is UTC, in and out."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from hera_librarian.times import from_jd, jd_of, parse_utc, utc_text

pytestmark = pytest.mark.database_independent

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_times_are_read_as_utc_whatever_their_offset():
    for text in ("2026-11-20T12:00:00Z", "2026-11-20 12:00", "2026-11-20T14:00:00+02:00"):
        assert parse_utc(text) == NOON
        assert parse_utc(text).tzinfo is UTC
    with pytest.raises(ValueError):
        parse_utc("noon")


def test_times_of_any_kind_are_written_in_utc():
    from astropy.time import Time

    south = NOON.astimezone(timezone(timedelta(hours=2)))
    for moment in (NOON, NOON.replace(tzinfo=None), south, Time(NOON), Time(NOON).tai):
        assert utc_text(moment) == "2026-11-20T12:00:00Z", moment
    assert utc_text(date(2026, 11, 20)) == "2026-11-20T00:00:00Z"
    assert utc_text(NOON + timedelta(microseconds=1)) == "2026-11-20T12:00:00.000001Z"
    with pytest.raises(ValueError, match="is not a time"):
        utc_text(12)


def test_julian_dates_there_and_back():
    assert jd_of(NOON) == 2461365.0
    assert from_jd(2461365.0) == NOON
    assert abs(from_jd(jd_of(NOON + timedelta(seconds=1))) - NOON - timedelta(seconds=1)) < timedelta(milliseconds=1)
