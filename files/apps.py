from pathlib import Path

from django.apps import AppConfig
from django.core import checks


class FilesConfig(AppConfig):
    name = "files"
    verbose_name = "Files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from files import lookups  # noqa: F401  makes `name__like` known
        from files.checks import check_naming_mode
        from files.copy_panels import copies_of_file, copying_of
        from files.panels import copies_on
        from files.panels import register_panel as register_file_panel
        from librarian.common.triggers import register_triggers
        from stores.panels import register_panel

        checks.register(check_naming_mode, checks.Tags.database)
        register_triggers(Path(__file__).parent / "sql")
        register_panel("files/_store_copying.html", copying_of)
        register_panel("stores/_copies.html", copies_on)
        register_file_panel("files/_file_copying.html", copies_of_file)
