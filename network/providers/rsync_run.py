"""One run of rsync: its output followed line by line, its group killed when it shall end.

With `-ii --out-format='%i %l %n'` it prints a line for each entry before it sends it (or finds that it need not), and
with `--info=progress2` how many bytes of the batch went so far.
"""

import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from librarian.common.children import running_child
from network.providers.base import ASKED_EVERY_SECONDS, Parcel, Sending

MOST_COMPLAINTS = 64 * 1024
TELLING_SECONDS = 0.02  # between two looks whether it reads on
LIFE_SECONDS = 30.0  # between two signs of life to a program that reads its input
_ENTRY = re.compile(rb"([<>ch.*][fdLDS].{9}) (\d+) (.*)", re.DOTALL)
_PROGRESS = re.compile(rb"\s*(\d+)\s+\d+%\s")
_ESCAPED = re.compile(rb"\\#([0-7]{3})")


class Run:
    """Starts rsync with some arguments and keeps what it said.

    Parameters
    ----------
    arguments : sequence of str
    parcels : mapping
        The parcels by their paths below the destination.
    told : bytes
        What the program reads first; its input then stays open, with a sign of life now and then.
    """

    def __init__(self, arguments: Sequence[str], parcels: Mapping[str, Parcel], *, told: bytes = b"") -> None:
        self._arguments = arguments
        self._told = told
        self._parcels = parcels
        self._said = bytearray()
        self._done_bytes: dict[str, int] = {}  # by parcel: what is over there of it, as far as this run knows
        self._unchanged: dict[str, tuple[int, int]] = {}  # by parcel: files that are over there already, their bytes
        self._counted = 0  # bytes of the batch that went before the entry that goes now
        self._current = ("", 0)  # the parcel and size of the entry that goes now
        self.sent: set[str] = set()  # parcels of which something had to be sent
        self.mentioned: set[str] = set()
        self.exit_code = -1
        self.was_stopped = False

    @property
    def has_sent(self) -> bool:
        """True once it began: the far end answered, and said which entries it needs."""
        return bool(self.mentioned)

    @property
    def complaints(self) -> str:
        """What went to its standard error, with that of ssh."""
        return bytes(self._said).decode("utf-8", "replace")

    def last_words(self) -> str:
        """The last lines of that, for a sentence."""
        lines = [line.strip() for line in self.complaints.splitlines() if line.strip()]
        return " ".join(lines[-3:])[:500] or "it said nothing."

    def found_whole(self, path: str) -> bool:
        """True if every file of a parcel was found to be over there already: as many, with as many bytes."""
        parcel = self._parcels[path]
        files = sum(member.kind == "file" for member in parcel.entries) if parcel.is_directory else 1
        return path not in self.sent and self._unchanged.get(path, (0, 0)) == (files, parcel.size_bytes)

    def follow(self, sending: Sending) -> None:
        """Run it to its end, or until `sending` says that it shall end."""
        environment = {**os.environ, "LC_ALL": "C"}  # its complaints are read
        for name in ("RSYNC_RSH", "RSYNC_PARTIAL_DIR", "RSYNC_PROTECT_ARGS", "RSYNC_OLD_ARGS"):
            environment.pop(name, None)
        with running_child(
            self._arguments,
            stdin=subprocess.PIPE if self._told else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            bufsize=0,
        ) as child:
            for line in self._lines(child, sending):
                self._read(line, sending)
            if not self.was_stopped:
                self.exit_code = child.wait()

    def _lines(self, child: "subprocess.Popen[bytes]", sending: Sending) -> Iterator[bytes]:
        """Lines of its output, as they come; what it complains of is kept."""
        rest, input_left = b"", _Input(child, self._told)
        with selectors.DefaultSelector() as waiting:
            waiting.register(child.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
            waiting.register(child.stderr, selectors.EVENT_READ)  # type: ignore[arg-type]
            while waiting.get_map():
                is_told = input_left.go_on()
                ready = waiting.select(ASKED_EVERY_SECONDS if is_told else TELLING_SECONDS)
                if not sending.goes_on():
                    self.was_stopped = True
                    return
                if is_told and not ready and child.poll() is not None:
                    return  # a connection that outlives its command may keep the pipes open
                for key, _ in ready:
                    block = os.read(key.fd, 65536)
                    if not block:
                        waiting.unregister(key.fileobj)
                    elif key.fileobj is child.stderr:
                        self._said = (self._said + block)[-MOST_COMPLAINTS:]
                    else:
                        *lines, rest = re.split(rb"[\r\n]", rest + block)
                        rest = rest[-MOST_COMPLAINTS:]  # the far end may print without ever ending a line
                        yield from lines
        yield rest

    def _read(self, line: bytes, sending: Sending) -> None:
        if found := _ENTRY.fullmatch(line):
            self._begin(found[1], int(found[2]), _unescaped(found[3]), sending)
        elif found := _PROGRESS.match(line):
            path, size = self._current
            if path:
                self._tell(path, min(size, max(0, int(found[1]) - self._counted)), sending)

    def _begin(self, what: bytes, size: int, name: str, sending: Sending) -> None:
        """An entry begins: the one before is out of our hands."""
        before, before_size = self._current
        if before:
            self._counted += before_size
            self._done_bytes[before] = self._done_bytes.get(before, 0) + before_size
            self._tell(before, 0, sending)
        self._current = ("", 0)
        path = self._parcel_of(name.rstrip("/"))
        if path is None:
            return
        self.mentioned.add(path)
        if what[:1] == b"." and what[1:2] == b"f":
            self._done_bytes[path] = self._done_bytes.get(path, 0) + size
            files, count = self._unchanged.get(path, (0, 0))
            self._unchanged[path] = (files + 1, count + size)
            self._tell(path, 0, sending)
        elif what[:1] in b"<>c":
            self.sent.add(path)
            if what[1:2] == b"f":
                self._current = (path, size)

    def _parcel_of(self, name: str) -> str | None:
        """The parcel that an entry belongs to."""
        while name:
            if name in self._parcels:
                return name
            name = os.path.dirname(name)
        return None

    def _tell(self, path: str, more: int, sending: Sending) -> None:
        parcel = self._parcels[path]
        sending.progress(parcel.transfer_id, min(parcel.size_bytes, self._done_bytes.get(path, 0) + more))


class _Input:
    """What a program reads, handed over as it reads: nothing waits for it."""

    def __init__(self, child: "subprocess.Popen[bytes]", told: bytes) -> None:
        self._left = memoryview(told)
        self._fd = child.stdin.fileno() if child.stdin is not None else None
        self._spoke_at = time.monotonic()
        if self._fd is not None:
            os.set_blocking(self._fd, False)

    def go_on(self) -> bool:
        """Hand over what it takes; True once all of it is over. Later calls give signs of life."""
        if self._fd is None:
            return True
        if not self._left and time.monotonic() - self._spoke_at >= LIFE_SECONDS:
            self._left = memoryview(b"\n")
        try:
            while self._left:
                self._left = self._left[os.write(self._fd, self._left) :]
                self._spoke_at = time.monotonic()
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self._left = memoryview(b"")  # it has ended, and says why itself
        return True


def _unescaped(name: bytes) -> str:
    """A name as it is: rsync writes control characters as `\\#ooo`."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), name))
