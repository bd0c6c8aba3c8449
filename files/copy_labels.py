"""Copies between our stores and offloads as people see them: a word for each state, sentences for whatever waits."""

from django.utils import timezone

from files.models import CopyState, Offload, OffloadState, StoreCopy
from librarian.common.badges import ADMINS, Badge, Standing

COPIES: dict[str, Badge] = {
    CopyState.WANTED: Badge("waiting", "quiet", "Wanted, and not begun yet."),
    CopyState.COPYING: Badge("copying", "note", "Its bytes are on their way."),
    CopyState.DONE: Badge("copied", "good", "Read back from the store, and right."),
    CopyState.FAILED: Badge("failed", "bad", "Not tried again before a person wants it."),
    CopyState.CANCELLED: Badge("cancelled", "quiet", "Given up."),
}
TRIED_AGAIN = Badge("tried again", "warn", "It could not be made, and is tried again by itself.")

OFFLOADS: dict[str, Badge] = {
    OffloadState.RUNNING: Badge("running", "note", "Copies are made until nothing is left that has no other."),
    OffloadState.PAUSED: Badge("paused", "warn", "A person paused it; nothing new is copied."),
    OffloadState.DONE: Badge("done", "good", "Every file has a verified copy elsewhere."),
    OffloadState.STOPPED: Badge("stopped", "quiet", "A person stopped it; what was copied stays."),
}


def copy_badge(copy: StoreCopy) -> Badge:
    """The state of a copy; one that waits because something went wrong says so."""
    return TRIED_AGAIN if copy.state == CopyState.WANTED and copy.reason else COPIES[copy.state]


def copy_standing(copy: StoreCopy) -> Standing:
    """What a copy waits for."""
    store = copy.store.name if copy.store else "a store"
    if copy.state == CopyState.DONE:
        return Standing(f"It is on {store}, was read back and is right.")
    if copy.state == CopyState.COPYING:
        return Standing(f"Its bytes go to {store}.")
    if copy.state == CopyState.WANTED:
        if copy.reason:
            return Standing("It is tried again by itself.", copy.next_try_at, who=f"{ADMINS}, as the remedy says")
        return Standing("It waits for its turn.", copy.next_try_at if copy.next_try_at > timezone.now() else None)
    return Standing("It is not made before somebody wants it again.", who=ADMINS)


def group_words(group: str) -> str:
    """What wants a copy, in words: `offload:3` is offload 3."""
    kind, _, name = group.partition(":")
    return {"order": f"standing order {name}", "offload": f"offload {name}", "person": name}.get(kind, group)


def offload_badge(offload: Offload) -> Badge:
    """The state of an offload; one that cannot go on says so."""
    if offload.state == OffloadState.RUNNING and offload.problem:
        return Badge("held up", "warn", offload.problem)
    return OFFLOADS[offload.state]


def offload_words(offload: Offload) -> str:
    """What an offload is for."""
    return "drained before it goes out of service" if offload.drains else "emptied for its room"
