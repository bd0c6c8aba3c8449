"""Pieces of pages too small for a template: signs, states in words, copy buttons, sortable headings, the clock.

`{% load portal %}`. Numbers and times are in `units.py`, which needs no load.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.conf import settings
from django.forms import BoundField, Form
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from librarian.common.badges import SIGNS, Badge
from librarian.common.icons import ICONS
from librarian.common.templatetags.units import NOTHING, bytes_for_people, duration, jd, julian_date, site_time

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """A line drawing. Says nothing to screen readers: the word beside it does."""
    # The drawings are constants of ours.
    drawing = mark_safe(ICONS[name])  # noqa: S308
    return format_html('<svg class="icon" viewBox="0 0 20 20" aria-hidden="true">{}</svg>', drawing)


@register.simple_tag(name="badge")
def show_badge(badge: Badge) -> SafeString:
    """A state in a word, with a sign that says what the colour says."""
    return format_html(
        '<span class="badge badge--{}"{}>{}{}</span>',
        badge.tone,
        format_html(' title="{}"', badge.meaning) if badge.meaning else "",
        icon(SIGNS[badge.tone]),
        badge.label,
    )


@register.simple_tag
def copy_button(text: str, what: str) -> SafeString:
    """A button that copies `text`; `what` tells screen readers what that is."""
    return format_html(
        '<button type="button" class="copy" data-copy="{}">{}<span data-copy-word>Copy</span>'
        '<span class="hidden-visually"> {}</span></button>',
        text,
        icon("copy"),
        what,
    )


@register.simple_tag
def code_block(text: str, what: str, title: str = "Shell") -> SafeString:
    """Commands to be typed, with a copy button."""
    return format_html(
        '<div class="code"><div class="code__bar"><span>{}</span>{}</div>'
        '<pre tabindex="0" aria-label="{}"><code>{}</code></pre></div>',
        title,
        copy_button(text, what),
        what,
        text,
    )


@register.filter
def when(value: Any) -> SafeString | str:
    """A time in UTC to the minute, for tables; the hint gives seconds, Julian Date and the time at the site."""
    return _time(value, f"{value:%Y-%m-%d %H:%M}") if _is_time(value) else NOTHING


@register.filter
def since(value: Any) -> SafeString | str:
    """How long ago, with the time in the hint."""
    return _time(value, _roughly_ago(value)) if _is_time(value) else NOTHING


def _roughly_ago(value: datetime) -> str:
    """How long ago in the largest unit alone: what people look at every minute must not flicker."""
    seconds = (timezone.now() - value).total_seconds()
    if abs(seconds) < 10:
        return "now"
    length = next((part for part in (86400, 3600, 60) if abs(seconds) >= part), 1)
    words = duration(abs(seconds) // length * length)
    return f"{words} ago" if seconds > 0 else f"in {words}"


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime)


def _time(value: datetime, shown: str) -> SafeString:
    moment = value.astimezone(UTC)
    title = f"{moment:%Y-%m-%d %H:%M:%S} UTC · JD {jd(moment)} · {site_time(moment)}"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), title, shown)


@register.filter
def readable(value: Any) -> str:
    """A value out of JSON as a person reads it."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "none"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value)


@register.filter
def readable_fact(value: Any, name: str) -> str:
    """A fact of an event; numbers of bytes also in the unit that people use."""
    if name.endswith("bytes") and isinstance(value, int) and abs(value) >= 1000:
        return f"{bytes_for_people(value)} ({value:,})"
    return readable(value)


@register.filter
def label_of(form: Form, name: str) -> str:
    """What a page calls a field; the name of a parameter that is no field of it."""
    return str(form.fields[name].label or name) if name in form.fields else name


@register.filter
def words(value: str) -> str:
    """`size_bytes` as `size bytes`."""
    return str(value).replace("_", " ")


@register.simple_tag
def heading(query: Any, field: str, label: str, ordering: str, path: str = "") -> SafeString:
    """A column's heading whose link sorts by it, and turns the order round when it is the present one.

    `query` is the request's GET, `ordering` the order shown now (`-size_bytes`).
    """
    shown, descending = ordering.lstrip("-") == field, ordering.startswith("-")
    parameters = query.copy()
    parameters.pop("cursor", None)
    parameters["ordering"] = field if not shown or descending else f"-{field}"
    state = format_html(' aria-sort="{}"', "descending" if descending else "ascending") if shown else ""
    arrow = ("▼" if descending else "▲") if shown else ""
    return format_html(
        '<th scope="col"{}{}><a class="sort" href="{}?{}">{}'
        '<span class="sort__arrow" aria-hidden="true">{}</span></a></th>',
        mark_safe(' class="is-number"') if field.endswith(("bytes", "count")) else "",
        state,
        path,
        parameters.urlencode(),
        label,
        arrow,
    )


@register.simple_tag
def form_field(field: BoundField, placeholder: str = "") -> SafeString:
    """A form's field with its label, help and errors tied to it."""
    described = " ".join(
        name
        for name, there in (
            (f"{field.id_for_label}-help", field.help_text),
            (f"{field.id_for_label}-error", field.errors),
        )
        if there
    )
    attributes = {"aria-describedby": described} if described else {}
    if field.errors:
        attributes["aria-invalid"] = "true"
    if placeholder:
        attributes["placeholder"] = placeholder
    help_text = field.help_text and format_html(
        '<div class="field__help" id="{}-help">{}</div>', field.id_for_label, field.help_text
    )
    errors = field.errors and format_html(
        '<div class="field__error" id="{}-error">{}<span>{}</span></div>',
        field.id_for_label,
        icon("cross"),
        format_html_join(" ", "{}", ((error,) for error in field.errors)),
    )
    return format_html(
        '<div class="field"><label for="{}">{}</label>{}{}{}</div>',
        field.id_for_label,
        field.label,
        field.as_widget(attrs=attributes),
        errors or "",
        help_text or "",
    )


@dataclass(frozen=True, slots=True)
class SiteClock:
    """The time in the forms that an observatory lives by."""

    now: datetime
    at_site: datetime
    lst_hours: float

    @property
    def zone(self) -> str:
        return f"{self.at_site:%Z}"

    @property
    def site_offset_seconds(self) -> int:
        offset = self.at_site.utcoffset()
        return int(offset.total_seconds()) if offset else 0

    @property
    def lst(self) -> str:
        return f"{int(self.lst_hours):02d}h {int(self.lst_hours % 1 * 60):02d}m"


@register.simple_tag
def site_clock() -> SiteClock:
    """Time of rendering in UTC, at the site, and as local sidereal time."""
    now = timezone.now().astimezone(UTC)
    return SiteClock(now, now.astimezone(ZoneInfo(settings.LIBRARIAN_SITE_TIME_ZONE)), sidereal_hours(now))


def sidereal_hours(moment: datetime) -> float:
    """Local mean sidereal time at the site in hours, good to some seconds: for the clock, never for data.

    Greenwich mean sidereal time as in the Astronomical Almanac's low-precision form, with UT1 taken as UTC.
    """
    days = julian_date(moment) - 2451545.0
    greenwich = 18.697374558 + 24.06570982441908 * days
    return (greenwich + settings.LIBRARIAN_SITE_LONGITUDE_DEG / 15) % 24


@register.simple_tag
def site_words() -> dict[str, str]:
    """Name of the site, also on pages that are rendered without a request (error 500)."""
    return {"name": settings.LIBRARIAN_NAME, "displayed": settings.LIBRARIAN_DISPLAYED_NAME or settings.LIBRARIAN_NAME}
