"""The audit trail: who did what to whom with rights over others. Entries are only ever appended."""

import getpass
import socket
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser

from librarian.common.models import AuditEntry
from librarian.common.texts import storable, storable_data


def record_act(
    *,
    actor: AbstractBaseUser | None,
    action: str,
    subject: str,
    facts: dict[str, Any] | None = None,
    address: str = "",
) -> None:
    """Append one act, in the transaction that does it, so that neither exists without the other.

    Parameters
    ----------
    actor : User or None
        None for a person at the command line: the entry then names the account and host of the process.
    action : str
        A stable verb phrase, such as `issue_token`.
    subject : str
        What it was done to, in words that outlive the row.
    facts : dict, optional
        Plain data. Never a password, token or key.
    address : str
        Where the request came from.
    """
    AuditEntry.objects.create(
        actor=actor,
        actor_name=(actor.get_username() if actor is not None else process_owner())[:64],
        action=action[:64],
        subject=storable(subject, 300),
        facts=storable_data(facts or {}),
        address=address[:64],
    )


def process_owner() -> str:
    """The account and host of this process: who a person at the command line is."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        account = "unknown"
    return f"{account}@{socket.gethostname()}"
