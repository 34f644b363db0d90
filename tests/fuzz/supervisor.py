"""A worker process under watch: killed when it hangs, started again when it is gone."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
START, PATIENCE, LIFE = 300.0, 60.0, 1_000


class Worker:
    """Runs inputs, one at a time.

    Args:
        folder: where it may write.
        patience: seconds after which an input hangs.
        module: what is run as ``python -m`` with the folder's path.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE, module: str = "tests.fuzz.worker") -> None:
        self.folder, self.patience, self.module = folder, patience, module
        self._process: subprocess.Popen[bytes] | None = None
        self._served = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def run(self, seed: int, index: int, keep: list[int] | None = None) -> dict[str, Any]:
        """What became of an input: the fields of an ``Outcome``, and ``seconds``."""
        if self._process is None or self._served >= LIFE:
            self._start()
        process, start = self._process, time.monotonic()
        assert process is not None and process.stdin is not None
        process.stdin.write(json.dumps({"seed": seed, "index": index, "keep": keep}).encode() + b"\n")
        process.stdin.flush()
        self._served += 1
        line = self._line(self.patience)
        seconds = time.monotonic() - start
        if line:
            return {**json.loads(line), "seconds": seconds}
        kind = "hang" if process.poll() is None else f"crash: the process ended with {process.returncode}"
        said = (self.folder / "said-2").read_bytes()[-3_000:].decode(errors="replace")
        self._stop()
        return {"kind": "FAILED", "detail": f"{kind}\n{said}", "warned": [], "built": False, "trained": False,
                "mutations": [], "seconds": seconds}  # fmt: skip

    def _start(self) -> None:
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONFAULTHANDLER": "1"}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        command = [sys.executable, "-m", self.module, str(self.folder)]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._served = 0
        if self._line(START) != b"ready\n":
            said = (self.folder / "said-2").read_text(errors="replace")[-3_000:]
            self._stop()
            raise RuntimeError(f"the worker did not start: {said}")

    def _line(self, seconds: float) -> bytes:
        """The next line that the worker says, empty where none comes in time or it has ended."""
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else b""
        if ready and not line:
            self._process.wait()
        return line

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process = None
