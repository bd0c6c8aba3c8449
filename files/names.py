"""Names of files: what is legal, how a name handed to us is filed, and where a file of that name lies. Pure functions.

Every surface normalises a name here and nowhere else, and answers with the name as filed.
"""

import re
from dataclasses import dataclass
from datetime import date

from django.conf import settings

from librarian.common.errors import InvalidName
from librarian.common.texts import UNPRINTABLE
from stores.backends.places import CORNER, MAX_COMPONENT_BYTES

MAX_NAME_CHARACTERS = 256
MAX_PATH_BYTES = 1024  # with a store's root before it every program can still open it by its path
_JULIAN_DAY = re.compile(r"(?:^|[._-])(2[0-9]{6})(?=[._-]|$)")


@dataclass(frozen=True, slots=True)
class FiledName:
    """A name as filed, and the directory it asked for on the store (empty: none was given)."""

    name: str
    directory: str


def normalise_name(text: str) -> FiledName:
    """Return how a product handed over as `text` is filed here.

    With LIBRARIAN_FILE_NAMES=flat the last component is the name and the rest only says where the file lies on the
    store; with `path` the whole relative path is the name. A leading `./` and a trailing `/` are dropped, as POSIX
    reads them. Raises InvalidName with the reason for a name that is empty, absolute, climbing, too long, or has empty
    components or control characters.
    """
    if not isinstance(text, str):
        raise InvalidName(f"A name is text, got {type(text).__name__}.")
    path = text.removeprefix("./").removesuffix("/") if text not in ("/", "./") else text
    _refuse_bad_path(path, shown=text)
    directory, _, last = path.rpartition("/")
    name = path if settings.LIBRARIAN_FILE_NAMES == "path" else last
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidName(f"The name {_short(name)} has {len(name)} characters; {MAX_NAME_CHARACTERS} are allowed.")
    return FiledName(name=name, directory=directory)


def _refuse_bad_path(path: str, *, shown: str) -> None:
    if not path:
        raise InvalidName("The name is empty.")
    if path.startswith("/"):
        raise InvalidName(f"The name {_short(shown)} is absolute.")
    if UNPRINTABLE.search(path):
        raise InvalidName(f"The name {_short(shown)} has control characters.")
    for component in path.split("/"):
        refuse_bad_component(component, shown=shown)
    if path.startswith(f"{CORNER}/"):
        raise InvalidName(f"The name {_short(shown)} lies in {CORNER}, which every store keeps for itself.")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidName(f"The path {_short(shown)} has {len(path.encode())} bytes; {MAX_PATH_BYTES} are allowed.")


def refuse_bad_component(component: str, *, shown: str) -> None:
    """Raise InvalidName unless `component` may be one component of a name or of a member's path."""
    if not component:
        raise InvalidName(f"The name {_short(shown)} has an empty component.")
    if component in (".", ".."):
        raise InvalidName(f"The name {_short(shown)} has the component '{component}'.")
    if UNPRINTABLE.search(component):
        raise InvalidName(f"The name {_short(shown)} has control characters.")
    if len(component.encode("utf-8", "surrogatepass")) > MAX_COMPONENT_BYTES:
        raise InvalidName(f"The component {_short(component)} is longer than {MAX_COMPONENT_BYTES} bytes.")


def _short(text: str) -> str:
    """A name as it may stand in a sentence: control characters escaped, cut after 80 characters."""
    escaped = text.encode("unicode_escape").decode() if UNPRINTABLE.search(text) else text
    return repr(escaped if len(escaped) <= 80 else escaped[:77] + "…")


def julian_day(name: str) -> int | None:
    """Integer Julian Date that a HERA-style name carries (`zen.2457561.66007.uvh5` -> 2457561), or None."""
    found = _JULIAN_DAY.search(name.rpartition("/")[2])
    return int(found.group(1)) if found else None


def choose_place(filed: FiledName, *, today: date) -> str:
    """Place of a file on its store: in the directory it asked for, else under its Julian day, else under `today`."""
    last = filed.name.rpartition("/")[2]
    directory = filed.directory or str(julian_day(last) or today.isoformat())
    return f"{directory}/{last}"


def next_place(place: str, attempt: int) -> str:
    """Where a newcomer goes when `place` holds another file: `<dir>~2`, `<dir>~3`, … for attempt 2, 3, …

    Every odd attempt renames the topmost directory, since what is in the way may lie further up than the last one.
    """
    *above, last = place.split("/")
    renamed = 0 if attempt % 2 else -1
    short = above[renamed].encode()[: MAX_COMPONENT_BYTES - len(f"~{attempt}")].decode(errors="ignore")
    above[renamed] = f"{short}~{attempt}"
    return "/".join([*above, last])
