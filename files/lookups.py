"""Patterns over names: LIKE with the same meaning on both databases.

A *like pattern* is that of PostgreSQL: `%` any characters, `_` one character, a backslash takes the next one as it is;
case counts. SQLite's own LIKE ignores the case of ASCII letters, so there the pattern is translated to GLOB, which
does not. (Its pragma for the case of LIKE would change `icontains` too.)
"""

import re
from typing import Any

from django.db.models import CharField, Lookup, TextField

MAX_PATTERN_CHARACTERS = 1024
_LIKE_PARTS = re.compile(r"\\(.)|(%+)|(_)|([^\\%_]+)", re.DOTALL)
_GLOB_SPECIAL = re.compile(r"[*?\[]")


def escape_like(text: str) -> str:
    """A like pattern that matches exactly `text`."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def like_to_glob(pattern: str) -> str:
    """The GLOB pattern of SQLite with the meaning of a like pattern. Raises ValueError for a trailing backslash."""
    check_like(pattern)
    parts = []
    for escaped, anything, one, plain in _LIKE_PARTS.findall(pattern):
        if anything:
            parts.append("*")
        elif one:
            parts.append("?")
        else:
            parts.append(_GLOB_SPECIAL.sub(r"[\g<0>]", escaped or plain))
    return "".join(parts)


def shell_to_like(pattern: str) -> str:
    """The like pattern of a shell pattern with `*` and `?`; a backslash takes the next character as it is.

    Raises ValueError for a trailing backslash, and for `[`: sets have no LIKE, and taking them for plain characters
    would quietly find nothing.
    """
    parts = []
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            parts.append("%")
        elif character == "?":
            parts.append("_")
        elif character == "[":
            raise ValueError("sets in brackets are not supported; write \\[ for the character itself.")
        elif character == "\\":
            following = next(characters, None)
            if following is None:
                raise ValueError("it ends in a backslash, which takes the character after it as it is.")
            parts.append(escape_like(following))
        else:
            parts.append(escape_like(character))
    return "".join(parts)


def check_like(pattern: str) -> str:
    """Return a like pattern that both databases take. Raises ValueError saying what is wrong with another."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"it has {len(pattern)} characters; {MAX_PATTERN_CHARACTERS} are allowed.")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise ValueError("it ends in a backslash, which takes the character after it as it is.")
    return pattern


@CharField.register_lookup
@TextField.register_lookup
class Like(Lookup):
    """`name__like="zen.%.uvh5"`: the column matches the like pattern, in whole and with its case."""

    lookup_name = "like"

    def get_prep_lookup(self) -> str:
        return check_like(str(self.rhs))

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, column_params = self.process_lhs(compiler, connection)
        return f"{column} LIKE %s", [*column_params, self.rhs]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, column_params = self.process_lhs(compiler, connection)
        return f"{column} GLOB %s", [*column_params, like_to_glob(self.rhs)]
