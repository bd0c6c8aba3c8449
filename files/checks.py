"""System checks of the files floor."""

from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import DatabaseError

from librarian.common.errors import Misconfigured


def check_naming_mode(app_configs: Any = None, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The catalogue names files as the settings say (tag `database`). A database that is not migrated has no mode."""
    from files.services.naming import refuse_changed_mode

    try:
        if databases:
            refuse_changed_mode()
    except Misconfigured as error:
        return [Error(error.reason, hint=error.suggested_remedy, id="files.E002")]
    except DatabaseError:
        return []
    return []
