from pathlib import Path

from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate


class CommonConfig(AppConfig):
    name = "librarian.common"
    label = "common"
    verbose_name = "Operations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from librarian.common.triggers import check_triggers, register_triggers, reinstall_after_migrate

        register_triggers(Path(__file__).parent / "sql")
        post_migrate.connect(reinstall_after_migrate, sender=self)  # sent once all apps are migrated
        checks.register(check_triggers, checks.Tags.database)
