"""A progress bar on standard error, on a terminal only, that lets lines through above it."""

import sys
import threading
from types import TracebackType
from typing import Any

from hera_librarian.cli.output import complain, say, visible


class Bar:
    """Counts bytes; silent where nobody watches. Used as a context manager."""

    def __init__(self, total_bytes: int | None = None, *, wanted: bool = True) -> None:
        self._total_bytes = total_bytes
        self._shown = wanted and sys.stderr is not None and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._bar: Any = None

    def __enter__(self) -> "Bar":
        if self._shown:
            from tqdm import tqdm

            self._bar = tqdm(total=self._total_bytes, unit="B", unit_scale=True, leave=False, file=sys.stderr)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it, so that a total is worth adding up."""
        return self._shown

    def expect(self, total_bytes: int) -> None:
        """So many bytes will come in total."""
        if self._bar is not None:
            self._bar.reset(total=total_bytes)

    def expect_more(self, size_bytes: int) -> None:
        """So many bytes more will come, as far as is known by now."""
        if self._bar is not None:
            with self._lock:
                self._bar.total = (self._bar.total or 0) + size_bytes

    def advance(self, size_bytes: int) -> None:
        """So many bytes more; fewer when a cut is resumed further back. Called from any thread."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(size_bytes)

    def say(self, text: str, *, to_stderr: bool = False) -> None:
        """Write a line without tearing the bar."""
        if self._bar is None:
            self._write(text, to_stderr)
            return
        with self._lock:
            self._bar.clear()
            self._write(text, to_stderr)
            self._bar.refresh()

    def complain(self, what: str, reason: str, remedy: str) -> None:
        """Tell of one product that failed, naming it unless its reason does."""
        start = "" if what in reason else f"{visible(what)}: "
        self.say(f"error: {start}{visible(reason)}", to_stderr=True)
        if remedy:
            self.say(f"  {visible(remedy)}", to_stderr=True)

    def _write(self, text: str, to_stderr: bool) -> None:
        (complain if to_stderr else say)(text)
