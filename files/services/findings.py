"""Recording what a look at the bytes of one copy found. Only evidence changes a row: a store that is away is none."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from files.models import Condition, DeletionPolicy, Instance, Presence
from files.services.events import append_event
from librarian.common.errors import ArchiveError
from librarian.common.inbox import report_error
from librarian.common.models import Category, Severity

CODES = {
    Condition.MISSING: "copy_missing",
    Condition.SHORT: "copy_short",
    Condition.DIFFERENT: "copy_different",
    Condition.UNREADABLE: "copy_unreadable",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of a copy: its condition, and one sentence for people that says what was seen."""

    condition: Condition
    sentence: str


def record_bad_copy(*, instance: Instance, finding: Finding, actor: str, facts: dict[str, Any] | None = None) -> bool:
    """Write down that a present copy was found bad: condition, event and error, in one transaction.

    Its presence and bytes are left alone; setting it aside and healing it are other steps. Other copies that might go
    must stay: perhaps they might on account of this one. Returns False, and writes nothing, when the store cannot be
    looked at now (then nothing was proven) or the row changed meanwhile.
    """
    if not _is_store_there(instance):
        return False
    with transaction.atomic():
        at = timezone.now()
        copies = Instance.objects.select_for_update().filter(file=instance.file_id)
        list(copies.order_by("pk").values_list("pk"))  # in the order in which everybody locks them
        seen = {"presence": Presence.PRESENT, "path": instance.path, "condition": instance.condition}
        changed = Instance.objects.filter(pk=instance.pk, **seen).update(condition=finding.condition, condition_at=at)
        if not changed:
            return False
        where = {"store": instance.store.name, "path": instance.path, "condition": finding.condition.value}
        append_event(file=instance.file, type="copy_found_bad", actor=actor, facts={**where, **(facts or {})})
        _keep_others(instance, actor)
        report_error(
            severity=Severity.ERROR,
            category=Category.DATA_AVAILABILITY if _is_gone(finding) else Category.DATA_INTEGRITY,
            code=CODES[finding.condition],
            message=f"The copy of {instance.file.name} on store {instance.store.name} ({instance.path}) is bad: "
            f"{finding.sentence}",
            remedy="Put the bytes back, or keep them for a repair; readers get another copy meanwhile.",
            caller=actor,
            target=f"{instance.store.name}/{instance.path}",
        )
    instance.condition, instance.condition_at = finding.condition, at
    return True


def _keep_others(instance: Instance, actor: str) -> None:
    others = Instance.objects.present().filter(file=instance.file_id, deletion_policy=DeletionPolicy.ALLOWED)
    for other in others.exclude(pk=instance.pk).select_related("store").order_by("pk"):
        Instance.objects.filter(pk=other.pk).update(deletion_policy=DeletionPolicy.DISALLOWED)
        facts = {"store": other.store.name, "path": other.path, "bad_copy": instance.store.name}
        append_event(file=instance.file, type="copy_must_stay", actor=actor, facts=facts)


def _is_gone(finding: Finding) -> bool:
    return finding.condition == Condition.MISSING


def _is_store_there(instance: Instance) -> bool:
    try:
        return instance.store.backend.check().available
    except ArchiveError:
        return False
