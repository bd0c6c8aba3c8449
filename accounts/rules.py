"""What nobody may do to an account, whoever asks: rules that the services share."""

import re

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.levels import Level
from accounts.models import User
from librarian.common.errors import InvalidRequest, LevelTooLow

LONGEST_PASSWORD = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_grant(actor: User | None, level: int) -> None:
    """Raise LevelTooLow if `actor` would grant, or touch an account with, more than the actor's own level."""
    if level not in Level.values:
        raise InvalidRequest(f"level: {level} is not a level.", remedy=f"Choose one of {_choices()}.")
    if actor is not None and not actor.may(level):
        raise LevelTooLow(
            f"{actor.username} has level {Level(actor.level).name} and cannot act on level {Level(level).name}.",
            remedy="Nobody grants or edits above their own level; ask somebody who has it.",
        )


def check_fields(user: User) -> None:
    """The model's own rules for single fields, as one of our errors."""
    if not isinstance(user.username, str):
        raise InvalidRequest("username: this is not text.")
    if _CONTROL.search(user.full_name):
        raise InvalidRequest("full_name: it has control characters.")
    try:
        user.clean_fields(exclude=["password"])
    except ValidationError as problem:
        fields = {name: " ".join(texts) for name, texts in problem.message_dict.items()}
        first = next(iter(fields))
        raise InvalidRequest(f"{first}: {fields[first]}", fields=fields) from problem


def check_new_password(password: str, user: User, *, weak_password_ok: bool) -> None:
    """Raise InvalidRequest for a password that cannot be set, or is too easy to guess unless that is accepted."""
    if not password or len(password) > LONGEST_PASSWORD:
        raise InvalidRequest(f"password: it must have 1 to {LONGEST_PASSWORD} characters.")
    try:
        password.encode()
        if not weak_password_ok:
            validate_password(password, user)
    except UnicodeEncodeError:
        raise InvalidRequest("password: it has half of a surrogate pair, which is no character.") from None
    except ValidationError as problem:
        raise InvalidRequest(
            f"password: {' '.join(problem.messages)}", remedy="Choose a longer password, or have one generated."
        ) from problem


def _choices() -> str:
    return ", ".join(f"{level.value} ({level.name})" for level in Level)
