"""`manage.py standing_order`: what is to be sent where, for as long as it stands."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from librarian.common.errors import ArchiveError
from network.models import OrderWay, StandingOrder
from network.services.sending.orders import OrderExists, add_order, remove_order, set_order_enabled
from stores.models import Store

EXIT_REFUSED = 1
EXIT_EXISTS = 3


class Command(BaseCommand):
    help = (
        "Add, list, remove or switch standing orders: what matches the search goes to the peer, or to stores of ours, "
        "by itself. "
        "Exit code 0: done; 1: refused, nothing was changed; 3: there is an order of this name."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        add = actions.add_parser("add", help="send what matches a search to a peer, or to stores, from now on")
        add.add_argument("name", help="for people; at most 64 characters")
        add.add_argument("--peer", metavar="NAME", help="the Librarian that it is for")
        add.add_argument(
            "--to-store", action="append", metavar="STORE", help="filled in this order; with --peer: disks that travel"
        )
        add.add_argument(
            "--switch-off-full-stores", action="store_true", help="switch a store off that has no room for the next"
        )
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
            way=_way(options),
            peer_name=options["peer"] or "",
            targets=_stores(options["to_store"] or []),
            switch_off_full_stores=options["switch_off_full_stores"],
            priority=options["priority"],
            enabled=not options["disabled"],
        )
        self.stdout.write(f"Added order {order.name}: {order.search} goes {_where(order, _store_names())}.")

    def _list(self, options: dict[str, Any]) -> None:
        names = _store_names()
        for order in StandingOrder.objects.order_by("name"):
            if options["json"]:
                self.stdout.write(json.dumps(_as_data(order, names)))
                continue
            state, where = "on" if order.enabled else "off", _where(order, names)
            self.stdout.write(f"{order.name}\t{state}\t{where}\tpriority {order.priority}\t{order.search}")
            if order.problem:
                self.stdout.write(f"  {order.problem}")

    def _remove(self, options: dict[str, Any]) -> None:
        order = self._order(options["name"])
        remove_order(order=order, actor=None)
        self.stdout.write(f"Removed order {order.name}. {_what_stays(order)}")

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


def _way(options: dict[str, Any]) -> OrderWay:
    """The way that the options say. CommandError when they say none."""
    if not options["to_store"]:
        if not options["peer"]:
            raise CommandError("Give --peer, --to-store, or both to carry it.", returncode=EXIT_REFUSED)
        return OrderWay.PUSH
    return OrderWay.CARRY if options["peer"] else OrderWay.COPY


def _stores(names: list[str]) -> list[int]:
    """Ids of stores, in the order of their names. CommandError for a name that none has."""
    known = dict(Store.objects.filter(name__in=names).values_list("name", "pk"))
    if missing := [name for name in names if name not in known]:
        raise CommandError(f"There is no store called {missing[0]}.", returncode=EXIT_REFUSED)
    return [known[name] for name in names]


def _store_names() -> dict[int, str]:
    return dict(Store.objects.values_list("pk", "name"))


def _where(order: StandingOrder, names: dict[int, str]) -> str:
    stores = ", then ".join(names.get(key, f"store {key}") for key in order.targets)
    if order.way == OrderWay.PUSH:
        return f"to {order.peer_name}"
    return f"to stores {stores}" if order.way == OrderWay.COPY else f"to {order.peer_name} on {stores}"


def _what_stays(order: StandingOrder) -> str:
    if order.way == OrderWay.PUSH:
        return "What it has chosen is sent all the same."
    return "Copies that waited are given up; those that were made stay."


def _as_data(order: StandingOrder, names: dict[int, str]) -> dict[str, Any]:
    return {
        "name": order.name,
        "enabled": order.enabled,
        "way": order.way,
        "peer": order.peer_name,
        "stores": [names.get(key, f"store {key}") for key in order.targets],
        "switch_off_full_stores": order.switch_off_full_stores,
        "priority": order.priority,
        "search": order.search,
        "last_run_at": order.last_run_at.isoformat() if order.last_run_at else None,
        "problem": order.problem,
    }
