"""Base of staff pages of rows that machines write and people act on: each act calls a service."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.addresses import client_address
from librarian.common.admin import ReadOnlyAdmin
from librarian.common.errors import ArchiveError


class ActsAdmin(ReadOnlyAdmin):
    """Read-only rows with actions that say what they did, and why not of those where they could not."""

    def each(self, request: HttpRequest, rows: QuerySet[Any], act: Callable[..., object], *, done: str) -> None:
        """Run an act on each row; what one refuses does not stop the others."""
        count = 0
        for row in rows:
            try:
                act(row, actor=request.user, address=client_address(request) or "")
                count += 1
            except ArchiveError as problem:
                self.message_user(request, f"{row}: {problem.reason} {problem.suggested_remedy}", messages.ERROR)
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)
