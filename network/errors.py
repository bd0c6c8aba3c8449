"""What can be wrong with a peer, as a caller or an operator is told.

Nothing that whatever lies at an address said is repeated in it, but for the reason that a Librarian gives in the form
of the protocol for not doing what it was asked (`PeerAnswered`).
"""

from http import HTTPStatus
from typing import Any

from librarian.common.errors import ArchiveError, Conflict


class PeerExists(Conflict):
    code = "peer_exists"
    remedy = "Choose another name; or change the one that exists, or remove it first."


class PeerProblem(ArchiveError):
    """The peer answers, but not with what was asked for. Base of what can go wrong on a call."""

    code = "peer_failing"
    status = HTTPStatus.BAD_GATEWAY
    remedy = "Try again later; if it stays so, ask the people who run that site."
    passing = True


class PeerUnreachable(PeerProblem):
    code = "peer_unreachable"
    remedy = "Check address and port, that the other site runs, and the tunnel or firewall between."


class PeerRefusesUs(PeerProblem):
    code = "peer_refuses_us"
    remedy = (
        "Check the authenticator: name and password, or token, of an account at that site with level CALLBACK or more."
    )
    passing = False


class NotALibrarian(PeerProblem):
    code = "peer_is_no_librarian"
    remedy = "Check address, port and path: give those under which the other site's ping/ answers."
    passing = False


class OtherLibrarian(PeerProblem):
    code = "peer_has_another_name"
    remedy = "Register it under the name that it goes by, its LIBRARIAN_NAME, or correct the address."
    passing = False


class PeerResting(PeerProblem):
    """It failed several times in a row, so jobs leave it alone for a while. Nobody was called."""

    code = "peer_rests"
    remedy = "Wait: it is called again at the time named, and every few minutes by the job that checks peers."


class PeerRemoved(PeerProblem):
    """There is no peer of this name any more. Nobody was called."""

    code = "peer_removed"
    remedy = "Add the Librarian again under the same name, or cancel what is on its way to it."


class PeerAnswered(PeerProblem):
    """It answers, and does not do what it was asked.

    Parameters
    ----------
    http_status : int
        Of its answer.
    content : dict
        What it said, unwrapped: `reason`, `suggested_remedy`, `code` and ids, as far as it told them.
    """

    code = "peer_answers_no"
    remedy = "The reason is the other site's own; ask its people if it does not explain itself."

    def __init__(self, reason: str, *, http_status: int, content: dict[str, Any], remedy: str | None = None) -> None:
        super().__init__(reason, remedy=remedy)
        self.http_status = http_status
        self.content = content
        self.passing = http_status >= 500 or http_status in (408, 425, 429)

    @property
    def said_code(self) -> str:
        """Code of the error over there; empty when it tells none."""
        code = self.content.get("code")
        return code if isinstance(code, str) else ""


class InvitationNotValid(ArchiveError):
    code = "invitation_not_valid"
    status = HTTPStatus.CONFLICT
    remedy = "Ask the people of the site that invites for a new code, and accept it within its time."


class NoSuchInvitation(InvitationNotValid):
    """The secret belongs to no invitation: copied wrongly, or guessed."""

    code = "no_such_invitation"
    status = HTTPStatus.NOT_FOUND
