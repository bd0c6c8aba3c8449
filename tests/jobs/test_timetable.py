"""From the table to what the clusters read: cadence, switch, downtime without a flood, jobs that did not run."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage

from librarian import schedules
from librarian.common import heartbeat, jobs
from librarian.common.errors import InvalidRequest, NotFound
from librarian.common.jobtable import BULK_CLUSTER, DEFAULT_CLUSTER, all_jobs, cluster_workers, get_job
from librarian.common.models import AuditEntry, ErrorRecord, JobRun, JobSetting
from librarian.common.runs import claim_run, close_run
from librarian.common.timetable import SYNC, change_job, next_runs, overdue_since, sync_schedules
from tests.make import make_user

pytestmark = pytest.mark.django_db


def names():
    return {schedule.name for schedule in Schedule.objects.all()}


def shift(**by):
    """Let that much time pass, as far as rows can tell."""
    JobSetting.objects.update(changed_at=timezone.now() - timedelta(**by))
    for run in JobRun.objects.all():
        ended = run.finished_at and run.finished_at - timedelta(**by)
        JobRun.objects.filter(pk=run.pk).update(started_at=run.started_at - timedelta(**by), finished_at=ended)


def deliver():
    """Do what a worker does, for everything in the queue."""
    for row in OrmQ.objects.order_by("pk"):
        task = SignedPackage.loads(row.payload)
        jobs.perform(*task["args"], **task["kwargs"])
        row.delete()


def test_every_job_has_a_schedule_of_its_cadence_in_its_cluster():
    sync_schedules()
    assert {name.partition("/")[0] for name in names()} == {job.name for job in all_jobs()}
    daily = Schedule.objects.get(name="write_root")
    assert (daily.minutes, daily.cluster, daily.repeats) == (1440, "default", -1)
    assert Schedule.objects.get(name="verify_events").cluster == "bulk"
    assert JobSetting.objects.count() == len(all_jobs())


def test_a_cadence_of_half_minutes_takes_two_schedules_half_a_beat_apart():
    sync_schedules()
    first, second = Schedule.objects.filter(name__startswith="scan_watch_folders").order_by("name")
    assert (first.minutes, second.minutes) == (1, 1)
    assert abs((second.next_run - first.next_run).total_seconds() - 30) < 1
    assert {row.minutes for row in Schedule.objects.filter(name__startswith="test_succeed")} == {3}  # every 90 s


def test_a_second_time_changes_nothing():
    sync_schedules()
    before = list(Schedule.objects.order_by("pk").values())
    assert sync_schedules() == {"made": 0, "changed": 0, "removed": 0}
    assert list(Schedule.objects.order_by("pk").values()) == before


def test_strangers_doubles_and_changes_by_hand_are_put_right():
    sync_schedules()
    Schedule.objects.create(name="old_job", func="os.system", args="'x'")
    Schedule.objects.create(name="heartbeat", func=jobs.PERFORM)
    Schedule.objects.filter(name="write_root").update(minutes=1, func="os.system")
    assert sync_schedules() == {"made": 0, "changed": 1, "removed": 2}
    assert (Schedule.objects.get(name="write_root").minutes, Schedule.objects.get(name="heartbeat").minutes) == (
        1440,
        1,
    )


def test_staff_switch_and_time_a_job_and_the_trail_says_who():
    ada = make_user("ada", level=100)
    sync_schedules()
    change_job(job="scan_watch_folders", enabled=False, every_seconds=None, actor=ada)
    assert not [name for name in names() if name.startswith("scan_watch_folders")]
    assert "scan_watch_folders" not in next_runs()
    change_job(job="scan_watch_folders", enabled=True, every_seconds=600, actor=ada)
    assert Schedule.objects.get(name__startswith="scan_watch_folders").minutes == 10
    assert AuditEntry.objects.filter(action="change_job", actor=ada).count() == 2


def test_a_cadence_that_the_clusters_cannot_keep_is_refused():
    with pytest.raises(InvalidRequest, match="every 45 s"):
        change_job(job="write_root", enabled=True, every_seconds=45, actor=None)
    with pytest.raises(NotFound):
        change_job(job="nonsense", enabled=True, every_seconds=60, actor=None)


@pytest.mark.django_db(transaction=True)  # the scheduler closes connections as it likes
def test_after_three_days_of_downtime_each_job_is_queued_once():
    sync_schedules()
    Schedule.objects.update(next_run=timezone.now() - timedelta(days=3))
    scheduler()
    queued = [SignedPackage.loads(row.payload)["args"][0] for row in OrmQ.objects.all()]
    mine = [schedule.name.partition("/")[0] for schedule in Schedule.objects.filter(cluster="default")]
    assert sorted(queued) == sorted(mine)
    assert not Schedule.objects.filter(cluster="default", next_run__lt=timezone.now()).exists()
    scheduler()
    assert OrmQ.objects.count() == len(mine)


def test_the_start_after_a_downtime_brings_overdue_schedules_to_now():
    sync_schedules()
    tomorrow = timezone.now() + timedelta(hours=20)
    Schedule.objects.filter(name="verify_events").update(next_run=timezone.now() - timedelta(days=400))
    Schedule.objects.filter(name="write_root").update(next_run=tomorrow)
    sync_schedules()
    assert abs((Schedule.objects.get(name="verify_events").next_run - timezone.now()).total_seconds()) < 5
    assert Schedule.objects.get(name="write_root").next_run == tomorrow


@pytest.mark.django_db(transaction=True)
def test_what_a_hung_cluster_left_in_the_queue_is_done_once(tmp_path, monkeypatch):
    path = tmp_path / "noted"
    sync_schedules()
    Schedule.objects.exclude(name="test_note").delete()
    monkeypatch.setitem(get_job("test_note").__dict__, "options", {"path": str(path)})
    for hour in range(50, 0, -1):
        Schedule.objects.update(next_run=timezone.now() - timedelta(hours=hour))
        scheduler()
    assert OrmQ.objects.count() == 50
    deliver()
    assert len(path.read_text().splitlines()) == 1
    assert JobRun.objects.count() == 1


def finish(name, outcome="succeeded", cluster="default"):
    run, lease = claim_run(get_job(name), target="", trigger="schedule", asked_by="", cluster=cluster)
    close_run(run, lease, outcome=outcome)


def test_a_job_that_did_not_run_is_an_error_and_its_next_success_clears_it():
    sync_schedules()
    finish("finish_commits")
    assert overdue_since() == {}
    finish("test_note")
    shift(minutes=30)
    assert "finish_commits" in overdue_since()  # every minute, at most 15 more for a free worker
    assert "test_note" not in overdue_since()  # hourly
    heartbeat.beat()
    error = ErrorRecord.objects.get(code="job_overdue", caller="job:finish_commits")
    assert "run_jobs finish_commits" in error.remedy
    finish("finish_commits")
    error.refresh_from_db()
    assert error.cleared_at is not None


def test_a_job_that_runs_or_is_switched_off_or_was_only_just_started_is_not_overdue():
    sync_schedules()
    finish("finish_commits")
    finish("measure_stores")
    finish("sweep_staging")
    shift(hours=2)
    claim_run(get_job("finish_commits"), target="", trigger="schedule", asked_by="", cluster="default")
    change_job(job="measure_stores", enabled=False, every_seconds=None, actor=None)
    late = overdue_since()
    assert "finish_commits" not in late
    assert "measure_stores" not in late
    assert "sweep_staging" in late
    jobs.run_job(SYNC, trigger="command")  # a start of the site
    assert overdue_since() == {}


def test_a_run_that_was_only_skipped_does_not_count_as_run():
    sync_schedules()
    finish("finish_commits")
    shift(hours=2)
    now = timezone.now()
    JobRun.objects.create(job="finish_commits", trigger="schedule", outcome="skipped", started_at=now, finished_at=now)
    assert "finish_commits" in overdue_since()


def test_signs_of_life_and_busy_workers():
    assert heartbeat.last_sign_of_life("bulk") is None
    assert not heartbeat.is_busy("bulk")
    finish("heartbeat_bulk", cluster="bulk")
    assert (timezone.now() - heartbeat.last_sign_of_life("bulk")).total_seconds() < 5
    assert heartbeat.last_sign_of_life("default") is None
    for number in range(cluster_workers("bulk")):
        assert not heartbeat.is_busy("bulk")
        claim_run(get_job("verify_events"), target=str(number), trigger="schedule", asked_by="", cluster="bulk")
    assert heartbeat.is_busy("bulk")
    JobRun.objects.filter(outcome="running").update(started_at=timezone.now() - timedelta(hours=3))  # its box: 2 h
    assert not heartbeat.is_busy("bulk")


@pytest.mark.database_independent
def test_cluster_settings_keep_to_what_is_known_of_the_queue():
    clusters = {DEFAULT_CLUSTER: settings.Q_CLUSTER, BULK_CLUSTER: settings.Q_CLUSTER["ALT_CLUSTERS"]["bulk"]}
    assert settings.Q_CLUSTER["orm"] == "default"
    for name, cluster in clusters.items():
        assert cluster["queue_limit"] == cluster["workers"] == cluster_workers(name)
        assert cluster["bulk"] == 1
        assert cluster["retry"] >= 3 * (cluster["timeout"] + 3) + 60
        assert (cluster["catch_up"], cluster["ack_failures"], cluster["save_limit"]) == (False, True, -1)
    assert clusters["bulk"]["timeout"] == 6 * 3600


@pytest.mark.database_independent
@pytest.mark.parametrize("job", schedules.JOBS, ids=lambda job: job.name)
def test_every_job_of_the_table_exists_and_takes_its_options(job):
    job.check_options(job.options)
    assert job.why.endswith(".")
