"""Fill a catalogue with made-up rows in bulk: `python -m benchmarks.fill COUNT` inside a site's environment."""

import hashlib
import os
import sys
from datetime import UTC, datetime, timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "librarian.settings")
django.setup()

from django.db import connection, transaction  # noqa: E402  needs the settings above

from files.models import Condition, File, Instance  # noqa: E402
from files.services.events import NewEvent, begin_histories  # noqa: E402
from stores.models import Store  # noqa: E402

BATCH = 5000
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def fill(count: int) -> None:
    """Write `count` flat files with one instance and two events each, five seconds apart."""
    store = Store.objects.get()
    for start in range(0, count, BATCH):
        with transaction.atomic():
            files = File.objects.bulk_create(_file(number) for number in range(start, min(count, start + BATCH)))
            Instance.objects.bulk_create(
                Instance(
                    file=file,
                    store=store,
                    path=f"{file.name[4:11]}/{file.name}",
                    condition=Condition.GOOD,
                    condition_at=file.registered_at,
                    created_at=file.registered_at,
                )
                for file in files
            )
            begin_histories(
                (file, [NewEvent("file_registered", file.source), NewEvent("instance_created", file.source)])
                for file in files
            )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _file(number: int) -> File:
    at = BEGAN + timedelta(seconds=5 * number)
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return File(
        name=f"zen.{2459122 + number // 5000}.{number % 5000:05}.sum.uvh5",
        kind="flat",
        size_bytes=4096 + 7919 * number % 100_000_000,
        checksum=f"xxh3:::{digest[:32]}",
        digest=digest,
        uploader="correlator" if number % 3 else "ann",
        source="correlator",
        registered_at=at,
        first_registered_at=at,
    )


if __name__ == "__main__":
    fill(int(sys.argv[1]))
