"""`manage.py pair invite` and `manage.py pair accept CODE`: make two sites known to each other."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from network.services.peering.connections import address_notes
from network.services.peering.pairing import Direction, Paired, Ping, accept, invite
from network.services.peering.pairing_code import own_address

EXIT_REFUSED = 1
EXIT_ONE_WAY = 3
DIRECTIONS = [each.value for each in Direction]


class Command(BaseCommand):
    help = (
        "Pair this site with another one. One side runs `pair invite` and hands the code that it prints to the people "
        "of the other, who run `pair accept CODE`: then each site has an account at the other, knows it as a peer, and "
        "has called it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, parser_class=type(parser))
        inviting = acts.add_parser(
            "invite",
            help="make a code that another site accepts",
            description="Print a code that lets one other site pair itself with this one. It counts once and is "
            "kept nowhere; whoever has it can become a peer, so send it as you would a password.",
        )
        inviting.add_argument(
            "--direction",
            choices=DIRECTIONS,
            default=Direction.BOTH.value,
            help="send: this site sends files to the other; receive: it gets files from there; both (default)",
        )
        inviting.add_argument(
            "--valid-minutes", type=int, default=60, metavar="N", help="how long the code can be used (default 60)"
        )
        inviting.add_argument(
            "--site",
            default="",
            metavar="NAME",
            help="the only site that may accept; needed for one that is known here, whose credentials then change",
        )
        accepting = acts.add_parser(
            "accept",
            help="accept the code of another site",
            description="Pair this site with the one that made the code. Exit code 0: each side reaches the other; 3: "
            "both know each other, and one of them cannot reach the other; 1: nothing was changed. Running it again "
            "with the same code is safe.",
        )
        accepting.add_argument("code", help="as the other site printed it; - reads it from standard input")
        accepting.add_argument(
            "--direction",
            choices=DIRECTIONS,
            default="",
            help="send: this site sends files to the other; receive: it gets files from there; both. Without it, "
            "what the code says",
        )
        accepting.add_argument(
            "--replace",
            action="store_true",
            help="the site is known here already: give it the address in the code and fresh credentials",
        )
        for each in (inviting, accepting):
            each.add_argument(
                "--url",
                default="",
                help="where the other site reaches this one, with the port, such as https://librarian.example.org:8443 "
                "or the near end of a tunnel (default LIBRARIAN_PUBLIC_URL)",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._invite(options) if options["act"] == "invite" else self._accept(options)
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem

    def _invite(self, options: dict[str, Any]) -> None:
        code = invite(
            actor=None,
            direction=options["direction"],
            url=options["url"],
            valid_minutes=options["valid_minutes"],
            site_name=options["site"],
        )
        self.stdout.write(code)
        self.stderr.write(
            f"Valid for {options['valid_minutes']} minutes, once. At the other site: manage.py pair accept CODE"
        )
        for note in address_notes(own_address(options["url"])[0]):
            self.stderr.write(f"Note: {note}")

    def _accept(self, options: dict[str, Any]) -> None:
        code = sys.stdin.readline() if options["code"] == "-" else options["code"]
        paired = accept(
            actor=None,
            code=code,
            url=options["url"],
            direction=options["direction"],
            replace=options["replace"],
        )
        self.stdout.write(f"Paired with {paired.peer.name} ({paired.peer.root}).")
        self.stdout.write(in_words("This site calls the other one", paired.there))
        self.stdout.write(in_words("The other one calls this site", paired.back))
        for note in [*paired.notes, *paired.there.notes, *paired.back.notes]:
            self.stderr.write(f"Note: {note}")
        self._end(paired)

    def _end(self, paired: Paired) -> None:
        if not paired.is_working:
            raise CommandError(
                "Both sites know each other; mend what is named above, then test the connection.",
                returncode=EXIT_ONE_WAY,
            )


def in_words(who: str, ping: Ping) -> str:
    """One line about one direction."""
    if ping.problem is not None:
        return f"{who}: failed. {ping.problem.reason} {ping.problem.suggested_remedy}"
    took = "" if ping.latency_seconds is None else f", answered within {1000 * ping.latency_seconds:.0f} ms"
    return f"{who}: it works{took}."
