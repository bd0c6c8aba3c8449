"""What a Librarian says when it does not do what it was asked, out of the wrappings in which servers send it.

The protocol's own server sends a plain object, or puts under `detail` the JSON text of one, the object itself, a list
of what is wrong with the request, or a sentence (wire reference 1.4). Texts are made storable and cut, because they end
in rows and pages.
"""

import json
from typing import Any

from librarian.common.texts import UNPRINTABLE, storable

MOST_CHARACTERS = 1000
MOST_REASONS = 3
TEXTS = ("reason", "suggested_remedy", "code")


def unwrap(content: Any) -> dict[str, Any]:
    """The object that says why: `reason`, `suggested_remedy` and `code` are texts, empty or left out if unknown."""
    if not isinstance(content, dict):
        return {"reason": _in_words(content)}
    inner = content.get("detail")
    if inner is None:
        return _tidy(content)
    if isinstance(inner, str):
        inner = _parsed(inner)
    rest = {key: value for key, value in content.items() if key != "detail"}
    return _tidy({**rest, **inner}) if isinstance(inner, dict) else {"reason": _in_words(inner), **_tidy(rest)}


def _parsed(text: str) -> Any:
    """The value of a JSON text; a text that is none is a sentence."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _tidy(said: dict[str, Any]) -> dict[str, Any]:
    texts = {key: _cut(said[key]) for key in TEXTS if isinstance(said.get(key), str)}
    return {**{key: value for key, value in said.items() if key not in TEXTS}, **texts}


def _in_words(value: Any) -> str:
    """A sentence of what is no object: the sentence itself, or what is wrong where in a request."""
    if isinstance(value, list):
        return _cut("; ".join(_fault(each) for each in value[:MOST_REASONS] if isinstance(each, dict)))
    return _cut(value) if isinstance(value, str) else ""


def _fault(item: dict[str, Any]) -> str:
    places = item.get("loc")
    where = ".".join(str(part) for part in places) if isinstance(places, list) else "the request"
    return f"{where}: {item.get('msg') or item.get('type') or 'not as it should be'}"


def _cut(text: str) -> str:
    """One line without control characters: it ends in logs and on terminals too."""
    return storable(UNPRINTABLE.sub("\ufffd", " ".join(text.split())), MOST_CHARACTERS)
