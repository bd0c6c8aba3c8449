"""Numbers and times for people. Available in every template without `{% load %}`.

`{{ size|bytes }}` 1.5 GB (powers of 1000)   `{{ n|count }}` 12,345   `{{ share|percent }}` 87 %
`{{ rate|rate }}` 1.5 MB/s                   `{{ seconds|duration }}` 2 h 5 min   `{{ when|ago }}` 3 min ago
`{{ when|utc }}` 2026-11-20 12:16:09 UTC     `{{ when|jd }}` 2461365.01122        `{{ when|site_time }}` 14:16:09 SAST
An empty value is shown as a dash.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

NOTHING = "–"  # noqa: RUF001 - a dash, as printed
_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_UNIX_EPOCH_JD = 2440587.5


@register.filter(name="bytes")
def bytes_for_people(size_bytes: Any) -> str:
    """A number of bytes with three significant digits, in powers of 1000."""
    value = _number(size_bytes)
    if value is None:
        return NOTHING
    if abs(value) < 1000:
        return f"{value:.0f} B"
    for unit in _BYTE_UNITS[1:]:
        value /= 1000
        if abs(value) < 999.5 or unit == _BYTE_UNITS[-1]:
            break
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


@register.filter
def rate(bytes_per_second: Any) -> str:
    """Bytes per second."""
    text = bytes_for_people(bytes_per_second)
    return text if text == NOTHING else f"{text}/s"


@register.filter
def count(number: Any) -> str:
    """A whole number with a comma between thousands."""
    value = _number(number)
    return NOTHING if value is None else f"{value:,.0f}"


@register.filter
def percent(share: Any) -> str:
    """A share from 0 to 1 in per cent."""
    value = _number(share)
    return NOTHING if value is None else f"{100 * value:.0f} %"


@register.filter
def jd(when: Any) -> str:
    """Julian Date (UTC) with five decimals, which is 0.9 s. A number is taken as a Julian Date already."""
    if isinstance(when, datetime):
        return f"{julian_date(when):.5f}"
    value = _number(when)
    return NOTHING if value is None else f"{value:.5f}"


@register.filter
def utc(when: Any) -> str:
    """Time in UTC to the second, saying so."""
    return f"{_aware(when).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(when, datetime) else NOTHING


@register.filter
def site_time(when: Any) -> str:
    """Time at the site to the second, with the name of its time zone."""
    if not isinstance(when, datetime):
        return NOTHING
    return f"{_aware(when).astimezone(ZoneInfo(settings.LIBRARIAN_SITE_TIME_ZONE)):%Y-%m-%d %H:%M:%S %Z}"


@register.filter
def times(when: Any) -> SafeString | str:
    """UTC in a `<time>` element whose title gives the Julian Date and the time at the site."""
    if not isinstance(when, datetime):
        return NOTHING
    return format_html(
        '<time datetime="{}" title="JD {} · {}">{}</time>',
        _aware(when).astimezone(UTC).isoformat(),
        jd(when),
        site_time(when),
        utc(when),
    )


@register.filter
def duration(seconds: Any) -> str:
    """A length of time in its two largest units."""
    value = seconds.total_seconds() if isinstance(seconds, timedelta) else _number(seconds)
    if value is None:
        return NOTHING
    sign, value = ("-" if value < 0 else ""), abs(value)
    if value < 1:
        return f"{sign}{value * 1000:.0f} ms"
    if value < 10:
        return f"{sign}{value:.1f} s"
    left, parts = round(value), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= length:
            parts.append(f"{left // length} {unit}")
        elif parts:
            break  # 1 d 0 h 5 min reads as one day
        left %= length
        if len(parts) == 2:
            break
    return sign + " ".join(parts)


@register.filter
def ago(when: Any) -> str:
    """How long ago a time is, or how far ahead."""
    if not isinstance(when, datetime):
        return NOTHING
    seconds = (timezone.now() - _aware(when)).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(-seconds)}"


def julian_date(when: datetime) -> float:
    """Julian Date (UTC) of a time, in days; Unix time 0 is JD 2440587.5."""
    return _aware(when).timestamp() / 86400 + _UNIX_EPOCH_JD


def _aware(when: datetime) -> datetime:
    return when if timezone.is_aware(when) else when.replace(tzinfo=UTC)


def _number(value: Any) -> float | None:
    try:
        return None if value is None or value == "" or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
