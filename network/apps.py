from pathlib import Path

from django.apps import AppConfig
from django.core import checks


class NetworkConfig(AppConfig):
    name = "network"
    verbose_name = "Network"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from files.panels import register_panel
        from librarian.common.triggers import register_triggers
        from network.checks import check_encryption_keys, check_globus, check_site_name
        from network.disk_panels import trips_of
        from network.panels import ways_of
        from stores.panels import register_panel as register_store_panel

        register_triggers(Path(__file__).parent / "sql")
        checks.register(check_encryption_keys)
        checks.register(check_globus)
        checks.register(check_site_name, checks.Tags.database)
        register_panel("network/_file_ways.html", ways_of)
        register_store_panel("network/_store_trips.html", trips_of)
