"""States of files and copies as people see them: one word, one tone, what it means."""

from files.copies import CopyState
from files.models import Condition, Presence
from librarian.common.badges import Badge

COPY_STATES: dict[str, Badge] = {
    CopyState.ONE_LOCAL: Badge("one copy", "note", "One copy here, and none known elsewhere."),
    CopyState.MANY_LOCAL: Badge("copies here", "good", "Several copies here, and none known elsewhere."),
    CopyState.LOCAL_AND_REMOTE: Badge("here and elsewhere", "good", "Copies here and at other sites."),
    CopyState.ONLY_REMOTE: Badge("only elsewhere", "warn", "No copy here; other sites have confirmed theirs."),
    CopyState.NONE: Badge("no copy", "bad", "No copy is known, here or elsewhere."),
}

PRESENCES: dict[str, Badge] = {
    Presence.PRESENT: Badge("present", "good", "The bytes are on this store."),
    Presence.SET_ASIDE: Badge("set aside", "bad", "Found bad; the bytes are kept apart and not handed out."),
    Presence.HANDED_OVER: Badge("handed over", "note", "Left by manifest with a travelling store."),
    Presence.LEAVING: Badge("leaving", "warn", "Being erased, with a certificate."),
    Presence.GONE: Badge("gone", "quiet", "Erased; the history says why."),
}

CONDITIONS: dict[str, Badge] = {
    Condition.NEVER_CHECKED: Badge("never checked", "quiet", "Not re-read since it was taken in."),
    Condition.GOOD: Badge("good", "good", "Every byte was re-read and is right."),
    Condition.MISSING: Badge("missing", "bad", "Nothing lies at its place."),
    Condition.SHORT: Badge("short", "bad", "Fewer bytes than there should be."),
    Condition.UNREADABLE: Badge("unreadable", "bad", "The store gave an error instead of bytes."),
    Condition.DIFFERENT: Badge("different", "bad", "The bytes are not the ones that were taken in."),
    Condition.UNKNOWN: Badge(
        "could not check", "warn", "The latest look could not read it; that says nothing about it."
    ),
}


def state_sentence(state: str, *, local: list[str], remote: list[str]) -> str:
    """Where a file is, in one sentence with the names of stores and sites."""
    here, elsewhere = _and(local), _and(remote)
    return {
        CopyState.ONE_LOCAL: f"One copy, on {here}. No other site is known to have one.",
        CopyState.MANY_LOCAL: f"{len(local)} copies here, on {here}. No other site is known to have one.",
        CopyState.LOCAL_AND_REMOTE: f"Here on {here}, and confirmed at {elsewhere}.",
        CopyState.ONLY_REMOTE: f"No copy here; confirmed at {elsewhere}.",
        CopyState.NONE: "No copy is known, here or at another site. The catalogue remembers the file all the same.",
    }[CopyState(state)]


def away_sentence(*, travelling: list[str], handed_over: list[str]) -> str:
    """What is to be known of copies on disks that travel; empty when there is none."""
    parts = []
    if travelling:
        parts.append(f"The copy on {_and(travelling)} is on a disk that travels, and may leave this site.")
    if handed_over:
        parts.append(f"A copy left this site with the disk {_and(handed_over)}, and cannot be read here.")
    return " ".join(parts)


def _and(names: list[str]) -> str:
    unique = list(dict.fromkeys(names))
    return f"{', '.join(unique[:-1])} and {unique[-1]}" if len(unique) > 1 else "".join(unique)
