"""Leases: one holder at a time, and a holder that was taken for dead cannot write after its successor began."""

import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from librarian.common import identity, leases
from librarian.common.errors import LostRace
from librarian.common.models import JobLease, SiteFact

pytestmark = pytest.mark.django_db


def expire(lease):
    JobLease.objects.filter(pk=lease.row_id).update(expires_at=timezone.now() - timedelta(seconds=1))


def write_under(lease, value):
    """The last write of a job, with its guard."""
    with transaction.atomic():
        SiteFact.objects.update_or_create(key="result", defaults={"value": value})
        lease.guard()


def test_while_somebody_holds_it_nobody_else_gets_it():
    first = leases.acquire(job="heal", target="store a", seconds=60)
    assert leases.acquire(job="heal", target="store a", seconds=60) is None
    assert leases.acquire(job="heal", target="store b", seconds=60) is not None
    first.release()
    assert leases.acquire(job="heal", target="store a", seconds=60).fencing == first.fencing + 1


def test_the_last_write_of_a_holder_that_was_taken_for_dead_is_refused():
    sleeper = leases.acquire(job="heal", seconds=60)
    write_under(sleeper, "begun")
    expire(sleeper)
    successor = leases.acquire(job="heal", seconds=60)
    write_under(successor, "done by the successor")
    with pytest.raises(LostRace):
        write_under(sleeper, "done by the sleeper")
    assert SiteFact.objects.get(key="result").value == "done by the successor"
    assert not sleeper.still_mine()
    assert successor.still_mine()


def test_a_sleeper_gives_back_nothing_of_its_successor():
    sleeper = leases.acquire(job="heal", seconds=60)
    expire(sleeper)
    successor = leases.acquire(job="heal", seconds=60)
    assert sleeper.release() is False
    assert successor.still_mine()


def test_an_expired_lease_that_nobody_took_is_still_good():
    lease = leases.acquire(job="heal", seconds=60)
    expire(lease)
    write_under(lease, "late but alone")


@pytest.mark.django_db(transaction=True)
def test_a_guard_outside_a_transaction_is_a_mistake():
    lease = leases.acquire(job="heal", seconds=60)
    with pytest.raises(RuntimeError, match="outside a transaction"):
        lease.guard()


def test_a_job_finds_its_own_lease():
    lease = leases.acquire(job="heal", seconds=60)
    leases.guard_job()  # outside a job: no rival, no lease
    with leases.holding(lease):
        assert leases.held_lease() is lease
        expire(lease)
        leases.acquire(job="heal", seconds=60)
        with pytest.raises(LostRace), transaction.atomic():
            leases.guard_job()
    assert leases.held_lease() is None


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_one_gets_it():
    start, got = threading.Barrier(6), []

    def work():
        try:
            start.wait(10)
            got.append(leases.acquire(job="heal", seconds=60))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 6
    assert sum(lease is not None for lease in got) == 1


def dead_process_identity():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = identity.identity_of(process.pid)
    assert not identity.is_dead(name)
    process.communicate()
    return name


def test_a_dead_holder_of_this_host_is_recognised_at_once():
    lease = leases.acquire(job="heal", seconds=3600)
    JobLease.objects.filter(pk=lease.row_id).update(holder=dead_process_identity())
    assert leases.acquire(job="heal", seconds=60) is not None


@pytest.mark.parametrize("holder", ["other-host:1:a.b.c", "nonsense", f"{socket.gethostname()}:1:short"])
def test_who_cannot_be_looked_at_is_not_called_dead(holder):
    lease = leases.acquire(job="heal", seconds=3600)
    JobLease.objects.filter(pk=lease.row_id).update(holder=holder)
    assert leases.acquire(job="heal", seconds=60) is None
    expire(lease)
    assert leases.acquire(job="heal", seconds=60) is not None


def test_a_later_process_with_the_same_number_is_another():
    host, pid, incarnation = identity.own_identity().rsplit(":", 2)
    boot, namespace, started = incarnation.split(".")
    assert int(pid) == os.getpid()
    assert not identity.is_dead(identity.own_identity())
    assert identity.is_dead(f"{host}:{pid}:{boot}.{namespace}.{int(started) - 1}")
    assert identity.is_dead(f"{host}:{pid}:otherbot.{namespace}.{started}")
    assert not identity.is_dead(f"{host}:{pid}:{boot}.1.{started}")
