"""Wire protocol: `admin/librarians/...`."""

from rest_framework.request import Request

from accounts.addresses import client_address
from accounts.levels import Level
from accounts.permissions import wire_level_required
from hera_librarian.models.admin import (
    AdminAddLibrarianRequest,
    AdminAddLibrarianResponse,
    AdminChangeLibrarianTransferStatusRequest,
    AdminLibrarianTransferStatusResponse,
    AdminListLibrariansRequest,
    AdminListLibrariansResponse,
    AdminRemoveLibrarianRequest,
    AdminRemoveLibrarianResponse,
    LibrarianListResponseItem,
)
from librarian.common.errors import ArchiveError, InvalidRequest
from librarian.common.wire import WireFailure, WireView
from network.errors import PeerExists, PeerProblem
from network.models import Peer
from network.queries import peers_asked
from network.services import add_peer, remove_peer, set_transfers_enabled


class ListLibrarians(WireView):
    """`admin/librarians/list`: every peer; with `ping`, whether each can be worked with, all asked at once."""

    request_model = AdminListLibrariansRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: AdminListLibrariansRequest) -> AdminListLibrariansResponse:
        return AdminListLibrariansResponse(librarians=[describe_peer(*each) for each in peers_asked(ask=message.ping)])


class AddLibrarian(WireView):
    """`admin/librarians/add`: a new peer. A used name or a failed check is an answer, as clients expect, no failure."""

    request_model = AdminAddLibrarianRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: AdminAddLibrarianRequest) -> AdminAddLibrarianResponse:
        try:
            add_peer(
                actor=request.user,
                name=message.librarian_name,
                url=message.url,
                port=message.port,
                authenticator=message.authenticator,
                check=message.check_connection,
                address=client_address(request) or "",
            )
        except InvalidRequest as problem:
            reason = f"Librarian {message.librarian_name} cannot be added: {problem.reason}"
            raise WireFailure(400, reason, problem.suggested_remedy, code=problem.code) from None
        except PeerExists as problem:
            return not_added(problem, already_exists=True)
        except PeerProblem as problem:
            return not_added(problem, already_exists=False)
        return AdminAddLibrarianResponse(
            success=True, already_exists=False, ping_success=True if message.check_connection else None
        )


class RemoveLibrarian(WireView):
    """`admin/librarians/remove`: forgets a peer. What is known of copies there stays."""

    request_model = AdminRemoveLibrarianRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(self, request: Request, message: AdminRemoveLibrarianRequest) -> AdminRemoveLibrarianResponse:
        ended = remove_peer(
            peer=find_peer(message.librarian_name),
            actor=request.user,
            end_transfers=message.remove_outgoing_transfers,
            address=client_address(request) or "",
        )
        return AdminRemoveLibrarianResponse(success=True, number_of_transfers_removed=ended)


class ChangeTransferStatus(WireView):
    """`admin/librarians/transfer_status/change`, and `…/set` as clients spell it. Harmless when repeated."""

    request_model = AdminChangeLibrarianTransferStatusRequest
    permission_classes = [wire_level_required(Level.ADMIN)]

    def answer(
        self, request: Request, message: AdminChangeLibrarianTransferStatusRequest
    ) -> AdminLibrarianTransferStatusResponse:
        peer = find_peer(message.librarian_name)
        set_transfers_enabled(
            peer=peer, enabled=message.transfers_enabled, actor=request.user, address=client_address(request) or ""
        )
        return AdminLibrarianTransferStatusResponse(librarian_name=peer.name, transfers_enabled=peer.transfers_enabled)


def find_peer(name: str) -> Peer:
    """The peer of this name. Raises WireFailure in the protocol's words."""
    peer = Peer.objects.filter(name=name).first()
    if peer is None:
        raise WireFailure(
            400, f"Librarian {name} does not exist.", "List the librarians to learn their names.", code="no_such_peer"
        )
    return peer


def describe_peer(peer: Peer, available: bool | None, problem: ArchiveError | None) -> LibrarianListResponseItem:
    """A peer as the wire shows it."""
    return LibrarianListResponseItem(
        name=peer.name,
        url=peer.url,
        port=peer.port,
        available=available,
        enabled=peer.transfers_enabled,
        reason=problem.reason if problem else None,
        suggested_remedy=problem.suggested_remedy if problem else None,
    )


def not_added(problem: ArchiveError, *, already_exists: bool) -> AdminAddLibrarianResponse:
    """The answer to an addition that changed nothing."""
    return AdminAddLibrarianResponse(
        success=False,
        already_exists=already_exists,
        ping_success=False,
        code=problem.code,
        reason=problem.reason,
        suggested_remedy=problem.suggested_remedy,
    )
