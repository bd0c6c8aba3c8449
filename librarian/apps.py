from django.apps import AppConfig


class LibrarianConfig(AppConfig):
    name = "librarian"
    verbose_name = "Librarian"

    def ready(self) -> None:
        from librarian import (
            checks,  # noqa: F401  registers the system checks
            schedules,
        )
        from librarian.operations import admin  # noqa: F401  registers pages; no app of its own, so not found by itself

        schedules.register()
