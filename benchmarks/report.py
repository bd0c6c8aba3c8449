"""How a figure is told: what was measured, against what, and the target it has."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `ratio_to` says against what `ratio` is; `target` is the sentence of design section 16."""

    name: str
    value: float
    unit: str
    ratio: float | None = None
    ratio_to: str = ""
    target: str = ""
    met: bool | None = None
    notes: list[str] = field(default_factory=list)


def print_table(title: str, figures: Iterable[Figure]) -> None:
    """Print figures as a Markdown table, so that it can go into docs as it is."""
    print(f"\n## {title}\n")
    print("| figure | value | ratio | target | |")
    print("| --- | ---: | --- | --- | --- |")
    for figure in figures:
        ratio = f"{figure.ratio:.2f} x {figure.ratio_to}" if figure.ratio is not None else ""
        met = {True: "met", False: "missed", None: ""}[figure.met]
        print(f"| {figure.name} | {figure.value:,.2f} {figure.unit} | {ratio} | {figure.target} | {met} |")
        for note in figure.notes:
            print(f"| | | {note} | | |")
