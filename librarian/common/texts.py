"""Text and plain data in the form that both databases store.

Names from a disk may hold bytes that are not UTF-8 (lone surrogates in Python), messages of other programs a NUL, and
measured numbers a NaN; PostgreSQL refuses each of them, and a report of a trouble must not fail for its wording.
"""

import json
import math
import re
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

# Control characters, line separators, halves of surrogate pairs: no name of anything holds one.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def storable(text: str, limit: int | None = None) -> str:
    """`text` with what no database stores written out as escapes, cut to `limit` characters."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def storable_data(value: Any) -> Any:
    """`value` as plain data for a JSONField: strings made storable, dates as ISO 8601, NaN and infinities as text.

    Raises TypeError for what JSON cannot say.
    """
    return _storable_parts(json.loads(json.dumps(value, cls=DjangoJSONEncoder)))


def _storable_parts(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_storable_parts(part) for part in value]
    if isinstance(value, dict):
        return {storable(key): _storable_parts(part) for key, part in value.items()}
    return value
