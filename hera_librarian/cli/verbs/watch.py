"""Hand over whatever appears in a folder, exactly once, for as long as it takes. For instruments.

The spool is a directory of the watcher's own on a local disk; with it the command may be killed anywhere, and goes on
where it was. Nothing is ever removed from the folder. SIGTERM and Ctrl-C end it in order.
"""

from argparse import ArgumentParser, Namespace
from collections import Counter
from typing import TYPE_CHECKING, Any

from hera_librarian.cli.arguments import add_delivery, add_json, seconds
from hera_librarian.cli.failures import CommandFailure, ExitCode, tell, wrong_usage
from hera_librarian.cli.output import note, record, say, size_text, visible
from hera_librarian.deletion import DeletionPolicy

if TYPE_CHECKING:
    from hera_librarian.admin import AdminClient
    from hera_librarian.uploading import UploadResult

UNDELIVERED = ("seen", "settled", "sending", "failed", "conflict")


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian watch`."""
    parser.add_argument("directory", metavar="DIRECTORY", help="watched with everything below it")
    parser.add_argument("connection", metavar="CONNECTION", help="name of a connection of the client configuration")
    parser.add_argument("--spool", required=True, metavar="DIR", help="the watcher's own directory, on a local disk")
    parser.add_argument("--once", action="store_true", help="hand over what is there now, and end")
    parser.add_argument("--status", action="store_true", help="say how the watcher of this spool is doing, and end")
    parser.add_argument("--settle", type=seconds, default=60.0, metavar="SECONDS", help="unchanged so long (60)")
    parser.add_argument("--interval", type=seconds, default=5.0, metavar="SECONDS", help="between looks (5)")
    parser.add_argument("--pattern", default="*", help="shell pattern of names, as '*.uvh5'")
    parser.add_argument("--product", action="append", metavar="GLOB", help="directories that are one product each")
    parser.add_argument("--uploader", metavar="NAME", help="who hands them over (default: the account)")
    add_delivery(parser)
    add_json(parser, stream=True)


def run(arguments: Namespace) -> int:
    """Watch until stopped, or once; or tell the status."""
    if arguments.status:
        return _tell_status(arguments)
    from hera_librarian.uploading import DIRECTORY_PRODUCTS, Pace
    from hera_librarian.watching import Watcher

    _client(arguments.connection).close()  # a connection that can never work is said now
    outcomes: Counter[bool] = Counter()

    def told(result: "UploadResult") -> None:
        outcomes[result.ok] += 1
        _tell(result, as_json=arguments.json)

    watcher = Watcher(
        arguments.directory,
        lambda: _client(arguments.connection),
        arguments.spool,
        settle_seconds=arguments.settle,
        interval_seconds=arguments.interval,
        pattern=arguments.pattern,
        directory_products=arguments.product or DIRECTORY_PRODUCTS,
        deletion_policy=DeletionPolicy.from_str(arguments.deletion),
        null_obsid=arguments.null_obsid,
        obsid=arguments.obsid,
        uploader=arguments.uploader,
        way=arguments.way,
        pace=Pace(arguments.bandwidth) if arguments.bandwidth else None,
        tell=told,
    )
    status = watcher.run(once=arguments.once)
    return _judge_once(status["products"], outcomes) if arguments.once else ExitCode.OK


def _judge_once(products: dict[str, int], told: Counter[bool]) -> ExitCode:
    """Exit code by what lies there undelivered, also what an earlier run has told of and this one did not try again."""
    left = sum(products[state] for state in UNDELIVERED)
    if not left and not told[False]:
        return ExitCode.OK
    if not told[False]:
        note(f"{left} {'product is' if left == 1 else 'products are'} not delivered; --status tells why")
    return ExitCode.PARTLY if told[True] or products["delivered"] else ExitCode.FAILED


def _client(connection_name: str) -> "AdminClient":
    """A client by what the configuration says now: a token may have been renewed since."""
    from hera_librarian.admin import AdminClient
    from hera_librarian.config import load_settings

    info = load_settings(warn=False).connection(connection_name)
    if info.lacks_password:
        raise wrong_usage(
            f"Connection {connection_name} has no password, and nobody sits at an instrument.",
            "Add a token, password_file or password_env to the connection.",
        )
    return AdminClient.from_info(info)


def _tell(result: "UploadResult", *, as_json: bool) -> None:
    if as_json:
        record(result.as_dict() | {"ok": result.ok})
    if not result.ok:
        start = "" if result.path in result.reason else f"{result.path}: "
        tell(CommandFailure(f"{start}{result.reason}", result.remedy))
    elif not as_json:
        say(f"{result.outcome}: {visible(result.path)} -> {visible(result.name)} ({size_text(result.size_bytes)})")


def _tell_status(arguments: Namespace) -> int:
    from hera_librarian.watching import read_status

    status = read_status(arguments.spool)
    if arguments.json:
        record(status)
        return ExitCode.OK
    counts = ", ".join(f"{number} {state}" for state, number in status["products"].items() if number)
    say(f"{'running' if status['is_running'] else 'not running'}; {counts or 'nothing seen'}")
    say(f"{size_text(status['waiting_bytes'])} waiting")
    if status["trouble"]:
        say(f"trouble: {visible(status['trouble']['reason'])}")
    for problem in [*status["failed"], *status["conflicts"]]:
        say(_problem(problem))
    return ExitCode.OK


def _problem(problem: dict[str, Any]) -> str:
    return f"    {visible(problem['path'])}: {visible(problem['reason'])}"
