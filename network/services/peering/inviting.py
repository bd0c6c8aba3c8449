"""The inviting side of pairing: making an invitation, and taking in the site that shows its code.

How the two sides talk is drawn in `pairing`.
"""

import hmac
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.levels import Level
from accounts.models import Invitation, User
from accounts.rules import check_grant
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest
from network.errors import InvitationNotValid, NoSuchInvitation
from network.models import Peer
from network.services.peering.pairing_code import (
    Direction,
    PairingCode,
    digest_of,
    new_secret,
    own_address,
    own_name,
    read_direction,
)
from network.services.peering.peer_accounts import know_peer, open_account, refuse_account
from network.services.peering.peers import check_account

LONGEST_MINUTES = 7 * 24 * 60
KEPT_AFTER_END = timedelta(days=30)  # for people to look at; the audit trail has them for ever


def invite(
    *,
    actor: User | None,
    direction: Direction | str = Direction.BOTH,
    url: str = "",
    valid_minutes: int = 60,
    site_name: str = "",
    address: str = "",
) -> str:
    """Make an invitation and return its code, which is kept nowhere and counts once.

    Parameters
    ----------
    actor : User or None
        Who invites; None at the command line.
    direction : Direction
        Whether we send files to the other site, receive them from it, or both.
    url : str
        Where other sites reach this one; LIBRARIAN_PUBLIC_URL when left out.
    site_name : str
        The only site that may accept. Needed for one that is known here already, whose credentials are then changed.

    Raises
    ------
    InvalidRequest, LevelTooLow, Refused
    """
    direction = read_direction(direction)
    url, port = own_address(url)
    if not 1 <= valid_minutes <= LONGEST_MINUTES:
        raise InvalidRequest(f"An invitation is valid for 1 to {LONGEST_MINUTES} minutes.", remedy="60 is usual.")
    check_grant(actor, Level.ADMIN)  # whoever makes peers known may do everything
    if site_name:
        refuse_account(site_name, may_replace=True, remedy="")
    secret = new_secret()
    expires_at = timezone.now() + timedelta(minutes=valid_minutes)
    with transaction.atomic():
        Invitation.objects.filter(expires_at__lt=timezone.now() - KEPT_AFTER_END).delete()
        Invitation.objects.create(
            code_digest=digest_of(secret),
            level=direction.level,
            site_name=site_name,
            created_by=actor,
            expires_at=expires_at,
        )
        facts = {"direction": direction.value, "url": url, "port": port, "expires_at": expires_at, "site": site_name}
        record_act(actor=actor, action="invite_peer", subject="an invitation", facts=facts, address=address)
    return PairingCode(own_name(), url, port, direction, secret).text


def withdraw_invitation(invitation: Invitation, *, actor: User | None, address: str = "") -> None:
    """End an invitation before its time. Raises Conflict for one that is over; a pair that it made stays."""
    now = timezone.now()
    with transaction.atomic():
        if not Invitation.objects.filter(pk=invitation.pk, expires_at__gt=now).update(expires_at=now):
            raise Conflict(f"The {invitation} has expired already.", remedy="There is nothing to withdraw.")
        record_act(actor=actor, action="withdraw_invitation", subject=str(invitation), address=address)


def refuse_unknown(secret: str) -> None:
    """Raise NoSuchInvitation for a secret of none. For a look before anything that a stranger sent is read."""
    if not Invitation.objects.filter(code_digest=digest_of(secret)).exists():
        raise NoSuchInvitation("There is no such invitation here.")


def welcome(*, secret: str, proof: str, name: str, url: str, port: int, authenticator: str, address: str = "") -> str:
    """Take a site in that shows the secret of an invitation: its account here, and the peer, in one transaction.

    Parameters
    ----------
    proof : str
        By which a repeated call is known to come from the same site.
    name, url, port : str, str, int
        The site, and where it answers.
    authenticator : str
        Our account there.

    Returns
    -------
    str
        The authenticator of its account here, kept nowhere.

    Raises
    ------
    InvitationNotValid, NoSuchInvitation, InvalidRequest, Refused
    """
    account = check_account(name=name, url=url, port=port, authenticator=authenticator)
    with transaction.atomic():
        invitation = _claim(secret, proof, name)
        actor = invitation.created_by
        if actor is not None and not actor.may(Level.ADMIN):
            raise InvitationNotValid("Whoever made this invitation may not invite sites any more.")
        is_repeat = bool(invitation.proof_digest)
        if is_repeat and not _pair_stands(name):
            raise InvitationNotValid("The pair that this invitation made was removed, and each counts once.")
        is_known = is_repeat or invitation.site_name == name
        refuse_account(
            name,
            may_replace=is_known,
            remedy=f"The people of {own_name()} have to invite the site under its name, or to remove what is there.",
        )
        password = new_secret()
        # what people changed since the first call stays: a repeat gives fresh credentials, and no more
        level = Level.NONE if is_repeat else invitation.level
        open_account(actor=actor, name=name, password=password, level=level, address=address)
        know_peer(
            actor=actor,
            name=name,
            url=account.url,
            port=account.port,
            authenticator=authenticator,
            address=address,
        )
        Invitation.objects.filter(pk=invitation.pk).update(proof_digest=digest_of(proof))
        facts = {"url": account.url, "port": account.port, "level": Level(invitation.level).name}
        record_act(actor=actor, action="welcome_peer", subject=f"peer {name}", facts=facts, address=address)
    return f"{name}:{password}"


def _pair_stands(name: str) -> bool:
    """True while both halves of a pair are here."""
    return User.objects.filter(username=name).exists() and Peer.objects.filter(name=name).exists()


def _claim(secret: str, proof: str, name: str) -> Invitation:
    """The invitation of a secret, claimed for a site by compare-and-set: of two that race one gets it."""
    digest = digest_of(secret)
    now = timezone.now()
    Invitation.objects.filter(code_digest=digest, accepted_at__isnull=True, expires_at__gt=now).update(
        accepted_at=now, accepted_by=name
    )
    found = Invitation.objects.select_related("created_by").filter(code_digest=digest).first()
    if found is None or not hmac.compare_digest(found.code_digest, digest):
        raise NoSuchInvitation("There is no such invitation here.")
    if found.expires_at <= now:
        raise InvitationNotValid(f"The invitation has expired, at {found.expires_at:%Y-%m-%d %H:%M} UTC.")
    if found.site_name and found.site_name != name:
        raise InvitationNotValid(f"The invitation is for another site than {name}.")
    if found.proof_digest and not hmac.compare_digest(found.proof_digest, digest_of(proof)):
        raise InvitationNotValid("The invitation was used already, and each counts once.")
    if found.accepted_by != name:
        raise InvitationNotValid("The invitation was used already, and each counts once.")
    return found
