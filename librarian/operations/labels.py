"""States of errors, runs and jobs as people see them: one word, one tone."""

from librarian.common.badges import Badge
from librarian.common.models import RunOutcome, Severity

SEVERITIES: dict[str, Badge] = {
    Severity.CRITICAL: Badge("critical", "bad", "Data is in danger; somebody has to act now."),
    Severity.ERROR: Badge("error", "bad", "Something does not work; somebody has to act."),
    Severity.WARNING: Badge("warning", "warn", "Nothing is lost; look when there is time."),
    Severity.INFO: Badge("info", "note", "Good to know."),
}

OUTCOMES: dict[str, Badge] = {
    RunOutcome.RUNNING: Badge("running", "note", "A worker is at it now."),
    RunOutcome.SUCCEEDED: Badge("succeeded", "good"),
    RunOutcome.FAILED: Badge("failed", "bad", "It raised an error; the error inbox has the remedy."),
    RunOutcome.TIMED_OUT: Badge("timed out", "bad", "It was ended at its time box, and runs again."),
    RunOutcome.LOST: Badge("worker lost", "warn", "Its worker was killed; the job runs again."),
    RunOutcome.SKIPPED: Badge("skipped", "quiet", "Another run of it was still going on."),
}

JOB_STATES: dict[str, Badge] = {
    "off": Badge("switched off", "quiet", "Staff switched it off."),
    "overdue": Badge("overdue", "bad", "It should have run and did not."),
    "running": OUTCOMES[RunOutcome.RUNNING],
    "waiting": Badge("on time", "good", "It ran when it should."),
    "never": Badge("not run yet", "quiet", "It has not been due yet."),
}
