"""The API's pages are made of the docstrings, without a warning."""

import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT

ROOMS = sorted(file.parent.name for file in (ROOT / "gnp").glob("*/__init__.py"))


@pytest.mark.slow
def test_the_api_pages_build_without_a_warning(tmp_path):
    modules = [*(f"gnp.{room}" for room in ROOMS), "models"]
    done = subprocess.run(
        [sys.executable, "-m", "pdoc", *modules, "-d", "google", "-o", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")  # pdoc's warnings go there
    page = (tmp_path / "gnp/optim.html").read_text()
    assert "Gradient norm penalty around any" in page
    assert "max_grad_norm" in page
