"""The five states of a file, by the copies that are known of it. Every file is in exactly one of them."""

from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from files.models import Instance, Presence, RemoteInstance


class CopyState(models.TextChoices):
    """Counts *present* instances here, and the remote instances that directly connected peers confirmed."""

    ONE_LOCAL = "one_local", "one copy here"
    MANY_LOCAL = "many_local", "several copies here"
    LOCAL_AND_REMOTE = "local_and_remote", "copies here and at other sites"
    ONLY_REMOTE = "only_remote", "no copy here, but at other sites"
    NONE = "none", "no known copy"


_OF_FILE = OuterRef("pk")
_here = Exists(Instance.objects.present().filter(file=_OF_FILE))
_elsewhere = Exists(RemoteInstance.objects.filter(file=_OF_FILE))
_second = {"file__instances__presence": Presence.PRESENT, "file__instances__pk__gt": F("pk")}
_several = Exists(Instance.objects.present().filter(file=_OF_FILE, **_second))

# Conditions on files. They ask whether there is a copy and never count, so that a search stops where its page is full.
CONDITIONS: dict[str, Q] = {
    CopyState.ONE_LOCAL: Q(_here) & ~Q(_several) & ~Q(_elsewhere),
    CopyState.MANY_LOCAL: Q(_several) & ~Q(_elsewhere),
    CopyState.LOCAL_AND_REMOTE: Q(_here) & Q(_elsewhere),
    CopyState.ONLY_REMOTE: ~Q(_here) & Q(_elsewhere),
    CopyState.NONE: ~Q(_here) & ~Q(_elsewhere),
}


def copy_state(*, local_count: int, remote_count: int) -> CopyState:
    """State of a file with so many present instances here and remote instances elsewhere."""
    if local_count and remote_count:
        return CopyState.LOCAL_AND_REMOTE
    if local_count:
        return CopyState.ONE_LOCAL if local_count == 1 else CopyState.MANY_LOCAL
    return CopyState.ONLY_REMOTE if remote_count else CopyState.NONE
