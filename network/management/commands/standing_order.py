"""`manage.py standing_order`: what is to be sent where, for as long as it stands."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from network.models import StandingOrder
from network.services.sending.orders import OrderExists, add_order, remove_order, set_order_enabled

EXIT_REFUSED = 1
EXIT_EXISTS = 3


class Command(BaseCommand):
    help = (
        "Add, list, remove or switch standing orders: what matches the search goes to the peer by itself. "
        "Exit code 0: done; 1: refused, nothing was changed; 3: there is an order of this name."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="send what matches a search to a peer from now on")
        add.add_argument("name", help="for people; at most 64 characters")
        add.add_argument("--peer", required=True, metavar="NAME", help="the Librarian that it is sent to")
        add.add_argument("--search", metavar="JSON", help="in the JSON search language (default: every file)")
        add.add_argument("--name-matches", metavar="PATTERN", help="%% stands for any characters, _ for one")
        add.add_argument("--not-older-than", type=float, metavar="DAYS", help="registered here in the last N days")
        add.add_argument("--priority", type=int, default=0, metavar="N", help="higher numbers go first (default 0)")
        add.add_argument("--disabled", action="store_true", help="switched off for now")
        actions.add_parser("list", help="show every order").add_argument(
            "--json", action="store_true", help="one JSON object a line"
        )
        for action, does in (("remove", "forget an order"), ("enable", "switch it on"), ("disable", "switch it off")):
            actions.add_parser(action, help=does).add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except OrderExists as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_EXISTS) from problem
        except ArchiveError as problem:
            raise CommandError(f"{problem.reason} {problem.suggested_remedy}", returncode=EXIT_REFUSED) from problem

    def _add(self, options: dict[str, Any]) -> None:
        order = add_order(
            actor=None,
            name=options["name"],
            search=_search(options),
            peer_name=options["peer"],
            priority=options["priority"],
            enabled=not options["disabled"],
        )
        self.stdout.write(f"Added order {order.name}: {order.search} goes to {order.peer_name}.")

    def _list(self, options: dict[str, Any]) -> None:
        for order in StandingOrder.objects.select_related("store").order_by("name"):
            if options["json"]:
                self.stdout.write(json.dumps(_as_data(order)))
                continue
            state = "on" if order.enabled else "off"
            to = order.peer_name or f"store {order.store}"
            self.stdout.write(f"{order.name}\t{state}\tto {to}\tpriority {order.priority}\t{order.search}")
            if order.problem:
                self.stdout.write(f"  {order.problem}")

    def _remove(self, options: dict[str, Any]) -> None:
        order = self._order(options["name"])
        remove_order(order=order, actor=None)
        self.stdout.write(f"Removed order {order.name}. What it has chosen is sent all the same.")

    def _enable(self, options: dict[str, Any]) -> None:
        self._switch(options["name"], enabled=True)

    def _disable(self, options: dict[str, Any]) -> None:
        self._switch(options["name"], enabled=False)

    def _switch(self, name: str, *, enabled: bool) -> None:
        changed = set_order_enabled(order=self._order(name), enabled=enabled, actor=None)
        word = "on" if enabled else "off"
        self.stdout.write(f"Order {name} is switched {word}." if changed else f"Order {name} was {word} already.")

    def _order(self, name: str) -> StandingOrder:
        try:
            return StandingOrder.objects.get(name=name)
        except StandingOrder.DoesNotExist:
            raise CommandError(
                f"There is no order called {name}. `manage.py standing_order list` shows every one.",
                returncode=EXIT_REFUSED,
            ) from None


def _search(options: dict[str, Any]) -> str:
    """The search that the options say. CommandError when they say two."""
    clauses = {"name-matches": options["name_matches"], "not-older-than": options["not_older_than"]}
    clauses = {name: value for name, value in clauses.items() if value is not None}
    if options["search"] is None:
        return json.dumps(clauses or {"name-matches": "%"})
    if clauses:
        raise CommandError("Give --search, or --name-matches and --not-older-than.", returncode=EXIT_REFUSED)
    return options["search"]


def _as_data(order: StandingOrder) -> dict[str, Any]:
    return {
        "name": order.name,
        "enabled": order.enabled,
        "peer": order.peer_name,
        "store": order.store.name if order.store else "",
        "priority": order.priority,
        "search": order.search,
        "last_run_at": order.last_run_at.isoformat() if order.last_run_at else None,
        "problem": order.problem,
    }
