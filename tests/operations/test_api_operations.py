"""`/api/v3/errors/`, `jobs/`, `audit/`: what is told, to whom, and the two acts."""

import pytest
from django_q.models import OrmQ

from librarian.common.audit import record_act
from librarian.common.inbox import clear_error, report_error
from librarian.common.models import AuditEntry, ErrorRecord, JobRun, RunOutcome
from tests.asking import Api
from tests.make import make_cast


@pytest.fixture
def cast(db):
    return make_cast()


@pytest.fixture
def troubles(cast):
    worst = report_error(severity="critical", category="data_integrity", code="copy_short", message="m", caller="job:a")
    mild = report_error(severity="warning", category="configuration", code="job_overdue", message="n", caller="job:b")
    closed = report_error(severity="warning", category="configuration", code="job_failed", message="o")
    report_error(severity="critical", category="data_integrity", code="copy_short", message="again", caller="job:a")
    clear_error(error=closed, cleared_by="somebody")
    return worst, mild, closed


def run(job="heartbeat", outcome=RunOutcome.SUCCEEDED, **fields):
    from django.utils import timezone

    now = timezone.now()
    ended = {} if outcome == RunOutcome.RUNNING else {"finished_at": now}
    return JobRun.objects.create(job=job, trigger="schedule", outcome=outcome, started_at=now, **{**ended, **fields})


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_open_troubles_are_counted_for_everybody_who_may_read(troubles, django_assert_max_num_queries):
    api = Api("readonly")
    body = api.get("errors/summary/").json()
    assert body["open_count"] == 2
    assert [(row["severity"], row["category"], row["open_count"]) for row in body["results"]] == [
        ("critical", "data_integrity", 1),
        ("warning", "configuration", 1),
    ]
    with django_assert_max_num_queries(2):  # account; counts
        api.get("errors/summary/")


def test_particulars_of_troubles_need_readwrite(troubles):
    assert Api("readappend").get("errors/").status_code == 403
    assert Api("readappend").get(f"errors/{troubles[0].pk}/").status_code == 403
    rows = Api("readwrite").results("errors/")
    assert [row["code"] for row in rows] == ["copy_short", "job_failed", "job_overdue"]
    assert (rows[0]["count"], rows[0]["message"], rows[0]["cleared_at"]) == (2, "again", None)
    assert rows[1]["cleared_by"] == "somebody"
    assert Api("readwrite").get(f"errors/{troubles[0].pk}/").json() == rows[0]


@pytest.mark.parametrize(
    ("parameters", "codes"),
    [
        ({"open": "true"}, {"copy_short", "job_overdue"}),
        ({"open": "false"}, {"job_failed"}),
        ({"severity": "critical"}, {"copy_short"}),
        ({"category": "configuration", "open": "true"}, {"job_overdue"}),
        ({"code": "job_failed"}, {"job_failed"}),
        ({"caller": "job:b"}, {"job_overdue"}),
        ({"raised_before": "2020-01-01"}, set()),
        ({"raised_after": "2020-01-01"}, {"copy_short", "job_overdue", "job_failed"}),
    ],
)
def test_troubles_are_searched(troubles, parameters, codes):
    assert {row["code"] for row in Api("readwrite").results("errors/", **parameters)} == codes


def test_a_value_that_is_no_severity_is_refused(cast):
    assert "critical" in Api("readwrite").refusal("errors/", severity="bad")["reason"]


def test_clearing_needs_readwrite_is_audited_and_harmless_twice(troubles):
    path = f"errors/{troubles[0].pk}/clear/"
    assert Api("readappend").post(path).status_code == 403
    assert ErrorRecord.objects.get(pk=troubles[0].pk).cleared_at is None
    for _ in range(2):
        response = Api("readwrite").post(path)
        assert response.status_code == 200
        assert response.json()["cleared_by"] == "readwrite"
    entry = AuditEntry.objects.get(action="clear_error")
    assert (entry.actor_name, entry.address) == ("readwrite", "127.0.0.1")


@pytest.mark.parametrize("raw", [b'{"a"', b"[" * 200_000, b"NaN", b"[]", b"null", b'{"id": 1}', b"x" * 17_000_000])
def test_clearing_with_a_body_that_is_none_is_refused(troubles, raw):
    response = Api("admin").client.post(f"/api/v3/errors/{troubles[0].pk}/clear/", raw, content_type="application/json")
    assert response.status_code == (413 if len(raw) > 16_777_216 else 400)
    assert response.json()["suggested_remedy"]
    assert ErrorRecord.objects.get(pk=troubles[0].pk).cleared_at is None


@pytest.mark.parametrize("pk", [99, 2**31, 2**63, 10**30])
def test_an_unknown_trouble_is_not_found(cast, pk):
    assert Api("readwrite").refusal(f"errors/{pk}/", 404)["code"] == "not_found"
    assert Api("admin").post(f"errors/{pk}/clear/").status_code == 404


# --- Jobs -------------------------------------------------------------------------------------------------------------


def test_the_table_of_jobs_tells_cadence_and_latest_run(cast):
    from librarian.common.timetable import sync_schedules

    sync_schedules()
    run("heartbeat")
    rows = {row["name"]: row for row in Api("readonly").get("jobs/").json()["results"]}
    assert rows["heartbeat"]["every_seconds"] == 60
    assert rows["heartbeat"]["last_run"]["outcome"] == "succeeded"
    assert rows["heartbeat"]["next_run"]
    assert rows["write_root"]["last_run"] is None
    assert rows["write_root"]["cluster"] == "default"
    assert rows["write_root"]["why"]


def test_runs_are_searched_by_those_who_may_see_them(cast, django_assert_max_num_queries):
    run("heartbeat", worker="host:1")
    run("write_root", RunOutcome.FAILED, error="Traceback …")
    run("write_root", RunOutcome.RUNNING)
    assert Api("readonly").get("jobs/runs/").status_code == 403
    api = Api("readwrite")
    assert [row["outcome"] for row in api.results("jobs/runs/")] == ["running", "failed", "succeeded"]
    [failed] = api.results("jobs/runs/", outcome="failed")
    assert failed["error"] == "Traceback …"
    assert failed["duration_seconds"] == 0
    assert len(api.results("jobs/runs/", job="write_root", started_after="2020-01-01")) == 2
    with django_assert_max_num_queries(2):  # account; page
        api.results("jobs/runs/")


def test_run_now_queues_a_run_and_is_audited(cast):
    assert Api("readwrite").post("jobs/heartbeat/run/").status_code == 403
    assert not OrmQ.objects.exists()
    response = Api("admin").post("jobs/heartbeat/run/")
    assert response.status_code == 202
    assert response.json()["job"] == "heartbeat"
    assert OrmQ.objects.count() == 1
    assert AuditEntry.objects.get(action="run_job").subject == "heartbeat"


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("no_such_job", {}, 404),
        ("heartbeat", {"options": {"no_such_option": 1}}, 400),
        ("heartbeat", {"options": 3}, 400),
        ("heartbeat", {"taget": "x"}, 400),
        ("heartbeat", {"target": "x" * 500}, 400),
        ("heartbeat", [1], 400),
    ],
)
def test_a_wish_that_no_job_can_fulfil_is_refused_and_leaves_nothing(cast, name, body, status):
    response = Api("admin").post(f"jobs/{name}/run/", body)
    assert response.status_code == status
    assert response.json()["reason"]
    assert not OrmQ.objects.exists()
    assert not AuditEntry.objects.exists()


# --- Audit ------------------------------------------------------------------------------------------------------------


def test_the_audit_is_for_administrators(cast, django_assert_max_num_queries):
    record_act(actor=cast["admin"], action="issue_token", subject="token of 100%", facts={"level": 1}, address="::1")
    record_act(actor=cast["admin"], action="clear_error", subject="error 3")
    assert Api("readwrite").get("audit/").status_code == 403
    api = Api("admin")
    assert [row["action"] for row in api.results("audit/")] == ["clear_error", "issue_token"]
    [row] = api.results("audit/", subject_contains="0%")
    assert (row["actor"], row["facts"], row["address"]) == ("admin", {"level": 1}, "::1")
    assert api.results("audit/", actor="nobody") == []
    assert len(api.results("audit/", action="clear_error", after="2020-01-01")) == 1
    with django_assert_max_num_queries(2):  # account; page
        api.results("audit/")
