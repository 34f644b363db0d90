"""``python -m micgraph.doctor [--json] [PATH]...``: ``micgraph doctor`` where even the command line does not start."""

from __future__ import annotations

import json
import sys

from micgraph.doctor.diagnosis import diagnose

if __name__ == "__main__":
    paths = [one for one in sys.argv[1:] if one != "--json"]
    found = diagnose(paths)
    sys.stdout.write((str(found) if len(paths) == len(sys.argv) - 1 else json.dumps(found.as_json(), indent=1)) + "\n")
    sys.exit(0 if found.ok else 1)
