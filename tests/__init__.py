"""The suite. Mirrors the tree of the apps; `tests/rig` starts what it needs (PostgreSQL, Chromium, servers)."""
