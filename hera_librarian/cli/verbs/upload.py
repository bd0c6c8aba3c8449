"""Hand files or directories over to the archive.

librarian upload CONNECTION PATH NAME               one file, or one directory as one product
librarian upload CONNECTION PATH... DIRECTORY       several, or a pattern in quotes; each keeps its own name

Repeating the command is harmless: what was cut goes on where it stopped, what is archived already is "already here".
"""

from argparse import SUPPRESS, ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hera_librarian.cli.arguments import add_connection, add_delivery, add_json
from hera_librarian.cli.connecting import client_for
from hera_librarian.cli.failures import CommandFailure, ExitCode, wrong_usage
from hera_librarian.cli.output import note, record, say, size_text, visible
from hera_librarian.cli.products import plan_uploads, total_size_bytes
from hera_librarian.cli.progress import Bar
from hera_librarian.deletion import DeletionPolicy

if TYPE_CHECKING:
    from hera_librarian.uploading import UploadResult

IGNORED = ("pre_staged", "use_globus", "client_id", "transfer_token", "source_endpoint_id")


def add_arguments(parser: ArgumentParser) -> None:
    """Words of `librarian upload`."""
    add_connection(parser)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files, directories, patterns; last the destination")
    parser.add_argument("--meta", default="infer", choices=["infer", "json-stdin"], help="infer; the only way left")
    add_delivery(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar, and lines for failures only")
    add_json(parser, stream=True)
    parser.add_argument("--use_globus", action="store_true", help=SUPPRESS)
    for option in ("pre-staged", "client_id", "transfer_token", "source_endpoint_id"):
        parser.add_argument(f"--{option}", help=SUPPRESS)


def run(arguments: Namespace) -> int:
    """Send everything, telling of each product as it is done."""
    _refuse_json_stdin(arguments)
    if len(arguments.paths) < 2:
        raise wrong_usage("There is no destination.", "usage: librarian upload CONNECTION PATH... DESTINATION")
    for option in IGNORED:
        if getattr(arguments, option):
            note(f"--{option.replace('pre_staged', 'pre-staged')} means nothing here and is ignored")
    *paths, destination = arguments.paths
    plan = plan_uploads(paths, destination)
    outcomes: Counter[str] = Counter()
    size_bytes = 0
    with Bar(wanted=not (arguments.quiet or arguments.json)) as bar:
        if bar.is_shown:
            bar.expect(total_size_bytes([path for path, _ in plan]))
        for result in _send(arguments, plan, bar):
            outcomes[result.outcome if result.ok else "failed"] += 1
            size_bytes += result.size_bytes if result.ok else 0
            _tell(result, arguments, bar)
    if len(plan) > 1 and not (arguments.quiet or arguments.json):
        said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
        say(f"{said}; {size_text(size_bytes)}")
    if not outcomes["failed"]:
        return ExitCode.OK
    return ExitCode.FAILED if outcomes["failed"] == outcomes.total() else ExitCode.PARTLY


def _refuse_json_stdin(arguments: Namespace) -> None:
    if arguments.meta == "json-stdin":
        raise CommandFailure(
            "Records on standard input (--meta json-stdin) are no longer read.",
            "Leave --meta out: the server reads what it needs from the file. Give --obsid N where it cannot.",
            code="removed",
        )


def _send(arguments: Namespace, plan: list[tuple[Path, str]], bar: Bar) -> Iterator["UploadResult"]:
    from hera_librarian.uploading import Memory, Pace, Patience, upload_many

    def tell(text: str) -> None:
        bar.say(f"note: {visible(text)}", to_stderr=True)

    return upload_many(
        client_for(arguments.connection),
        plan,
        deletion_policy=DeletionPolicy.from_str(arguments.deletion),
        null_obsid=arguments.null_obsid,
        obsid=arguments.obsid,
        way=arguments.way,
        progress=bar.advance,
        pace=Pace(arguments.bandwidth) if arguments.bandwidth else None,
        memory=Memory(),
        new_patience=lambda: Patience(tell=None if arguments.quiet else tell),
    )


def _tell(result: "UploadResult", arguments: Namespace, bar: Bar) -> None:
    if arguments.json:
        record(result.as_dict() | {"ok": result.ok})
    if not result.ok:
        bar.complain(str(result.path), result.reason, result.remedy)
    elif not (arguments.json or arguments.quiet):
        arrow = f"{visible(result.path)} -> {visible(result.name)}"
        bar.say(f"{result.outcome}: {arrow} ({size_text(result.size_bytes)})")
