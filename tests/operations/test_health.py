"""What supervisors are told without a login: the process answers, and whether files can be taken in."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from librarian.common.models import JobRun, RunOutcome
from librarian.operations import health
from tests.make import make_store

pytestmark = pytest.mark.django_db


def beat(age=timedelta(0)):
    at = timezone.now() - age
    return JobRun.objects.create(
        job="heartbeat", trigger="schedule", outcome=RunOutcome.SUCCEEDED, started_at=at, finished_at=at
    )


def test_live_asks_nobody_and_nothing(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})
    assert "no-store" in response.headers["Cache-Control"]


def test_ready_when_there_are_a_store_and_a_heartbeat(client, tmp_path):
    make_store(tmp_path)
    beat(timedelta(days=1))
    beat()
    response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": {"database": "ok", "migrations": "ok", "stores": "ok", "jobs": "ok"},
    }


def test_not_ready_says_what_is_missing(client, tmp_path):
    checks = client.get("/health/ready").json()["checks"]
    assert "no store" in checks["stores"]
    assert "no job has ever run" in checks["jobs"]
    store = make_store(tmp_path)
    beat(timedelta(hours=1))
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["checks"]["stores"] == "ok"
    assert "3600 s old" in response.json()["checks"]["jobs"]
    store.available = False
    store.save()
    assert "no store" in client.get("/health/ready").json()["checks"]["stores"]


def test_a_migration_that_waits_is_named(client):
    newest = MigrationLoader(connection).graph.leaf_nodes("files")[0]
    MigrationRecorder(connection).record_unapplied(*newest)
    assert "migrate" in client.get("/health/ready").json()["checks"]["migrations"]


def test_a_database_that_does_not_answer_is_said_without_its_address(client, monkeypatch):
    def refuse():
        raise OperationalError("connection to server at 10.0.0.5, user secret")

    monkeypatch.setattr(connection, "cursor", refuse)
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["checks"] == {"database": "the database does not answer (OperationalError)"}
    assert health.check_database()


def test_only_reading_is_answered(client):
    assert client.post("/health/ready").status_code == 405
    assert client.head("/health/live").status_code == 200
