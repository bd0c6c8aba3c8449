"""`python -m benchmarks [NAME…]`: run the figures on this machine, on SQLite and with real processes.

Names: wire, http, network, stores, ingest, large, search. `--scale 0.1` makes everything ten times smaller. Nothing
here asserts: a figure is for reading, next to what it is compared with.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks import http, ingest, large, network, search, stores, wire

BENCHMARKS = {
    "wire": wire.measure,
    "http": http.measure,
    "network": network.measure,
    "stores": stores.measure,
    "ingest": ingest.measure,
    "large": large.measure,
    "search": search.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which (default: all)")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, help="on which disk to work: a fresh directory is made there")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="librarian-bench-", dir=options.folder))
    os.environ["LIBRARIAN_TEST_ROOT"] = str(folder)  # where the rig keeps its template
    try:
        for name in options.names or BENCHMARKS:
            began = time.monotonic()
            BENCHMARKS[name](folder / name, scale=options.scale)
            print(f"\n({name} took {time.monotonic() - began:.0f} s)", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
