"""The job that empties stores: what has a verified copy elsewhere may go, of the rest copies are wanted.

Instances are gone through in rounds, a page at a time; one of which nothing can be done keeps no other waiting.
"""

import time
from collections.abc import Sequence

from django.db import DatabaseError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from files.models import (
    CopyState,
    DeletionPolicy,
    Instance,
    Offload,
    OffloadState,
    Presence,
    StoreCopy,
    Upload,
)
from files.services.copying import cancel_group, want_copies
from files.services.copying.outcomes import NO_ROOM
from files.services.copying.sources import BAD
from files.services.events import NewEvent, extend_histories
from files.services.offloading.acts import CALLER, FAILING
from files.services.offloading.evidence import (
    THERE,
    evidence_for,
    is_fresh,
    is_good,
    is_readable_here,
    proving_copies,
    read_again,
    verified_copies,
)
from files.services.offloading.progress import matching
from librarian.common.errors import ArchiveError, LostRace
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from librarian.common.moves import move
from librarian.common.texts import storable

PAGE = 500
LONGEST_AGO = F("looked_at").asc(nulls_first=True)
RUN_SECONDS = 600.0
MOST_WANTED = 20_000  # copies of one offload that wait; more are wanted as these are made

Counts = dict[str, int]
Pair = tuple[Instance, Instance]  # a copy that may go, and the one that stays


def run_offloads(*, limit: int = 100_000, seconds: float = RUN_SECONDS) -> Counts:
    """Go on with every offload that runs.

    Parameters
    ----------
    limit : int
        Of instances looked at for each offload in one run.
    seconds : float
        After which nothing new is begun.

    Returns
    -------
    dict
        How many copies may go since, are wanted since, were read again, wait for a store that is away; and how many
        offloads ended, or cannot go on.
    """
    counts = dict.fromkeys(("may_go", "wanted", "read", "waiting", "done", "failing"), 0)
    ends_at = time.monotonic() + seconds
    _give_up_leftovers()
    for offload in Offload.objects.filter(state=OffloadState.RUNNING).select_related("store").order_by(LONGEST_AGO):
        try:
            _Round(offload, counts, limit, ends_at).go_on()
        except LostRace:
            continue  # a person was at it this moment
        except (ArchiveError, DatabaseError) as problem:
            counts["failing"] += 1
            _note_problem(offload, problem)
    return counts


def _give_up_leftovers() -> None:
    """A copy that was being made when its offload ended may want to be tried again: nobody waits for it."""
    waiting = StoreCopy.objects.filter(state=CopyState.WANTED, group__startswith="offload:")
    groups = set(waiting.order_by().values_list("group", flat=True).distinct())
    running = {offload.group for offload in Offload.objects.filter(state=OffloadState.RUNNING)}
    for group in groups - running:
        cancel_group(group, because="The offload is over or paused.")


class _Round:
    """One offload in one run of the job."""

    def __init__(self, offload: Offload, counts: Counts, limit: int, ends_at: float) -> None:
        self.offload, self.store = offload, offload.store
        self.counts, self.left, self.ends_at = counts, limit, ends_at
        self.last = offload.looked_up_to
        self.waiting = 0

    def go_on(self) -> None:
        """Look at the next instances; at the end of a round see whether anything is left. Raises InvalidSearch."""
        instances = _to_do(self.offload)
        if self.last == 0 and self._end_if_done(instances):
            return
        is_through = False
        while self.left > 0 and time.monotonic() < self.ends_at and not is_through:
            page = list(instances.filter(pk__gt=self.last).select_related("file").order_by("pk")[:PAGE])
            is_through = len(page) < PAGE
            if page:
                self._look_at(page)
                self.last = page[-1].pk
                self.left -= len(page)
        self.counts["waiting"] += self.waiting
        ended = is_through and self._end_if_done(instances)
        if not ended:
            self._write_down(0 if is_through else self.last)

    def _look_at(self, page: Sequence[Instance]) -> None:
        evidence = evidence_for((instance.file_id for instance in page), besides=self.store)
        may_go: list[Pair] = []
        without: list[int] = []
        for instance in page:
            known = evidence.get(instance.file_id, [])
            if (proof := self._proof(known)) is not None:
                may_go.append((instance, proof))
            elif any(self._is_waited_for(other) for other in known):
                self.waiting += 1
            elif not known or time.monotonic() < self.ends_at:
                without.append(instance.file_id)
        self.counts["may_go"] += _let_go(may_go, self.offload)
        self.counts["wanted"] += self._want(without)

    def _is_waited_for(self, other: Instance) -> bool:
        """True of a copy that could not be read now: it was good, or lies where a copy would go."""
        return is_good(other) or (other.store_id in self.offload.targets and other.condition not in BAD)

    def _proof(self, known: Sequence[Instance]) -> Instance | None:
        """Another copy that was seen good lately, or is now; None if there is none."""
        for other in known:
            if is_fresh(other):
                return other
            if is_readable_here(other) and time.monotonic() < self.ends_at:
                self.counts["read"] += 1
                if read_again(other, _no_progress):
                    return other
        return None

    def _want(self, files: Sequence[int]) -> int:
        if not files:
            return 0
        room = MOST_WANTED - StoreCopy.objects.of_group(self.offload.group).live().count()
        targets = self.offload.targets
        return want_copies(file_ids=files[: max(0, room)], targets=targets, group=self.offload.group)

    # --- Its end ---

    def _end_if_done(self, instances: QuerySet[Instance]) -> bool:
        """Nothing that matches is left, and nothing is on its way to a store that is drained."""
        store = self.store
        # Deliveries first: one that ends between the two looks is seen as an instance.
        is_arriving = self.offload.drains and Upload.objects.live().filter(store=store).exists()
        if is_arriving or instances.exists():
            return False
        with transaction.atomic():
            now = timezone.now()
            move(self.offload, to=OffloadState.DONE, changed_at=now, finished_at=now, looked_at=now, problem="")
            cancel_group(self.offload.group, because=f"The offload of {store.name} is done.")
            clear_matching(code=FAILING, caller=CALLER, target=store.name, cleared_by="the end of the offload")
            _tell_done(self.offload)
        self.counts["done"] += 1
        return True

    def _write_down(self, looked_up_to: int) -> None:
        problem = self._problem()
        rows = Offload.objects.filter(pk=self.offload.pk, state=OffloadState.RUNNING)
        rows.update(looked_up_to=looked_up_to, looked_at=timezone.now(), problem=problem)
        if self.offload.problem:
            clear_matching(code=FAILING, caller=CALLER, target=self.store.name, cleared_by="a run that went well")

    def _problem(self) -> str:
        copies = StoreCopy.objects.of_group(self.offload.group).live().filter(code=NO_ROOM)
        if reason := copies.values_list("reason", flat=True).first():
            return reason
        if self.waiting:
            return (
                f"{self.waiting} files have another copy on a store that is away or switched off, so that it cannot "
                "be read again now."
            )
        return ""


def _to_do(offload: Offload) -> QuerySet[Instance]:
    """Copies on the store that may not go yet, or have no copy (any more) on account of which they might."""
    proofs = proving_copies(besides=offload.store).filter(file=OuterRef("file"))
    here = Instance.objects.present().filter(store=offload.store)
    return matching(here.filter(Q(deletion_policy=DeletionPolicy.DISALLOWED) | ~Exists(proofs)), offload)


def _let_go(pairs: Sequence[Pair], offload: Offload) -> int:
    """Write down that copies may go, each with the one on account of which: policies and events in one transaction.

    That one must stay from now on, even if it might have gone until now: else both might.
    """
    if not pairs:
        return 0
    with transaction.atomic():
        proofs = [proof.pk for _, proof in pairs]
        both = [instance.pk for instance, _ in pairs] + proofs
        list(Instance.objects.select_for_update().filter(pk__in=both).order_by("pk").values_list("pk"))
        verified = verified_copies(besides=offload.store).filter(pk__in=proofs, **THERE)
        sound = set(verified.values_list("pk", flat=True))
        going = {instance.pk: (instance, proof) for instance, proof in pairs if proof.pk in sound}
        _keep([proof for _, proof in going.values()], offload)
        rows = Instance.objects.filter(
            pk__in=going, presence=Presence.PRESENT, deletion_policy=DeletionPolicy.DISALLOWED
        )
        keys = list(rows.order_by("pk").values_list("pk", flat=True))
        Instance.objects.filter(pk__in=keys).update(deletion_policy=DeletionPolicy.ALLOWED)
        extend_histories((going[key][0].file, [_may_go(*going[key], offload)]) for key in keys)
    return len(keys)


def _keep(proofs: Sequence[Instance], offload: Offload) -> None:
    """Take back that these copies might go; they are locked."""
    going = Instance.objects.filter(pk__in=[proof.pk for proof in proofs], deletion_policy=DeletionPolicy.ALLOWED)
    keys = set(going.values_list("pk", flat=True))
    if not keys:
        return
    Instance.objects.filter(pk__in=keys).update(deletion_policy=DeletionPolicy.DISALLOWED)
    extend_histories((proof.file, [_stays(proof, offload)]) for proof in proofs if proof.pk in keys)


def _stays(proof: Instance, offload: Offload) -> NewEvent:
    facts = {"store": proof.store.name, "path": proof.path, "emptied": offload.store.name, "offload": offload.pk}
    return NewEvent("copy_must_stay", offload.created_by or "offload", facts)


def _may_go(instance: Instance, proof: Instance, offload: Offload) -> NewEvent:
    other = {"store": proof.store.name, "path": proof.path, "read_at": proof.condition_at.isoformat()}
    facts = {"store": offload.store.name, "path": instance.path, "other_copy": other, "offload": offload.pk}
    return NewEvent("copy_may_go", offload.created_by or "offload", facts)


def _tell_done(offload: Offload) -> None:
    what = "Its disk may be taken away." if offload.drains else "Its copies of them may be erased."
    report_error(
        severity=Severity.INFO,
        category=Category.DATA_AVAILABILITY,
        code="offload_done",
        message=f"Store {offload.store.name} is emptied: every file that was asked for has a verified copy on another "
        f"store. {what} Nothing was erased.",
        remedy="Switch the store off before its disk is taken away, then clear this note.",
        caller=CALLER,
        target=offload.store.name,
    )


def _note_problem(offload: Offload, problem: Exception) -> None:
    if isinstance(problem, ArchiveError):
        reason, remedy = problem.reason, problem.suggested_remedy
    else:
        reason = f"The database could not carry it out: {problem}"
        remedy = "If its search looks right, report it with the log of the job worker."
    reason = storable(reason, 2_000)
    Offload.objects.filter(pk=offload.pk).update(problem=reason, looked_at=timezone.now())
    report_error(
        severity=Severity.ERROR,
        category=Category.CONFIGURATION,
        code="offload_failed",
        message=f"The offload of {offload.store.name} cannot go on: {reason}",
        remedy=remedy,
        caller=CALLER,
        target=offload.store.name,
    )


def _no_progress(_read_bytes: int) -> None:
    """Nobody watches."""
