"""`manage.py sync_schedules`: make the clusters' schedules equal `librarian.schedules` and what staff changed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.jobs import BY_COMMAND, run_job
from librarian.common.models import RunOutcome
from librarian.common.timetable import SYNC


class Command(BaseCommand):
    help = "Make the schedules of the job clusters equal the table of jobs and what staff changed of it."

    def handle(self, *args: Any, **options: Any) -> None:
        run = run_job(SYNC, trigger=BY_COMMAND)
        if run.outcome == RunOutcome.SKIPPED:
            self.stdout.write("Another process is at it.")
        elif run.outcome != RunOutcome.SUCCEEDED:
            raise CommandError(run.error)
        else:
            self.stdout.write("Schedules " + ", ".join(f"{verb} {count}" for verb, count in run.summary.items()) + ".")
