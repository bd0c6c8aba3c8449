"""Asking a cluster to work with one peer now, unless it does so already or has been asked before."""

import json
from collections.abc import Collection

from django_q.models import OrmQ

from librarian.common.jobs import BY_SCHEDULE, queue_job
from librarian.common.models import JobRun, RunOutcome

Wish = tuple[str, str]  # job, target


def nudge(job: str, peer_name: str, *, known: Collection[Wish] | None = None) -> bool:
    """Queue a job for one peer. False if it runs for that peer or a wish for it waits (`known`, else looked up)."""
    if (job, peer_name) in (wishes_for({job}) if known is None else known):
        return False
    queue_job(job, target=peer_name, trigger=BY_SCHEDULE, options={"peer": peer_name})
    return True


def wishes_for(jobs: Collection[str]) -> set[Wish]:
    """Jobs and targets that run, or that a cluster was asked for and has not begun.

    A delivery that a worker holds counts as well: it may wait there for a while before it begins.
    """
    running = JobRun.objects.filter(job__in=jobs, outcome=RunOutcome.RUNNING).exclude(target="")
    found: set[Wish] = set(running.values_list("job", "target"))
    for row in OrmQ.objects.order_by("pk").iterator(chunk_size=500):
        if row.group() in jobs:
            found.add((row.group(), _target(row)))
    return found


def _target(row: OrmQ) -> str:
    arguments = row.args() or ()
    return json.loads(arguments[1]).get("target", "") if len(arguments) > 1 else ""
