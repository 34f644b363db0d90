"""A worker for tests of the watch over workers: it hangs over input 1, ends over input 2 and answers all others."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

(Path(sys.argv[1]) / "said-2").write_text("last words")
sys.stdout.write("ready\n")
sys.stdout.flush()
for line in sys.stdin:
    index = json.loads(line)["index"]
    if index == 1:
        time.sleep(600)
    if index == 2:
        os._exit(7)
    sys.stdout.write(json.dumps({"kind": "built"}) + "\n")
    sys.stdout.flush()
