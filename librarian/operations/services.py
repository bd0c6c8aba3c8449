"""What people do about errors and jobs, from whichever surface: done and audited in one transaction."""

from typing import Any

from django.db import transaction

from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.inbox import clear_error
from librarian.common.jobs import BY_PERSON, queue_job
from librarian.common.models import ErrorRecord


def clear_trouble(*, error: ErrorRecord, actor: User, address: str = "") -> bool:
    """Close a trouble because a person says that it is dealt with; False if it was closed before."""
    if error.cleared_at is not None:
        return False
    with transaction.atomic():
        clear_error(error=error, cleared_by=actor.get_username())
        subject = f"error {error.pk} {error.code}"
        record_act(actor=actor, action="clear_error", subject=subject, address=address)
    return True


def run_job_now(
    *, name: str, actor: User, target: str = "", options: dict[str, Any] | None = None, address: str = ""
) -> None:
    """Queue a run of a job for the next free worker of its cluster. Raises NotFound, InvalidRequest (its options)."""
    with transaction.atomic():
        queue_job(name, target=target, trigger=BY_PERSON, asked_by=actor.get_username(), options=options)
        facts = {"options": options} if options else {}
        record_act(actor=actor, action="run_job", subject=f"{name} {target}".strip(), facts=facts, address=address)
