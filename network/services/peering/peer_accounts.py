"""Both halves of knowing a peer, made together: its account here and our account there.

Used by pairing, on either side. An account that exists is taken over only if it is a peer's and a person allowed it:
whoever holds an invitation could else name himself like any site that we know.
"""

from accounts.levels import Level
from accounts.models import User
from accounts.services import create_user, update_user
from librarian.common.errors import Refused
from network.models import Peer
from network.services.peering.peers import add_peer, edit_peer

ANOTHER_NAME = "Give that account another name, or let the site of that name choose another LIBRARIAN_NAME."


def refuse_account(name: str, *, may_replace: bool, remedy: str) -> None:
    """Raise Refused if a site of this name cannot have an account here.

    `may_replace` says that a person allowed to change the credentials of a site that is known already; `remedy` how one
    would allow it.
    """
    user = User.objects.filter(username=name).first()
    known = Peer.objects.filter(name=name).exists()
    if user is not None:
        if user.level == Level.ADMIN or not (known or user.kind == User.Kind.LIBRARIAN):
            raise Refused(f"There is an account {name} here that is not that of a peer.", remedy=ANOTHER_NAME)
        if not user.is_active:
            raise Refused(
                f"The account {name} of that site is switched off here.", remedy="Switch it on, or remove it, first."
            )
    if (user is not None or known) and not may_replace:
        raise Refused(f"A site called {name} is known here already.", remedy=remedy)


def open_account(*, actor: User | None, name: str, password: str, level: int, address: str) -> None:
    """Make the account of a peer, or give the one it has another password, and the level if that is higher."""
    user = User.objects.filter(username=name).first()
    if user is None:
        create_user(
            actor=actor, username=name, password=password, level=level, kind=User.Kind.LIBRARIAN, address=address
        )
    else:
        level = max(level, user.level)
        update_user(actor=actor, user=user, password=password, level=level, kind=User.Kind.LIBRARIAN, address=address)


def know_peer(
    *,
    actor: User | None,
    name: str,
    url: str,
    port: int,
    authenticator: str,
    address: str,
) -> Peer:
    """Add a peer, or give the one of that name another address and authenticator. Calls nobody."""
    given = {"url": url, "port": port, "authenticator": authenticator, "check": False}
    peer = Peer.objects.filter(name=name).first()
    if peer is None:
        peer, _ = add_peer(actor=actor, name=name, address=address, **given)
    else:
        edit_peer(peer=peer, actor=actor, address=address, **given)
    return peer
