"""How this catalogue names files: fixed by the first file, because every name depends on it."""

from django.conf import settings

from files.models import File
from librarian.common.errors import Misconfigured
from librarian.common.models import SiteFact

KEY = "file_names"
_confirmed: set[str] = set()  # modes that a catalogue with files was seen to have: those never change


def require_naming_mode() -> None:
    """Fix LIBRARIAN_FILE_NAMES with the first file; raise Misconfigured when it was changed afterwards."""
    mode = settings.LIBRARIAN_FILE_NAMES
    if mode in _confirmed:
        return
    fact, _ = SiteFact.objects.get_or_create(key=KEY, defaults={"value": mode})
    is_empty = not File.objects.exists()
    refuse_changed_mode()
    if fact.value != mode:
        SiteFact.objects.filter(key=KEY).update(value=mode)
    if not is_empty:
        _confirmed.add(mode)


def refuse_changed_mode() -> None:
    """Raise Misconfigured if the catalogue has files and names them otherwise than LIBRARIAN_FILE_NAMES says."""
    mode = settings.LIBRARIAN_FILE_NAMES
    fixed = SiteFact.objects.filter(key=KEY).values_list("value", flat=True).first()
    if fixed not in (None, mode) and File.objects.exists():
        raise Misconfigured(
            f"This catalogue names files in '{fixed}' mode; LIBRARIAN_FILE_NAMES is '{mode}'.",
            remedy=f"Set LIBRARIAN_FILE_NAMES={fixed}: the mode of a catalogue with files cannot change.",
        )


def forget_naming_mode() -> None:
    """Forget what this process has confirmed (for tests, whose catalogue changes under it)."""
    _confirmed.clear()
