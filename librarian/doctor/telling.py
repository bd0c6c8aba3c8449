"""What was found, in lines for people or as JSON."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from librarian.common.findings import DOUBTFUL, FAILS, WORKS, Finding

Findings = Mapping[str, Sequence[Finding]]


def gather(found: Iterable[tuple[str, Sequence[Finding]]]) -> dict[str, list[Finding]]:
    """Findings by group, in the order in which the groups were first met."""
    groups: dict[str, list[Finding]] = {}
    for group, findings in found:
        groups.setdefault(group, []).extend(findings)
    return groups


def counts(groups: Findings) -> Counter[str]:
    """How many of each verdict."""
    return Counter(finding.verdict for findings in groups.values() for finding in findings)


def lines(groups: Findings) -> list[str]:
    """One line a finding, below the name of its group."""
    said = []
    for group, findings in groups.items():
        said += [group, *(f"  {finding}" for finding in findings)]
    return [*said, summary(groups)]


def summary(groups: Findings) -> str:
    """The last line."""
    number = counts(groups)
    found = f"{number[FAILS]} FAILS, {number[DOUBTFUL]} doubtful, {number[WORKS]} works."
    return found if number[FAILS] else f"Nothing fails: {found}"


def as_plain_data(groups: Findings) -> dict[str, Any]:
    """The same for programs."""
    number = counts(groups)
    return {
        "healthy": not number[FAILS],
        "counts": {verdict.lower(): number[verdict] for verdict in (WORKS, DOUBTFUL, FAILS)},
        "findings": [
            {
                "group": group,
                "verdict": finding.verdict.lower(),
                "subject": finding.subject,
                "reason": finding.reason,
                "remedy": finding.remedy,
            }
            for group, findings in groups.items()
            for finding in findings
        ],
    }
