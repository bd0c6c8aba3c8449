"""Portal pages of files: `search.py` finds them, `file.py` shows one."""
