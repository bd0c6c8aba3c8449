"""Lines for the commit record on their way to the far host."""

from collections.abc import Iterable
from itertools import islice

from stores.backends.base import Member, RecordLine
from stores.backends.ssh import frames
from stores.backends.ssh.exchange import Exchange

_MEMBERS_PER_FRAME = 500


def send_lines(exchange: Exchange, lines: Iterable[tuple[RecordLine, Iterable[Member]]]) -> None:
    """Send products, each as an object with the rows of its members behind it."""
    for line, members in lines:
        exchange.send_facts(frames.ROWS, {"place": line.place, "facts": line.facts})
        remaining = iter(members)
        while part := list(islice(remaining, _MEMBERS_PER_FRAME)):
            exchange.send_facts(frames.ROWS, [frames.member_row(member) for member in part])
    exchange.send(frames.END)
