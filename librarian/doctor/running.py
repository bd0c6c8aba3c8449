"""Running looks side by side, each within its time: one that hangs is named and costs the others nothing.

The threads are daemons, since a call on a dead network mount may never return: such a one ends with the process.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from librarian.common.errors import ArchiveError
from librarian.common.findings import Finding, Look, fails

AT_ONCE = 16
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """A look under way, or over."""

    look: Look
    findings: list[Finding] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    is_over: bool = False

    @property
    def ends_at(self) -> float:
        return self.begun + self.look.seconds


def run_looks(looks: Iterable[Look]) -> Iterator[tuple[str, list[Finding]]]:
    """Group and findings of each look, in the order of the looks, each as soon as it and those before it are known."""
    waiting = list(looks)
    done: queue.SimpleQueue[_Run] = queue.SimpleQueue()
    runs: list[_Run] = []
    told = 0
    while told < len(waiting):
        while len(runs) < len(waiting) and sum(not run.is_over for run in runs) < AT_ONCE:
            runs.append(_start(waiting[len(runs)], done))
        while told < len(runs) and runs[told].is_over:
            yield runs[told].look.group, runs[told].findings
            told += 1
        _wait_for_one(runs, done)


def _start(look: Look, done: "queue.SimpleQueue[_Run]") -> _Run:
    run = _Run(look)
    threading.Thread(target=_work, args=(run, done), daemon=True, name=f"look-{look.group}").start()
    return run


def _work(run: _Run, done: "queue.SimpleQueue[_Run]") -> None:
    found = run.findings  # once its time is over, the run has a list of its own
    try:
        for finding in run.look.run():
            found.append(finding)
    except ArchiveError as error:
        found.append(fails(run.look.subject, error.reason, error.suggested_remedy))
    except Exception as error:  # one look that breaks must not take the others with it
        logger.exception("looking at %s failed", run.look.group)
        reason = f"looking at it failed: {type(error).__name__}: {error}"
        found.append(fails(run.look.subject, reason, "Report this with the output of the command."))
    done.put(run)


def _wait_for_one(runs: Sequence[_Run], done: "queue.SimpleQueue[_Run]") -> None:
    """Until a look is over, or the time of one is."""
    going = [run for run in runs if not run.is_over]
    if not going:
        return
    try:
        done.get(timeout=max(0.0, min(run.ends_at for run in going) - time.monotonic())).is_over = True
    except queue.Empty:
        for run in going:
            if run.ends_at <= time.monotonic():
                run.findings = [*run.findings, _hanging(run)]
                run.is_over = True


def _hanging(run: _Run) -> Finding:
    behind = f" after '{run.findings[-1].subject}'" if run.findings else ""
    return fails(
        run.look.subject,
        f"no answer within {run.look.seconds:g} s{behind}: it hangs",
        "Look after what it waits for: a dead mount, or a machine that takes connections and does not answer.",
    )
