"""`manage.py run_jobs [NAME…]`: run jobs here and now, each once, one after the other."""

import argparse
import inspect
import json
import re
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from librarian.common.errors import ArchiveError
from librarian.common.jobs import BY_COMMAND, run_job
from librarian.common.jobtable import Job, all_jobs, get_job
from librarian.common.models import JobRun, JobSetting, RunOutcome

EXIT_SKIPPED = 3
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def age_seconds(text: str) -> float:
    """Seconds of an age such as 90s, 30m, 12h or 7d."""
    found = _AGE.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; write 90s, 30m, 12h or 7d")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


def key_and_value(text: str) -> tuple[str, Any]:
    """Name and value of `name=value`; the value is read as JSON if it is JSON, else as text."""
    key, separator, value = text.partition("=")
    if not separator or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is no option; write name=value")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


class Command(BaseCommand):
    help = (
        "Run jobs here and now, each once. Without a name: every job that is switched on. "
        "Exit code 0: all succeeded; 1: one did not; 3: one was skipped because somebody is at it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="jobs of the table")
        parser.add_argument("--list", action="store_true", help="show every job and stop")
        parser.add_argument(
            "--option", action="append", default=[], type=key_and_value, metavar="NAME=VALUE", help="option of the job"
        )
        parser.add_argument("--older-than", type=age_seconds, metavar="AGE", help="age limit: 90s, 30m, 12h, 7d")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            for job in all_jobs():
                self.stdout.write(f"{job.name:24} every {job.every_seconds:>6} s  {job.cluster:8} {job.why}")
            return
        try:
            jobs = [get_job(name) for name in options["names"]] or self._switched_on()
            wanted = {job.name: self._options_of(job, options) for job in jobs}
        except ArchiveError as error:
            raise CommandError(f"{error.reason} {error.suggested_remedy}", returncode=2) from error
        outcomes = set()
        for job in jobs:
            run = run_job(job.name, trigger=BY_COMMAND, options=wanted[job.name])
            self._report(run)
            outcomes.add(run.outcome)
        if outcomes - {RunOutcome.SUCCEEDED, RunOutcome.SKIPPED}:
            sys.exit(1)
        if RunOutcome.SKIPPED in outcomes:
            sys.exit(EXIT_SKIPPED)

    def _switched_on(self) -> list[Job]:
        off = set(JobSetting.objects.filter(enabled=False).values_list("job", flat=True))
        return [job for job in all_jobs() if job.name not in off]

    def _options_of(self, job: Job, options: dict[str, Any]) -> dict[str, Any]:
        """Options for one job. An age limit goes to the jobs that have one; a job asked for by name must have it."""
        wanted = dict(options["option"])
        if options["older_than"] is not None:
            takes = inspect.signature(job.callable).parameters
            if "older_than_days" in takes:
                wanted["older_than_days"] = options["older_than"] / 86400
            elif "older_than_seconds" in takes or options["names"]:
                wanted["older_than_seconds"] = options["older_than"]
        if wanted:
            job.check_options(wanted)
        return wanted

    def _report(self, run: JobRun) -> None:
        took = (run.finished_at - run.started_at).total_seconds() if run.finished_at else 0.0
        line = f"{run.job:24} {RunOutcome(run.outcome).label:24} {took:8.2f} s  "
        if run.outcome in (RunOutcome.SUCCEEDED, RunOutcome.SKIPPED):
            self.stdout.write(line + json.dumps(run.summary))
        else:
            self.stderr.write(line + run.error.strip())
