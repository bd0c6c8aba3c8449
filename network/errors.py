"""What can be wrong with a peer, as a caller or an operator is told. Nothing that a peer said is repeated in it."""

from http import HTTPStatus

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
