"""Rows inserted in bulk are those that Django itself would have written."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from files.models import DeletionPolicy, EventHead, File, Upload, UploadKind
from files.models.file import FileKind
from librarian.common.bulk import bulk_insert
from tests.make import make_file, make_store, make_user

pytestmark = pytest.mark.django_db


def upload(store, owner, number: int) -> Upload:
    return Upload(
        kind=UploadKind.INGEST,
        owner=owner,
        owner_name=owner.username,
        store=store,
        token=f"abcdefgh{number:04}",
        destination="é'\"%s?;--",
        uploader="u",
        source="s",
        size_bytes=2**62,
        obsid=None if number % 2 else 1181073618,
        null_obsid=bool(number % 2),
        deletion_policy=DeletionPolicy.ALLOWED,
        commit_asked_at=datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC),
    )


def test_rows_equal_those_that_django_writes(tmp_path) -> None:
    store, owner = make_store(tmp_path), make_user()
    ours = [upload(store, owner, number) for number in range(1500)]
    bulk_insert(ours)
    (theirs,) = Upload.objects.bulk_create([upload(store, owner, 9999)])
    fields = [field.attname for field in Upload._meta.concrete_fields if field.attname not in ("id", "token")]
    varying = {"created_at", "staging_changed_at", "obsid", "null_obsid"}
    expected = Upload.objects.values(*fields).get(pk=theirs.pk)
    assert len({row.pk for row in ours}) == 1500
    for row in Upload.objects.filter(pk__in=[row.pk for row in ours]).values("id", "token", *fields):
        number = int(row["token"][-4:])
        assert ours[number].pk == row["id"], "every object got its own key"
        assert row["obsid"] == (None if number % 2 else 1181073618)
        assert row["null_obsid"] is bool(number % 2)
        assert {key: row[key] for key in fields if key not in varying} == {
            key: value for key, value in expected.items() if key not in varying
        }
        assert row["created_at"].tzinfo is not None
    assert not ours[0]._state.adding


def test_a_row_whose_key_is_another_row_is_inserted_too() -> None:
    file = make_file()
    EventHead.objects.filter(file=file).delete()
    bulk_insert([EventHead(file=file, count=1, digest="a" * 64)])
    assert EventHead.objects.get(file=file).count == 1


def test_one_refused_row_refuses_all_and_nothing_is_a_success() -> None:
    bulk_insert([])
    rows = [
        File(name=name, kind=FileKind.FLAT, size_bytes=1, checksum=f"md5:::{'a' * 32}", digest="a" * 64, uploader="u",
             source="s")
        for name in ("one", "two", "one")
    ]  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk_insert(rows)
    assert not File.objects.exists()
