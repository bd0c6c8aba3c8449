"""`ping/`, `ping/logged`, `ping/admin`."""

from hera_librarian.models.types import WireModel


class PingRequest(WireModel):
    """Says nothing."""


class PingResponse(WireModel):
    """Who answers."""

    name: str
    description: str
