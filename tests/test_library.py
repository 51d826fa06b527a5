"""The optimizer as a library: what importing it brings, and what a type checker says of its use."""

import re
import subprocess
import sys
import textwrap
from functools import cache

import pytest
import torch
from conftest import ROOT
from torch import nn

import gnp

OTHERS = (
    *("hydra", "omegaconf", "pydantic", "wandb", "timm", "torchvision", "rich", "matplotlib"),
    *("models", "yaml"),
)


@cache
def modules_after(statement):
    """The modules that are loaded after a statement, in a new process."""
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import gnp", "import gnp.optim", "from gnp import GNP", "from gnp.optim import GNP"],
)
def test_importing_the_optimizer_imports_torch_and_nothing_else_of_ours(statement):
    loaded = modules_after(statement)
    ours = {m for m in loaded if m.split(".")[0] == "gnp"}
    assert all(m == "gnp" or m.startswith("gnp.optim") for m in ours)
    alone = modules_after("import torch")
    assert not [m for m in OTHERS if m in loaded - alone]
    assert ("torch" in loaded) == (statement != "import gnp")


def test_the_package_names_what_it_offers():
    from gnp.optim import GNP

    assert gnp.GNP is GNP
    assert "GNP" in dir(gnp)
    with pytest.raises(AttributeError, match="SAM"):
        _ = gnp.SAM


BEFORE = """
from torch import Tensor, nn
from torch.utils.data import DataLoader


def train(model: nn.Module, loader: "DataLoader[tuple[Tensor, Tensor]]") -> None:
"""


def readmes_first_example():
    (example, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return example


def test_the_readmes_first_example_runs_as_it_is_printed():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 10))
    names = {"model": model, "loader": [(torch.randn(4, 6), torch.randint(10, (4,)))] * 3}
    start = [p.detach().clone() for p in model.parameters()]
    exec(readmes_first_example(), names)
    assert names["loss"].isfinite()
    assert not names["loss"].requires_grad
    assert all(not torch.equal(p, was) for p, was in zip(model.parameters(), start, strict=True))


@pytest.mark.slow
def test_mypy_has_nothing_to_say_of_the_readmes_first_example(tmp_path):
    file = tmp_path / "user.py"
    file.write_text(BEFORE + textwrap.indent(readmes_first_example(), "    "))
    assert "from gnp import GNP" in file.read_text()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(file)),
            "--allow-untyped-calls",  # of loss.backward, which torch leaves untyped
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.startswith("Success"), done.stdout + done.stderr
