"""`corrupt/prepare`, `corrupt/resend`: a site asks another for good bytes."""

from hera_librarian.models.types import WireModel, WireName, WirePath


class CorruptionPreparationRequest(WireModel):
    """Can you send this file again?"""

    file_name: WirePath
    librarian_name: WireName


class CorruptionPreparationResponse(WireModel):
    """Whether it can."""

    ready: bool


class CorruptionResendRequest(WireModel):
    """Send this file again."""

    librarian_name: WireName
    file_name: WirePath


class CorruptionResendResponse(WireModel):
    """The transfer that brings it."""

    success: bool
    destination_transfer_id: int
