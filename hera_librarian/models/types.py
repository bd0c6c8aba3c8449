"""Types that the messages share: 32-bit ids, sizes, names, and times that are naive and mean UTC."""

from datetime import UTC, datetime
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from hera_librarian.deletion import DeletionPolicy

MAX_ID = 2**31 - 1
MAX_SIZE_BYTES = 2**63 - 1
MAX_NAME_CHARACTERS = 256
MAX_PATH_CHARACTERS = 4096


class WireModel(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(extra="ignore", from_attributes=True)


def _as_text(value: Any) -> Any:
    return value.as_posix() if isinstance(value, PurePath) else value


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _as_naive_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError("the time lies outside of the years 1 to 9999 in UTC") from None


def _as_policy_text(value: Any) -> Any:
    """Word or number of a deletion policy, in any of the forms that clients send, as the text of its number."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(int(value))
    if isinstance(value, str) and value.strip().lower() in ("0", "1", "allowed", "disallowed"):
        return str(int(DeletionPolicy.from_str(value)))
    raise ValueError("must be 'allowed' (1) or 'disallowed' (0)")


WireId = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(_no_boolean)]
"""An id of the wire: it travels into 32-bit columns."""

WireSize = Annotated[int, Field(ge=-MAX_SIZE_BYTES - 1, le=MAX_SIZE_BYTES), BeforeValidator(_no_boolean)]
"""A number of bytes; that it is not negative is said by the endpoint, in the words of the wire."""

WireName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS), BeforeValidator(_as_text)]
"""A name that goes into a column of 256 characters."""

WirePath = Annotated[str, Field(max_length=MAX_PATH_CHARACTERS), BeforeValidator(_as_text)]
"""A path as text; `Path` objects are accepted. What is legal in it is said by the endpoint."""

WireText = Annotated[str, Field(max_length=MAX_PATH_CHARACTERS)]

WireTime = Annotated[
    datetime, AfterValidator(_as_naive_utc), PlainSerializer(lambda value: value.isoformat(), return_type=str)
]
"""A time in UTC without offset, as the wire sends it; any ISO 8601 form and Unix seconds are read."""

WirePolicy = Annotated[str, BeforeValidator(_as_policy_text)]
"""A deletion policy as the text of its number; `allowed`, `disallowed`, 0 and 1 are read."""
