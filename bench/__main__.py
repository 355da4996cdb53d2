"""Runs every benchmark, or those named: `python -m bench intake diagnosis cli correlation`."""

import argparse
import json
import sys
from importlib import import_module

from bench.servers import Missing

BENCHES = ("cli", "core", "correlation", "intake", "storm", "memory", "diagnosis", "durable")
EVIDENCE = ("metric-findings", "ranking", "bundles")
ONLY_BY_NAME = ("crash", "log-mining")
"""What takes hours: left out unless it is named."""


def main() -> int:
    """Run the chosen benchmarks; exits 1 if one could not run."""
    known = (*BENCHES, *EVIDENCE, *ONLY_BY_NAME)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(known)}")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"no benchmark {sorted(unknown)[0]!r}; there are: {', '.join(known)}")
    results, failed = {}, False
    for name in options.names or (*BENCHES, *EVIDENCE):
        try:
            results[name] = import_module(f"bench.{name.replace('-', '_')}").run()
        except Missing as missing:
            results[name], failed = {"skipped": str(missing)}, True
        if not options.json:
            print(f"\n== {name}")
            for key, value in results[name].items():
                print(f"  {key:<56} {value}")
    if options.json:
        print(json.dumps(results, indent=2))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
