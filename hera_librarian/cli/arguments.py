"""Options and kinds of values that several verbs share."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from datetime import UTC, datetime

from hera_librarian.cli.failures import wrong_usage
from hera_librarian.times import from_jd, parse_utc

_FORMS = ("%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y", "%Y-%m")
_JULIAN = re.compile(r"2[0-9]{6}(\.[0-9]+)?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kKMGTP]?)(i?)B?(?:/s)?")
_POWERS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def add_connection(parser: ArgumentParser) -> None:
    """The name of a connection of the client configuration, first on the line."""
    parser.add_argument("connection", metavar="CONNECTION", help="name of a connection of the client configuration")


def add_json(parser: ArgumentParser, *, stream: bool = False) -> None:
    """`--json`; the parser remembers which of the two forms it stands for."""
    what = "one JSON object a line" if stream else "one JSON document"
    parser.add_argument("--json", action="store_true", help=f"write {what} instead of text")
    parser.set_defaults(json_form="stream" if stream else "document")


def add_on_off(parser: ArgumentParser) -> None:
    """`--enabled` or `--disabled`, exactly one: leaving both out must not switch anything off."""
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--enabled", dest="enabled", action="store_true", default=None, help="switch it on")
    choice.add_argument("--disabled", dest="enabled", action="store_false", default=None, help="switch it off")


def add_delivery(parser: ArgumentParser) -> None:
    """Wishes that hold for everything that is handed over, and how fast it goes which way."""
    observation = parser.add_mutually_exclusive_group()
    observation.add_argument("--null-obsid", action="store_true", help="logs, backups: they belong to no observation")
    observation.add_argument("--obsid", type=int, metavar="N", help="their observation, in GPS seconds")
    parser.add_argument(
        "--deletion", choices=["disallowed", "allowed"], default="disallowed", help="may this copy ever be erased"
    )
    parser.add_argument(
        "--way", choices=["auto", "disk", "http"], default="auto", help="shared disk where there is one, else HTTP"
    )
    parser.add_argument("--bandwidth", type=rate, metavar="RATE", help="at most so many bytes a second, as 20MB")


def moment(text: str) -> datetime:
    """A time in UTC: ISO 8601, a date in a few more forms, or a Julian Date. Without an offset it means UTC."""
    text = " ".join(text.replace(",", " ").split())
    if _JULIAN.fullmatch(text):
        return from_jd(float(text))
    for read in [parse_utc, *(_reader(form) for form in _FORMS)]:
        try:
            return read(text)
        except (ValueError, OverflowError):
            continue
    raise ArgumentTypeError(f"{text!r} is not a time; write '2026-11-21 04:00', a date, or a Julian Date")


def size(text: str) -> int:
    """A number of bytes: `20MB` counts in thousands, `20MiB` in 1024s."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ArgumentTypeError(f"{text!r} is not a size; write bytes, '20MB' or '20MiB'")
    number, prefix, binary = found.groups()
    return round(float(number) * (1024 if binary else 1000) ** _POWERS[prefix.replace("K", "k")])


def rate(text: str) -> int:
    """Bytes per second; nothing would ever arrive at 0."""
    value = size(text)
    if value < 1:
        raise ArgumentTypeError("a bandwidth must be more than 0")
    return value


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seconds(text: str) -> float:
    """A time span from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def level(text: str) -> str:
    """Name of an auth level, in any case."""
    from hera_librarian.authlevel import AuthLevel

    if text.upper() not in AuthLevel.__members__:
        raise ArgumentTypeError(f"{text!r} is not one of {', '.join(AuthLevel.__members__)}")
    return text.upper()


def _reader(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form).replace(tzinfo=UTC)


# --- Windows of time --------------------------------------------------------------------------------------------------


def add_window(parser: ArgumentParser, what: str) -> None:
    """`--create-time-start` and `--create-time-end`; both ends belong to the window."""
    form = "ISO 8601, a date or a Julian Date; UTC"
    parser.add_argument("--create-time-start", type=moment, metavar="TIME", help=f"{what} at or after this ({form})")
    parser.add_argument("--create-time-end", type=moment, metavar="TIME", help=f"{what} at or before this")


def window(arguments: Namespace) -> tuple[datetime, datetime] | None:
    """The window of time that was asked for, its open end far away; None without either end."""
    start, end = arguments.create_time_start, arguments.create_time_end
    if start is None and end is None:
        return None
    if start is not None and end is not None and end < start:
        raise wrong_usage(
            "The window of time ends before it starts.", "Swap --create-time-start and --create-time-end."
        )
    return start or datetime.min.replace(tzinfo=UTC), end or datetime.max.replace(tzinfo=UTC)
