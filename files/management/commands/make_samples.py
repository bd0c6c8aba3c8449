"""`manage.py make_samples DIRECTORY`: write sample files in the real formats, to try a site or to measure it."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from files.samples.array import SampleFile, Setup
from files.samples.night import DEFAULT_FILE_COUNT, DEFAULT_START_JD, stream_night
from files.samples.small import stream_small_files

DEFAULT_SMALL_SIZE_BYTES = 4096


class Command(BaseCommand):
    help = (
        "Writes a night of HERA-like files (UVH5, FITS, MIRIAD, logs) below DIRECTORY/<integer JD>/. With --small-files"
        " it writes that many small NPZ files, and a night too only if --files is given. Nothing is ever overwritten."
    )
    requires_system_checks: list[str] = []  # needs neither database nor stores

    def add_arguments(self, parser: ArgumentParser) -> None:
        size = Setup()
        parser.add_argument("directory", type=Path, help="where to write; created when missing")
        parser.add_argument("--files", type=int, metavar="N", help=f"files of the night ({DEFAULT_FILE_COUNT})")
        for option, default, meaning in (
            ("antennas", size.antenna_count, "antennas"),
            ("channels", size.channel_count, "frequency channels"),
            ("integrations", size.integration_count, "integrations per file"),
            ("pixels", size.image_pixels, "width and height of an image"),
        ):
            parser.add_argument(f"--{option}", type=int, metavar="N", default=default, help=f"{meaning} ({default})")
        parser.add_argument(
            "--start-jd", type=float, metavar="JD", default=DEFAULT_START_JD, help="JD (UTC) at which the night begins"
        )
        parser.add_argument("--seed", type=int, metavar="N", default=0, help="same seed, same bytes (0)")
        parser.add_argument("--small-files", type=int, metavar="N", help="write N small NPZ files")
        parser.add_argument(
            "--size", type=int, metavar="BYTES", default=DEFAULT_SMALL_SIZE_BYTES, help="size of each small file (4096)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.verbosity = options["verbosity"]
        wants_small = options["small_files"] is not None
        try:
            if options["files"] is not None or not wants_small:
                self._write_night(options)
            if wants_small:
                self._write_small_files(options)
        except FileExistsError as error:
            raise CommandError(
                f"{error.filename} is there and was left alone. Choose an empty directory or another --start-jd."
            ) from error
        except (ValueError, OSError) as error:
            raise CommandError(f"The sample files could not be written: {error}.") from error

    def _write_night(self, options: dict[str, Any]) -> None:
        file_count = DEFAULT_FILE_COUNT if options["files"] is None else options["files"]
        setup = Setup(
            antenna_count=options["antennas"],
            channel_count=options["channels"],
            integration_count=options["integrations"],
            image_pixels=options["pixels"],
        )
        files = stream_night(
            options["directory"],
            start_jd=options["start_jd"],
            file_count=file_count,
            setup=setup,
            seed=options["seed"],
        )
        self._report_night(files, options["directory"])

    def _report_night(self, files: Iterator[SampleFile], directory: Path) -> None:
        counts: Counter[str] = Counter()
        sizes_bytes: Counter[str] = Counter()
        for file in files:
            counts[file.kind] += 1
            sizes_bytes[file.kind] += file.size_bytes
            if self.verbosity > 1:
                self.stdout.write(str(file.path))
        for kind, count in counts.items():
            self.stdout.write(f"{kind:>6}: {count:,} files, {sizes_bytes[kind]:,} bytes")
        self.stdout.write(f"Wrote {counts.total():,} files of {sizes_bytes.total():,} bytes below {directory}.")

    def _write_small_files(self, options: dict[str, Any]) -> None:
        directory, size_bytes = options["directory"], options["size"]
        count = 0
        for path in stream_small_files(directory, options["small_files"], size_bytes, seed=options["seed"]):
            count += 1
            if self.verbosity > 1:
                self.stdout.write(str(path))
        self.stdout.write(f"Wrote {count:,} small files of {size_bytes:,} bytes each below {directory}.")
