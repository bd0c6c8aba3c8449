"""Pages about the running of the site: the error inbox, the jobs and their runs."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts.addresses import client_address
from accounts.levels import Level
from accounts.pages import page_level
from librarian.common.badges import Badge
from librarian.common.errors import InvalidRequest
from librarian.common.filter_forms import FilteredList, Wording, filter_list, without_empty
from librarian.common.jobtable import all_jobs, get_job
from librarian.common.listing import ListPage, count_cheaply, list_page
from librarian.common.models import ErrorRecord, JobRun
from librarian.operations import queries
from librarian.operations.filters import ErrorFilterSet
from librarian.operations.labels import JOB_STATES, OUTCOMES, SEVERITIES
from librarian.operations.services import clear_trouble

ERROR_WORDINGS = {
    "open": Wording("State", choices=[("true", "open"), ("false", "cleared")]),
    "severity": Wording("Severity"),
    "category": Wording("Category"),
    "code": Wording("Code", "store_unavailable"),
    "caller": Wording("Met by", "job:measure_stores"),
    "raised_after": Wording("Met from", "2026-11-19 or a Julian Date"),
    "raised_before": Wording("Met before", "2026-11-20"),
}
ERROR_ORDERINGS = ("last_raised_at", "raised_at", "count", "code")


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """A trouble with its severity in words."""

    error: ErrorRecord

    @property
    def severity(self) -> Badge:
        return SEVERITIES[self.error.severity]


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with its state and last outcome in words."""

    view: queries.JobView

    @property
    def state(self) -> Badge:
        if not self.view.enabled:
            return JOB_STATES["off"]
        if self.view.overdue_since:
            return JOB_STATES["overdue"]
        if self.view.is_running:
            return JOB_STATES["running"]
        return JOB_STATES["waiting" if self.view.last_run else "never"]

    @property
    def outcome(self) -> Badge | None:
        return OUTCOMES[self.view.last_run.outcome] if self.view.last_run else None

    @property
    def took_seconds(self) -> float | None:
        return seconds_of(self.view.last_run) if self.view.last_run else None


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run with its outcome in words."""

    run: JobRun

    @property
    def outcome(self) -> Badge:
        return OUTCOMES[self.run.outcome]

    @property
    def took_seconds(self) -> float | None:
        return seconds_of(self.run)


def seconds_of(run: JobRun) -> float | None:
    """How long a run took, None while it goes on."""
    return None if run.finished_at is None else (run.finished_at - run.started_at).total_seconds()


@require_safe
def errors(request: HttpRequest) -> HttpResponse:
    """The error inbox: what is open, unless the filters ask for something else."""
    slimmer = without_empty(request.GET)
    if slimmer is not None:
        return redirect(f"{reverse('errors')}?{slimmer.urlencode()}".rstrip("?"))
    found = filter_list(
        request,
        ErrorFilterSet,
        ErrorRecord.objects.all(),
        wordings=ERROR_WORDINGS,
        main=("open", "severity", "category"),
        orderings=ERROR_ORDERINGS,
        default_ordering="-last_raised_at",
        defaults={"open": "true"},
    )
    page, problems = _error_page(request, found)
    query = request.GET.copy()
    query.pop("cursor", None)
    context = {
        "found": found,
        "page": page,
        "rows": [ErrorRow(error) for error in page.rows],
        "problems": problems,
        "query": query,
        "counts": [(SEVERITIES[name], number, name) for name, number in queries.open_error_counts().items()],
    }
    return render(request, "operations/errors.html", context, status=400 if problems else 200)


def _error_page(request: HttpRequest, found: FilteredList) -> tuple[ListPage, dict[str, str]]:
    try:
        return list_page(request, found.rows), found.problems
    except InvalidRequest as problem:
        return ListPage([], None, None), {"cursor": f"{problem.reason} {problem.suggested_remedy}"}


@require_safe
def error(request: HttpRequest, pk: int) -> HttpResponse:
    """One trouble: what happened, how often, what mends it."""
    found = get_object_or_404(ErrorRecord, pk=pk)
    name = found.caller.removeprefix("job:") if found.caller.startswith("job:") else ""
    context = {
        "row": ErrorRow(found),
        "error": found,
        "job": name if name in {job.name for job in all_jobs()} else "",
        "may_clear": _may_clear(request),
    }
    return render(request, "operations/error.html", context)


@page_level(Level.READWRITE)
@require_POST
def clear_error(request: HttpRequest, pk: int) -> HttpResponse:
    """Close a trouble; when it happens again it opens anew."""
    found = get_object_or_404(ErrorRecord, pk=pk)
    if clear_trouble(error=found, actor=request.user, address=client_address(request) or ""):
        messages.success(request, f"Cleared: {found.code}. If it happens again, it opens anew.")
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return redirect(back if back and safe else "errors")


def _may_clear(request: HttpRequest) -> bool:
    return request.user.is_authenticated and request.user.may(Level.READWRITE)


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    """Every periodic job: how often, when it ran last, how that ended, when it runs next."""
    rows = [JobRow(view) for view in queries.jobs()]
    context = {
        "rows": rows,
        "overdue_count": sum(row.view.overdue_since is not None for row in rows),
        "clusters": queries.clusters(),
    }
    return render(request, "operations/jobs.html", context)


@require_safe
def job_runs(request: HttpRequest, name: str) -> HttpResponse:
    """The latest runs of one job."""
    job = get_job(name)
    page = list_page(request, queries.runs_of(job.name))
    number, is_more = count_cheaply(queries.runs_of(job.name))
    context = {
        "job": job,
        "page": page,
        "rows": [RunRow(run) for run in page.rows],
        "count": f"{'more than ' if is_more else ''}{number:,}",
    }
    return render(request, "operations/job_runs.html", context)
