"""`python -m hera_librarian.cli`: the command, where it is not installed."""

import sys

from hera_librarian.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
