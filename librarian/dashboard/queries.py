"""What the home page shows: figures, the last days, and what waits for somebody."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import Case, Count, Sum, Value, When
from django.db.models.functions import TruncDate

from accounts.models import User
from files.models import File, Instance
from librarian.common.charts import BarChart, bar_chart
from librarian.common.listing import remembered
from librarian.common.models import ErrorRecord, Severity
from librarian.common.templatetags.units import bytes_for_people
from librarian.operations import queries as operations
from stores.models import Store

DAYS_SHOWN = 14
BYTE_UNITS = {unit: 1000.0**power for power, unit in enumerate(("B", "kB", "MB", "GB", "TB", "PB", "EB"))}


@dataclass(frozen=True, slots=True)
class Totals:
    """The catalogue in three numbers. Copies are present ones."""

    file_count: int
    size_bytes: int
    copy_count: int


@dataclass(frozen=True, slots=True)
class IngestDay:
    """What was taken in on one day (UTC)."""

    day: date
    file_count: int
    size_bytes: int
    is_today: bool

    @property
    def names_month(self) -> bool:
        """True where the label says the month: at the ends, and where a month begins."""
        return self.is_today or self.day.day == 1


def totals() -> Totals:
    """Sums over the whole catalogue; a little old when they are dear."""

    def compute() -> Totals:
        sums = File.objects.aggregate(files=Count("pk"), size_bytes=Sum("size_bytes", default=0))
        return Totals(sums["files"], sums["size_bytes"], Instance.objects.present().count())

    return remembered("dashboard.totals", compute)


def ingest_days(now: datetime, days: int = DAYS_SHOWN) -> list[IngestDay]:
    """Files and bytes of each of the last days, oldest first, today (still running) last."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=days - 1)
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    rows = (
        File.objects.filter(registered_at__gte=since)
        .order_by()
        .annotate(day=TruncDate("registered_at", tzinfo=UTC))
        .values("day")
        .annotate(file_count=Count("pk"), size_bytes=Sum("size_bytes"))
    )
    found = {row["day"]: row for row in rows}
    all_days = [first + timedelta(days=number) for number in range(days)]
    return [
        IngestDay(day, found[day]["file_count"], found[day]["size_bytes"], day == today)
        if day in found
        else IngestDay(day, 0, 0, day == today)
        for day in all_days
    ]


def ingest_chart(days: list[IngestDay]) -> dict[str, Any]:
    """The days as bars of bytes, with the axis in the unit that suits the largest."""
    chart: BarChart = bar_chart([(f"{day.day:%d %b}", day.size_bytes) for day in days])
    unit = bytes_for_people(chart.ticks[-1].value).split()[1]
    return {
        "bars": list(zip(days, chart.bars, strict=True)),
        "ticks": [(tick, f"{tick.value / BYTE_UNITS[unit]:g}") for tick in chart.ticks],
        "unit": unit,
        "is_empty": not any(day.file_count for day in days),
    }


def latest_files(limit: int = 8) -> list[File]:
    """The newest files of the catalogue."""
    return list(File.objects.order_by("-registered_at", "-id")[:limit])


def open_errors(limit: int = 5) -> list[ErrorRecord]:
    """Open troubles that need somebody: the worst first, and of the same weight the newest."""
    worst_first = Case(*(When(severity=severity, then=Value(place)) for place, severity in enumerate(Severity.values)))
    rows = operations.open_errors().exclude(severity=Severity.INFO)
    return list(rows.order_by(worst_first, "-last_raised_at", "-pk")[:limit])


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What a new site has and lacks."""

    stores: list[Store]
    has_people: bool

    @property
    def has_store(self) -> bool:
        return any(store.enabled and store.available and store.ingestable for store in self.stores)


def first_steps() -> FirstSteps | None:
    """What is left to do on a site that has no file yet; None once it has one."""
    if File.objects.exists():
        return None
    # The first administrator is made by the start itself; a site with people has a second account.
    return FirstSteps(list(Store.objects.all()), User.objects.filter(is_active=True).count() > 1)
