"""`manage.py check_invariants`: the truths that neither constraints nor triggers can hold."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from files.invariants import INVARIANTS, check_invariants


class Command(BaseCommand):
    help = "Check what the database cannot hold by itself. Exit code 1 when a truth does not hold."

    def handle(self, *args: Any, **options: Any) -> None:
        found = check_invariants()
        for invariant in INVARIANTS:
            rows = found[invariant.name]
            self.stdout.write(f"{'broken' if rows else 'holds '}  {invariant.name}: {invariant.truth}")
            for sentence in rows:
                self.stderr.write(f"  {sentence}")
        if any(found.values()):
            raise CommandError("Some truths do not hold.", returncode=1)
