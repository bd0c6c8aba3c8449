"""Wire protocol: `checkin/...`, by which two sites compare the states of transfers."""

from rest_framework.request import Request

from accounts.levels import Level
from accounts.permissions import wire_level_required
from hera_librarian.models.checkin import (
    CheckinStatusRequest,
    CheckinStatusResponse,
    CheckinUpdateRequest,
    CheckinUpdateResponse,
)
from librarian.common.wire import WireView
from network.api.callers import caller_of
from network.services.hearing.comparing import tell_states, update_transfers


class CheckinUpdate(WireView):
    """`checkin/update`: the caller says where its transfers stand. Always an answer, which says what was not set."""

    request_model = CheckinUpdateRequest
    permission_classes = [wire_level_required(Level.CALLBACK)]

    def answer(self, request: Request, message: CheckinUpdateRequest) -> CheckinUpdateResponse:
        return update_transfers(message, caller_of(request))


class CheckinStatus(WireView):
    """`checkin/status`: where the caller's transfers stand."""

    request_model = CheckinStatusRequest
    permission_classes = [wire_level_required(Level.CALLBACK)]

    def answer(self, request: Request, message: CheckinStatusRequest) -> CheckinStatusResponse:
        return tell_states(message, caller_of(request))
