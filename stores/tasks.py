"""Work of the stores floor for the job clusters: each calls one service and returns what it did in numbers."""

from typing import Any

from stores import services


def measure_stores() -> dict[str, Any]:
    return services.measure_stores()


def thin_space_readings() -> dict[str, Any]:
    return services.thin_space_readings()
