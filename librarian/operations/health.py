"""`/health/live`: the process answers. `/health/ready`: the site can take files. For supervisors, so without login."""

from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from librarian.common.heartbeat import HEARTBEATS
from librarian.common.jobtable import DEFAULT_CLUSTER
from librarian.common.models import JobRun
from stores.models import Store

HEARTBEAT_LATE = timedelta(minutes=5)  # longer than the supervisor waits before it mends a cluster itself


@login_not_required
@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers; looks at nothing else, so that a slow database restarts nobody."""
    return JsonResponse({"status": "live"})


@login_not_required
@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 when files can be taken in, else 503; each check is `ok` or says in words what is missing."""
    checks = {"database": check_database()}
    if not checks["database"]:
        rest: dict[str, Callable[[], str]] = {
            "migrations": check_migrations,
            "stores": check_stores,
            "jobs": check_heartbeat,
        }
        checks.update({name: check() for name, check in rest.items()})
    is_ready = not any(checks.values())
    said = {name: trouble or "ok" for name, trouble in checks.items()}
    answer = {"status": "ready" if is_ready else "not ready", "checks": said}
    return JsonResponse(answer, status=200 if is_ready else 503)


def check_database() -> str:
    """Empty if the database answers, else what is wrong. Names no host and no account: the page is public."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as problem:
        return f"the database does not answer ({type(problem).__name__})"
    return ""


def check_migrations() -> str:
    """Empty if every migration is applied."""
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return f"{len(waiting)} migrations are not applied; run manage.py migrate" if waiting else ""


def check_stores() -> str:
    """Empty if some store takes uploads."""
    return "" if Store.objects.taking_uploads().exists() else "no store is ingestable, switched on and available"


def check_heartbeat() -> str:
    """Empty if the heartbeat job ran lately."""
    last = JobRun.objects.filter(job=HEARTBEATS[DEFAULT_CLUSTER]).order_by("-started_at").first()
    if last is None:
        return "no job has ever run; start the job clusters"
    late = timezone.now() - last.started_at
    return f"the last heartbeat is {late.total_seconds():.0f} s old" if late > HEARTBEAT_LATE else ""
