"""What the directories of a store look like to the user who writes there: modes, mount, marker, room, programs.

Only facts; what they mean is told by `soil`. This file is imported for a directory of this machine, and sent as it is
to the Python of a storage node: so it imports nothing of ours, and knows no Python younger than 3.6.
"""

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from typing import Any

CORNER, MARKER = ".librarian", "store.json"
PROGRAM_SECONDS = 10


def look(root: str, staging: str) -> "dict[str, Any]":
    """Facts by name, as plain data; whatever could not be seen says so in its `error`."""
    return {
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "system": platform.system(),
        "host": platform.node(),
        "uid": os.getuid(),
        "time": time.time(),
        "rsync": _rsync(),
        "xxhash": importlib.util.find_spec("xxhash") is not None,
        "root": directory(root),
        "staging": directory(staging),
        "marker": _marker(root),
        "mount": mount(root),
    }


def _rsync() -> str:
    """Version of the rsync that is found here; empty without one."""
    if shutil.which("rsync") is None:
        return ""
    try:
        said = subprocess.run(
            ["rsync", "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PROGRAM_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.match(rb"rsync\s+version v?([0-9.]+)", said)
    return found.group(1).decode() if found else ""


def directory(path: str) -> "dict[str, Any]":
    """Modes and room of a directory."""
    facts = {"path": path, "error": "", "closed_to_group": _closed_to_group(path)}
    try:
        seen, room = os.stat(path), os.statvfs(path)
        with os.scandir(path) as entries:
            facts["empty"] = next(entries, None) is None
    except OSError as error:
        facts["error"] = error.strerror or str(error)
        return facts
    facts.update(
        mode=seen.st_mode & 0o7777,
        device=seen.st_dev,
        writable=os.access(path, os.W_OK | os.X_OK),
        read_only=bool(room.f_flag & os.ST_RDONLY),
        inodes=room.f_files,
        free_inodes=room.f_favail,
    )
    return facts


def _closed_to_group(path: str) -> str:
    """The first directory on the way that lets through neither its group nor others; empty when there is none."""
    way = "/"
    for part in path.strip("/").split("/"):
        way = os.path.join(way, part)
        try:
            if not os.stat(way).st_mode & 0o011:
                return way
        except OSError:
            return ""
    return ""


def _marker(root: str) -> "dict[str, str]":
    try:
        with open(os.path.join(root, CORNER, MARKER), "rb") as file:
            found = json.loads(file.read(65536).decode())
        return {"error": "", "name": str(found["name"]), "marker": str(found["marker"])}
    except FileNotFoundError:
        return {"error": "missing"}
    except OSError as error:
        return {"error": f"unreadable: {error.strerror}"}
    except (ValueError, KeyError, TypeError):
        return {"error": "damaged"}


def mount(path: str) -> "dict[str, str]":
    """The file system that a path lies on: where it is mounted, its type, what is mounted."""
    path = os.path.realpath(path)
    best = {"point": "", "type": "", "source": "", "options": ""}
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                fields, _, rest = line.decode("utf-8", "surrogateescape").partition(" - ")
                point, options = [_plain(word) for word in fields.split()[4:6]]
                holds = path == point or path.startswith(point.rstrip("/") + "/")
                if holds and len(point) >= len(best["point"]):  # of several at one point the last is seen
                    kind, source = rest.split()[:2]
                    best = {"point": point, "type": kind, "source": _plain(source), "options": options}
    except (OSError, ValueError, IndexError):
        while path != "/" and not os.path.ismount(path):
            path = os.path.dirname(path)
        best["point"] = path
    return best


def _plain(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), word)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(*sys.argv[1:3])) + "\n")
