"""Verbs of older commands that are kept only to say what to use instead."""

from typing import NoReturn

from hera_librarian.exceptions import LibrarianClientRemovedFunctionality

REFUSED = {
    "add-file-event": "The server writes a file's history itself; read it at /api/v3/files/NAME/events.",
    "add-obs": "Run `manage.py ingest --in-place PATH` on the server for files that lie on a store already, "
    "or `librarian upload`.",
    "assign-sessions": "The server makes observing sessions itself, from its files.",
    "copy-metadata": "Sites exchange what they know of a file together with the file.",
    "delete-files": "Nothing erases archived bytes on request; a copy's deletion policy is set with "
    "`librarian upload --deletion`.",
    "initiate-offload": "Operators move copies between stores on the server.",
    "launch-copy": "Sites send files to each other by themselves, once `librarian add-librarian` made them known.",
    "offload-helper": "It was a part of initiate-offload and is no longer needed.",
    "set-file-deletion-policy": "The policy is set when a file is uploaded: `librarian upload --deletion allowed`.",
    "stage-files": "Use `librarian download CONNECTION PATTERN --to DIRECTORY`.",
}


def refuse(verb: str) -> NoReturn:
    """Say that a verb is gone and what to use instead."""
    raise LibrarianClientRemovedFunctionality(f"The verb {verb} no longer exists.", REFUSED[verb])
