"""Rows that nobody may delete do not leak from one `transaction=True` test into the next."""

import pytest
from django.db import DatabaseError, connection
from django.test import TransactionTestCase

from files.models import File
from librarian.common.triggers import expected_triggers, present_triggers

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_flush_between_tests_empties_guarded_tables_and_restores_the_guard():
    def register() -> File:
        return File.objects.create(
            name="zen.2460000.12345.sum.uvh5",
            kind="flat",
            size_bytes=4,
            checksum=f"md5:::{'a' * 32}",
            digest="b" * 64,
            uploader="correlator",
            source="test",
        )

    register()
    case = TransactionTestCase()
    case.available_apps = []  # then Django sends no post_migrate, which would put the triggers back by itself
    case._fixture_teardown()
    assert not File.objects.exists()
    assert expected_triggers(connection) <= present_triggers(connection)
    register()
    with pytest.raises(DatabaseError, match="never"):
        File.objects.all().delete()
