"""What the tests of faults ask inside a site, in one go: rows of a name, and what is left after the sweepers."""

from typing import Any

from files.invariants import check_invariants
from files.models import EventHead, File, FileEvent, Instance, Upload
from files.services.event_verification import verify_events
from files.services.sweeping import finish_commits, sweep_staging
from stores.models import Store


def rows_of(name: str) -> dict[str, int]:
    """How many rows of each kind a name has."""
    return {
        "files": File.objects.filter(name=name).count(),
        "instances": Instance.objects.filter(file__name=name).count(),
        "events": FileEvent.objects.filter(file__name=name).count(),
        "heads": EventHead.objects.filter(file__name=name).count(),
    }


def sweep_and_audit() -> dict[str, Any]:
    """Run the sweepers, and say what is there and what is wrong afterwards."""
    finish_commits()
    sweep_staging(older_than_seconds=-10)
    staging = sum(1 for store in Store.objects.all() for _ in store.backend.list_staging())
    return {
        "rows": {name: rows_of(name) for name in File.objects.values_list("name", flat=True)[:50]},
        "left": {
            "live uploads": Upload.objects.live().count(),
            "staging": staging,
            "broken histories": verify_events().findings,
            "broken invariants": [name for name, rows in check_invariants().items() if rows],
        },
    }
