"""Numbers to SVG: places of bars, lines and ticks. Templates draw them; nothing here knows a table or a page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """A horizontal line: its value and its height from the top, in per cent."""

    value: float
    y: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar and its slot, in per cent of the plot: x positions from the left, y from the top."""

    label: str
    value: float
    slot_x: str
    slot_width: str
    x: str
    width: str
    middle: str
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class BarChart:
    bars: list[Bar]
    ticks: list[Tick]


def bar_chart(
    values: Sequence[tuple[str, float]], *, left: float = 8.0, top: float = 4.0, bottom: float = 14.0
) -> BarChart:
    """Places of labelled bars.

    Parameters
    ----------
    values : sequence of (label, value)
        Values from 0 on.
    left, top, bottom : float
        Room for axis and labels, in per cent of the whole picture.
    """
    ceiling = nice_ceiling(max((value for _, value in values), default=0))
    plot = 100 - top - bottom
    slot = (100 - left) / max(1, len(values))
    bars = []
    for number, (label, value) in enumerate(values):
        # A bar that stands for something is never invisible.
        height = max(plot * value / ceiling, 0.6) if value > 0 else 0.0
        x = left + slot * number
        bars.append(
            Bar(
                label=label,
                value=value,
                slot_x=_percent(x),
                slot_width=_percent(slot),
                x=_percent(x + slot * 0.17),
                width=_percent(slot * 0.66),
                middle=_percent(x + slot / 2),
                y=_percent(top + plot - height),
                height=_percent(height),
            )
        )
    ticks = [Tick(ceiling * part / 4, _percent(top + plot * (1 - part / 4))) for part in range(5)]
    return BarChart(bars, ticks)


def nice_ceiling(largest: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten: quarters of it are round numbers too. 1 for nothing."""
    if not math.isfinite(largest) or largest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    return next((step * power for step in (1, 2, 4, 8) if largest <= step * power), 10 * power)


def line_points(values: Sequence[tuple[float, float]], *, low: float, high: float) -> str:
    """`points` of a polyline on a field of 100 by 100: x spread over the span of the values, `high` at the top."""
    if not values:
        return ""
    first, last = values[0][0], values[-1][0]
    span, height = (last - first) or 1.0, (high - low) or 1.0
    return " ".join(
        f"{100 * (x - first) / span:.2f},{100 * (1 - (min(max(y, low), high) - low) / height):.2f}" for x, y in values
    )


def _percent(share: float) -> str:
    return f"{share:.2f}%"
