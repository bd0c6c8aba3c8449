"""What runs on a storage node: lays out the links, runs rsync, and ends with the connection that it came by.

`rsync_node.py` sends this module as text, and the node's own Python runs it (3.6 or newer): nothing of ours can be
imported here, and no newer syntax used. Its standard input is the connection: once that ends, or is silent for too
long, rsync is killed with its group and the links are removed. Lines of its own begin with the word of the plan, which
nobody else knows; all else on standard output is rsync's.
"""

import ctypes
import errno
import json
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

FOLDER = b"librarian-rsync-"  # that nobody else has in a temporary directory
LEFT_SECONDS = 2 * 86400  # longer than any job's time box
SILENCE_SECONDS = 300
MINIMUM = (3, 1)
UNFIT = 3
NOT_OURS = ("RSYNC_RSH", "RSYNC_PARTIAL_DIR", "RSYNC_PROTECT_ARGS", "RSYNC_OLD_ARGS")


def main(plan: dict) -> int:
    """Carry out a plan: `root` of the store, `links` (path, source, is it a directory, size), `arguments`, `to`."""
    say = _teller(plan["word"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the links are removed then too
    why = _missing()
    if why:
        say({"unfit": why})
        return UNFIT
    try:
        if not os.path.isdir(_bytes(plan["root"]) + b"/.librarian"):
            say({"unfit": f"{plan['root']} does not carry the directory .librarian of a store", "passing": True})
            return UNFIT
        folder = _make_folder(_bytes(plan["root"]))
    except OSError as error:
        say({"unfit": f"no directory could be made for the links: {error}", "passing": True})
        return UNFIT
    try:
        return _send(plan, folder, say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _send(plan: dict, folder: bytes, say: object) -> int:
    tree, names = folder + b"/tree", folder + b"/list"
    os.mkdir(tree)
    with open(names, "wb") as listed:
        for path, source, is_directory, size_bytes in plan["links"]:
            found = look(_bytes(source), is_directory, size_bytes)
            if found:
                say({"path": path, "found": found})
                continue
            link = tree + b"/" + _bytes(path)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(_bytes(source), link)
            listed.write(_bytes(path) + b"\0")
    say({"begins": True})
    command = ["rsync"] + plan["arguments"] + [b"--files-from=" + names, tree + b"/", _bytes(plan["to"])]
    code = 0
    if os.path.getsize(names):
        code = _run([word if isinstance(word, bytes) else _bytes(word) for word in command])
    if code:
        for path, source, is_directory, size_bytes in plan["links"]:
            found = look(_bytes(source), is_directory, size_bytes)
            if found:
                say({"path": path, "found": found})
    say({"ends": code})
    return code


def _run(command: list) -> int:
    """Run rsync to its end, or to that of the connection."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    environment["LC_ALL"] = "C"  # its complaints are read
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
        preexec_fn=_dying_with_us(),
    )
    try:
        threading.Thread(target=_end_with_connection, args=(child.pid,), daemon=True).start()
        code = child.wait()
        return code if code >= 0 else 128 - code
    finally:
        _kill(child.pid)


def _end_with_connection(group: int) -> None:
    while select.select([0], [], [], SILENCE_SECONDS)[0] and os.read(0, 65536):
        pass
    _kill(group)


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass  # all of it has ended


def _dying_with_us() -> object:
    """What makes the kernel kill rsync when this process is killed (PR_SET_PDEATHSIG; Linux); None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.prctl  # noqa: B018 - looked up before the fork
    except (OSError, AttributeError):
        return None
    return lambda: libc.prctl(1, signal.SIGKILL)


def look(path: bytes, is_directory: bool, size_bytes: int) -> list:
    """What is wrong with a copy as far as a look tells: the name of an error, its kind, its size; or nothing."""
    try:
        seen = os.lstat(path)
        if is_directory:
            return [] if stat.S_ISDIR(seen.st_mode) else ["kind", "", ""]
        if not stat.S_ISREG(seen.st_mode):
            return ["kind", "", ""]
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    except OSError as error:
        return ["error", errno.errorcode.get(error.errno or 0, "EIO"), error.strerror or ""]
    return [] if seen.st_size == size_bytes else ["size", seen.st_size, ""]


def _missing() -> str:
    """What this machine lacks; empty when it can send."""
    for program in ("rsync", "ssh"):
        if shutil.which(program) is None:
            return f"{program} is not installed there, or not where the account that we use finds it"
    said = subprocess.Popen(["rsync", "--version"], stdout=subprocess.PIPE).communicate()[0]
    found = re.match(rb"rsync\s+version v?(\d+)\.(\d+)", said)
    if found is None or tuple(map(int, found.groups())) < MINIMUM:
        return "its rsync is older than {}.{}, or another program of this name".format(*MINIMUM)
    return ""


def _make_folder(root: bytes) -> bytes:
    """A private directory for links: in the store's own corner, or where this machine keeps what is temporary."""
    problem = OSError(errno.EIO, "nothing was tried")
    for area in (root + b"/.librarian/tmp", os.fsencode(tempfile.gettempdir())):
        try:
            if not os.path.isdir(area):
                os.mkdir(area, 0o700)
            _sweep(area)
            folder = tempfile.mkdtemp(prefix=FOLDER, dir=area)
        except OSError as error:
            problem = error
            continue
        try:
            os.symlink(b"nowhere", folder + b"/probe")
            os.mkdir(folder + b"/probed")
        except OSError as error:  # no links, or no room
            problem = error
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return folder
    raise problem


def _sweep(area: bytes) -> None:
    """Remove what batches of killed programs left: links, and no bytes."""
    for name in os.listdir(area):
        path = area + b"/" + name
        try:
            seen = os.lstat(path)
            is_left = stat.S_ISDIR(seen.st_mode) and time.time() - seen.st_mtime > LEFT_SECONDS
            if name.startswith(FOLDER) and is_left and seen.st_uid == os.geteuid():
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            pass  # another was first


def _teller(word: str) -> object:
    def say(message: dict) -> None:
        try:
            os.write(1, f"\n{word} {json.dumps(message)}\n".encode("ascii"))
        except OSError:
            pass  # nobody listens any more

    return say


def _bytes(text: str) -> bytes:
    """A name as it is on disk, whatever encoding this machine believes in."""
    return text.encode("utf-8", "surrogateescape")
