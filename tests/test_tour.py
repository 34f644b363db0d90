"""The notebook of examples/ runs top to bottom, and its kept outputs are those of such a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOUR = REPOSITORY / "examples" / "tour.ipynb"


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(TOUR.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_outputs_are_kept_in_order_small_and_without_paths() -> None:
    assert TOUR.stat().st_size < 500_000
    assert [cell["execution_count"] for cell in code_cells()] == list(range(1, len(code_cells()) + 1))
    outputs = [output for cell in code_cells() for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    texts = json.dumps(
        [{k: v for k, v in output.get("data", output).items() if k != "image/png"} for output in outputs]
    )
    assert not re.search(r"/tmp|/home|/root|/Users|site-packages|[A-Z]:\\\\", texts)


def test_links_lead_somewhere() -> None:
    text = TOUR.read_text(encoding="utf-8")
    links = re.findall(r"\]\((\.\./[^)#]+)\)", text)
    assert links and all((TOUR.parent / link).exists() for link in links)


def test_it_runs_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat (the extra dev)")
    nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient (the extra dev)")
    pytest.importorskip("ipykernel", reason="notebooks need ipykernel (the extra dev)")
    pytest.importorskip("matplotlib", reason="the figures need matplotlib (the extra report)")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for folder in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(folder, str(tmp_path / folder))
    notebook = nbformat.read(TOUR, as_version=4)
    for cell in notebook.cells:  # what is learned in eight epochs need not be learned to see that it runs
        cell.source = cell.source.replace('"epochs": 8', '"epochs": 1').replace(
            "SHELF, PEOPLE = 40, 300", "SHELF, PEOPLE = 40, 120"
        )
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    printed = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    assert sum("image/png" in o.get("data", {}) for o in printed) >= 4
    assert list(tmp_path.glob("*.ipynb")) == [], "it leaves nothing behind"
