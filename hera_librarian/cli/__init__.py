"""The command `librarian`: one module a verb in `verbs/`, what they share beside it.

Modules here are imported before any word is parsed, so they import nothing heavy: client, models and progress bars
come in when a verb runs.
"""

from hera_librarian.cli.program import main

__all__ = ["main"]
