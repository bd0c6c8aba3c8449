"""What must be right in the settings of this floor. `manage.py check` shows it, the web server refuses."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import DatabaseError

from librarian.common.errors import Misconfigured
from librarian.common.sealing import encryption_keys


def check_encryption_keys(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The keys can be used; else the first peer that is added or called would tell."""
    try:
        encryption_keys()
    except Misconfigured as error:
        return [Error(error.reason, hint=error.suggested_remedy, id="network.E001")]
    return []


def check_site_name(app_configs: Any = None, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Other sites know this one by the name in the settings (tag `database`)."""
    from network.services.peering.naming import refuse_changed_name

    try:
        if databases:
            refuse_changed_name()
    except Misconfigured as error:
        return [Error(error.reason, hint=error.suggested_remedy, id="network.E002")]
    except DatabaseError:  # not migrated: no peer either
        return []
    return []


def check_globus(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Globus, where it is set up, can be used. A warning: its secret need lie only where jobs run."""
    from network.providers.globus_account import configuration_problem

    if not settings.LIBRARIAN_GLOBUS_CLIENT_ID or (problem := configuration_problem()) is None:
        return []
    return [Warning(problem, hint="See docs/network.md, Set up Globus.", id="network.W001")]
