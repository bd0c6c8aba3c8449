"""Peak memory of processes while something runs."""

import threading
from collections.abc import Callable
from types import TracebackType

import psutil


class PeakMemory:
    """Samples the memory of process trees in a thread; `peaks` maps each label to bytes of the largest process.

    USS counts what would be free again if the process ended: pages of libraries that are shared do not count.
    """

    EVERY_SECONDS = 0.05

    def __init__(self, roots: Callable[[], dict[str, int]]) -> None:
        self._roots = roots
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(self.EVERY_SECONDS):
            for label, pid in self._roots().items():
                for process in _tree(pid):
                    self.peaks[label] = max(self.peaks.get(label, 0), _uss_bytes(process))


def _tree(pid: int) -> list[psutil.Process]:
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _uss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:
        return 0
