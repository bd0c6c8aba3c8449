"""`manage.py watch_folder PATH`: have a folder on this machine taken in as its files become quiet."""

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from files.models import WatchFolder
from librarian.common.audit import record_act
from stores.models import Store


class Command(BaseCommand):
    help = "Add, change, switch off or list the folders that a job watches for products that stopped growing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", nargs="?", help="absolute path; leave out with --list")
        parser.add_argument("--list", action="store_true")
        parser.add_argument("--store", help="name of the store (default: the first that fits)")
        parser.add_argument("--host", default="", help="the host that sees the folder (default: any)")
        parser.add_argument("--pattern", default="*")
        parser.add_argument("--quiet-seconds", type=int, default=60, help="unchanged for so long, seconds")
        parser.add_argument("--uploader", default="watch")
        parser.add_argument("--null-obsid", action="store_true")
        parser.add_argument("--move-delivered", action="store_true", help="move what is delivered to .delivered")
        parser.add_argument("--off", action="store_true", help="stop watching it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            for folder in WatchFolder.objects.select_related("store"):
                state = "on" if folder.enabled else "off"
                self.stdout.write(f"{folder.path} {folder.pattern} {state} {folder.note}".rstrip())
            return
        path = options["path"] or ""
        if not os.path.isabs(path) or not (options["off"] or os.path.isdir(path)):
            raise CommandError(f"{path!r} is no absolute path of a directory on this machine.", returncode=2)
        path = os.path.normpath(path)
        if options["off"]:
            self._switch_off(path)
            return
        if options["quiet_seconds"] < 1:
            raise CommandError("--quiet-seconds takes a number of seconds from 1.", returncode=2)
        store = None
        if options["store"]:
            store = Store.objects.filter(name=options["store"]).first()
            if store is None:
                raise CommandError(f"There is no store {options['store']}.", returncode=2)
        fields = {
            "host": options["host"],
            "store": store,
            "pattern": options["pattern"],
            "quiet_seconds": options["quiet_seconds"],
            "uploader": options["uploader"],
            "null_obsid": options["null_obsid"],
            "remove_after": options["move_delivered"],
            "enabled": True,
        }
        with transaction.atomic():
            folder, made = WatchFolder.objects.update_or_create(path=path, defaults=fields)
            record_act(actor=None, action="save_watch_folder", subject=folder.path, facts={"enabled": True})
        self.stdout.write(f"{'Added' if made else 'Changed'} {folder.path}; the job scan_watch_folders looks into it.")

    def _switch_off(self, path: str) -> None:
        """Its pattern, store and other options stay for when it is watched again in the staff admin."""
        with transaction.atomic():
            if not WatchFolder.objects.filter(path=path).update(enabled=False):
                raise CommandError(f"{path} is not watched; --list shows every watch folder.", returncode=2)
            record_act(actor=None, action="save_watch_folder", subject=path, facts={"enabled": False})
        self.stdout.write(f"{path} is not watched any more.")
