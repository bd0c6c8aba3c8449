"""`search/error`, `error/clear`."""

from pydantic import RootModel

from hera_librarian.errors import ErrorCategory, ErrorSeverity
from hera_librarian.models.types import WireId, WireModel, WireTime


class ErrorClearRequest(WireModel):
    """Which error is dealt with."""

    id: WireId


class ErrorClearResponse(WireModel):
    """When it was cleared."""

    id: int
    cleared_time: WireTime
    cleared: bool


class ErrorSearchRequest(WireModel):
    """All conditions must hold; null says nothing. The window is of the time an error was first raised."""

    id: WireId | None = None
    category: ErrorCategory | None = None
    severity: ErrorSeverity | None = None
    create_time_window: tuple[WireTime, WireTime] | None = None
    include_resolved: bool = False
    max_results: int = 64


class ErrorSearchResponse(WireModel):
    """One trouble."""

    id: int
    severity: ErrorSeverity
    category: ErrorCategory
    message: str
    raised_time: WireTime
    cleared_time: WireTime | None
    cleared: bool
    caller: str | None


class ErrorSearchResponses(RootModel[list[ErrorSearchResponse]]):
    """Newest first."""


class ErrorSearchFailedResponse(WireModel):
    """Why not."""

    reason: str
    suggested_remedy: str
