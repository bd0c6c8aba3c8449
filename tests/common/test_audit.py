"""The audit trail keeps who, what and on whom, whatever the words are made of."""

import math
from datetime import UTC, datetime

import pytest
from django.db import transaction

from librarian.common.audit import record_act
from librarian.common.models import AuditEntry
from tests.make import make_user

pytestmark = pytest.mark.django_db


def test_an_act_names_the_actor_even_after_the_account_is_gone():
    ada = make_user("ada")
    record_act(actor=ada, action="issue_token", subject="token of bob", facts={"level": 3}, address="10.0.0.7")
    ada.delete()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.actor_name, entry.action, entry.address) == (None, "ada", "issue_token", "10.0.0.7")
    assert entry.facts == {"level": 3}


def test_an_act_at_the_command_line_names_account_and_host():
    record_act(actor=None, action="add_store", subject="store a")
    assert "@" in AuditEntry.objects.get().actor_name


def test_facts_that_a_database_would_refuse_are_kept_as_text():
    when = datetime(2026, 11, 20, tzinfo=UTC)
    record_act(actor=None, action="look", subject="\udcff" * 400, facts={"a\x00": math.nan, "b": ["\udcff"], "t": when})
    entry = AuditEntry.objects.get()
    assert entry.facts == {"a\\x00": "nan", "b": ["\\udcff"], "t": "2026-11-20T00:00:00Z"}
    assert len(entry.subject) == 300


def test_an_act_that_is_undone_leaves_no_entry():
    @transaction.atomic
    def act():
        record_act(actor=None, action="look", subject="x")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        act()
    assert not AuditEntry.objects.exists()
