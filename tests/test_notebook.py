"""The notebook runs completely on a results folder."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.analysis.planted import Plant, plant

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "analysis.ipynb"


@pytest.mark.proof
# Jupyter warns that other users could listen to its connection to the kernel on loopback.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_remakes_a_figure(tmp_path):
    plant(tmp_path / "results", Plant(accuracy=(0.7, 0.72, 0.6)))
    docs = tmp_path / "docs"
    docs.mkdir()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(docs)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    [lines] = [o["text"] for o in outputs if o.output_type == "stream" and "verdict:" in o["text"]]
    assert "recommended: " in lines


def test_the_notebook_shows_outputs_of_its_own_cells():
    """In the committed notebook every cell has run in order, and none shows a machine's path."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert any(
        "image/png" in out.get("data", {}) for cell in cells for out in cell.get("outputs", [])
    )
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not [place for place in ("Traceback", "/home/", "/tmp/", "/root/") if place in text]
