"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.template import engines

from librarian.common.templatetags import units

pytestmark = pytest.mark.database_independent

WHEN = datetime(2026, 11, 20, 12, 16, 9, 281204, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (70_900_000_000, "70.9 GB"),
        (2**63, "9.22 EB"),
        (10**22, "10000 EB"),
        (None, "–"),  # noqa: RUF001
        ("", "–"),  # noqa: RUF001
    ],
)
def test_bytes_have_three_digits_in_powers_of_1000(size_bytes, text):
    assert units.bytes_for_people(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (1.26, "1.3 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (7500, "2 h 5 min"),
        (86_400 + 300, "1 d"),
        (90_000, "1 d 1 h"),
        (timedelta(hours=-2), "-2 h"),
        (None, "–"),  # noqa: RUF001
    ],
)
def test_durations_show_their_two_largest_units(seconds, text):
    assert units.duration(seconds) == text


def test_julian_dates_are_those_of_astropy():
    from astropy.time import Time

    for when in (WHEN, datetime(2000, 1, 1, 12, tzinfo=UTC), datetime(1995, 6, 1, tzinfo=timezone(timedelta(hours=2)))):
        assert units.julian_date(when) == pytest.approx(Time(when).jd, abs=1e-8)
    assert units.julian_date(datetime(2000, 1, 1, 12, tzinfo=UTC)) == 2451545.0


def test_times_say_their_zone(settings):
    settings.LIBRARIAN_SITE_TIME_ZONE = "Africa/Johannesburg"
    assert units.utc(WHEN) == "2026-11-20 12:16:09 UTC"
    assert units.site_time(WHEN) == "2026-11-20 14:16:09 SAST"
    assert units.utc(WHEN.astimezone(timezone(timedelta(hours=-5)))) == "2026-11-20 12:16:09 UTC"
    assert units.jd(WHEN) == "2461365.01122"


def test_templates_have_them_without_loading_and_escape_nothing_twice():
    source = "{{ size|bytes }}|{{ n|count }}|{{ share|percent }}|{{ when|times }}"
    page = engines["django"].from_string(source).render({"size": 18, "n": 12345, "share": 0.87, "when": WHEN})
    assert page.startswith("18 B|12,345|87 %|<time datetime=")
    assert "JD 2461365.01122" in page
