"""Changes to accounts and tokens. Each is one transaction and one line in the audit trail.

`actor` is who asks; None stands for a person at the command line, who may do everything. Who may ask at all is the
caller's business (permissions); what nobody may do, whoever asks, is refused here.
"""

import re
import secrets
from datetime import datetime
from typing import Any

from django.db import IntegrityError, models, transaction
from django.utils.timezone import now

from accounts.authentication import token_digest
from accounts.levels import Level
from accounts.models import ApiToken, User, keep_an_administrator
from accounts.rules import check_fields, check_grant, check_new_password
from librarian.common.audit import record_act
from librarian.common.errors import Conflict, InvalidRequest, LevelTooLow, LostRace, Refused

TOKEN_PREFIX = "lib_"  # noqa: S105  no secret: lets people and secret scanners recognise one
_HINT_CHARACTERS = 9
_TOKEN_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,64}")


class UserExists(Conflict):
    code = "user_exists"
    remedy = "Choose another name, or change the account that exists."


def new_password() -> str:
    """A password that nobody has to think up (128 random bits)."""
    return secrets.token_urlsafe(16)


def create_user(
    *,
    actor: User | None,
    username: str,
    password: str | None,
    level: int,
    kind: str = User.Kind.PERSON,
    full_name: str = "",
    email: str = "",
    weak_password_ok: bool = False,
    address: str = "",
) -> User:
    """Make an account; without a password only tokens open it.

    Raises InvalidRequest (name or password), LevelTooLow (above the actor's own) or UserExists.
    """
    check_grant(actor, level)
    user = User(username=username, kind=kind, full_name=full_name, email=email, level=level)
    user.set_unusable_password()
    check_fields(user)
    if password is not None:
        check_new_password(password, user, weak_password_ok=weak_password_ok)
        user.set_password(password)
    with transaction.atomic():
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError as problem:
            if not User.objects.filter(username=username).exists():
                raise
            raise UserExists(f"User already exists: {username}.") from problem
        record_act(
            actor=actor,
            action="create_user",
            subject=username,
            facts={"level": Level(level).name, "kind": str(kind), "has_password": password is not None},
            address=address,
        )
    return user


def update_user(
    *,
    actor: User | None,
    user: User,
    password: str | None = None,
    weak_password_ok: bool = False,
    address: str = "",
    **changes: Any,
) -> User:
    """Change any of level, is_active, kind, full_name, email and the password in one transaction.

    What stays the same is left alone. Raises InvalidRequest, LevelTooLow, or Refused if no active ADMIN would be left.
    """
    with transaction.atomic():
        row = _locked(user, with_administrators=True)
        check_grant(actor, row.level)
        new = {name: value for name, value in changes.items() if value != getattr(row, name)}
        if "level" in new:
            check_grant(actor, new["level"])
        if row.may(Level.ADMIN) and (new.get("level", row.level) != Level.ADMIN or new.get("is_active") is False):
            keep_an_administrator(without=[row.pk])
        facts = {name: [_plain(name, getattr(row, name)), _plain(name, value)] for name, value in new.items()}
        for name, value in new.items():
            setattr(row, name, value)
        check_fields(row)
        if password is not None:
            check_new_password(password, row, weak_password_ok=weak_password_ok)
            row.set_password(password)
            new["password"], facts["password"] = row.password, "changed"
        if new:
            row.save(update_fields=list(new))
            action = "set_password" if list(new) == ["password"] else "update_user"
            record_act(actor=actor, action=action, subject=row.username, facts=facts, address=address)
    for name in (*new, "is_staff", "is_superuser"):
        setattr(user, name, getattr(row, name))
    return row


def set_level(*, actor: User | None, user: User, level: int, address: str = "") -> User:
    """Give an account another level; tokens that carry more are worth no more than the account from then on."""
    return update_user(actor=actor, user=user, level=level, address=address)


def set_active(*, actor: User | None, user: User, active: bool, address: str = "") -> User:
    """Open or close an account. A closed one keeps its name and history; its password and tokens stop at once."""
    return update_user(actor=actor, user=user, is_active=active, address=address)


def set_password(
    *, actor: User | None, user: User, password: str, weak_password_ok: bool = False, address: str = ""
) -> None:
    """Set a password; the old one and the portal sessions of the account end with it. Tokens live on."""
    update_user(actor=actor, user=user, password=password, weak_password_ok=weak_password_ok, address=address)


def delete_user(*, actor: User | None, user: User, address: str = "") -> None:
    """Remove an account with its tokens; what it did stays on record under its name.

    Raises Refused for the last ADMIN.
    """
    with transaction.atomic():
        row = _locked(user, with_administrators=True)
        check_grant(actor, row.level)
        row.delete()
        record_act(actor=actor, action="delete_user", subject=user.username, address=address)


def issue_token(
    *,
    actor: User | None,
    user: User,
    name: str,
    level: int,
    expires_at: datetime | None,
    ceiling: int | None = None,
    address: str = "",
) -> tuple[ApiToken, str]:
    """Make a token and return it with its text, which is kept nowhere and cannot be had again.

    Parameters
    ----------
    expires_at : datetime or None
        Aware; None for a token that lives until it is revoked.
    ceiling : int, optional
        Level at which the request itself acts: a caller with a weak token must not make a stronger one from it.
    """
    name = name.strip()
    if not _TOKEN_NAME.fullmatch(name):
        raise InvalidRequest("name: a token needs a name of 1 to 64 characters without control characters.")
    if expires_at is not None and expires_at <= now():
        raise InvalidRequest("expires_at: this time has passed.")
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        owner = _locked(user)
        _check_token_level(actor, owner, level, ceiling)
        # The lock on the owner makes this check hold until the row is there.
        if owner.tokens.filter(name=name, revoked_at__isnull=True).exists():
            raise Conflict(
                f"{owner.username} has a token named {name!r} already.",
                remedy="Revoke that one or choose another name.",
            )
        token = ApiToken.objects.create(
            user=owner,
            name=name,
            digest=token_digest(text),
            hint=text[:_HINT_CHARACTERS],
            level=level,
            expires_at=expires_at,
        )
        record_act(
            actor=actor,
            action="issue_token",
            subject=f"{owner.username}/{name}",
            facts={"level": Level(level).name, "expires_at": expires_at, "token": token.pk},
            address=address,
        )
    return token, text


def revoke_token(*, actor: User | None, token: ApiToken, address: str = "") -> None:
    """End a token at once and for ever; one that is revoked already stays as it is."""
    check_grant(actor, token.level if actor is None or actor.pk != token.user_id else Level.NONE)
    with transaction.atomic():
        revoked_at = now()
        if not ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=revoked_at):
            token.refresh_from_db()
            return
        token.revoked_at = revoked_at
        subject = f"{token.user.username}/{token.name}"
        record_act(actor=actor, action="revoke_token", subject=subject, facts={"token": token.pk}, address=address)


def effective_level(token: ApiToken) -> Level:
    """What a token is worth now: never more than its owner, nothing once either of them is closed."""
    if not token.user.is_active or not token.is_usable:
        return Level.NONE
    return Level(min(token.level, token.user.level))


def _check_token_level(actor: User | None, owner: User, level: int, ceiling: int | None) -> None:
    check_grant(actor, level)
    if not owner.is_active:
        raise Refused(f"The account {owner.username} is not active.", remedy="Make it active first.")
    if level == Level.NONE:
        raise InvalidRequest("level: a token with level NONE could do nothing.")
    limit = owner.level if ceiling is None else min(owner.level, ceiling)
    if level > limit:
        raise LevelTooLow(
            f"A token of {owner.username} may carry at most {Level(limit).name} here, not {Level(level).name}."
        )


def _locked(user: User, *, with_administrators: bool = False) -> User:
    """The account's row, locked for this transaction.

    What may take level ADMIN from somebody locks all administrators with it, in one order: two people who act on each
    other's account would otherwise each hold one row and wait for the other's.
    """
    wanted = models.Q(pk=user.pk)
    if with_administrators:
        wanted |= models.Q(level=Level.ADMIN, is_active=True)
    for row in User.objects.select_for_update(no_key=True).filter(wanted).order_by("pk"):
        if row.pk == user.pk:
            return row
    raise LostRace(f"The account {user.username} is no longer there.")


def _plain(name: str, value: Any) -> Any:
    return Level(value).name if name == "level" else value
