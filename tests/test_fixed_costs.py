"""What a run costs beside its epochs: it imports what it uses, and leaves at once."""

import os
import subprocess
import sys
import textwrap

import pytest
from conftest import ROOT
from torchvision.datasets.folder import IMG_EXTENSIONS

from gnp.data.pictures import ENDINGS

TINY = [
    "experiment=quickstart",
    "dataset.synthetic_train_per_class=10",
    "dataset.synthetic_test_per_class=10",
    "training.epochs=1",
    "runtime.device=cpu",
    "runtime.threads=1",
]
HEAVY = ["torchvision", "timm", "wandb", "sympy", "torch.distributed.tensor", "matplotlib"]


def python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_run_imports_what_it_uses(tmp_path):
    code = """
        import atexit, runpy, sys
        atexit.register(lambda: print("imported:", *sys.modules, flush=True))
        sys.argv[0] = "scripts/train.py"
        runpy.run_path(sys.argv[0], run_name="__main__")
    """
    printed = python(code, *TINY, f"root={tmp_path}", "optimizer=gnp")
    assert "finished, test error" in printed
    imported = printed.split("imported:")[1].split()
    assert "gnp.training.run" in imported
    assert not {*HEAVY, "torch._dynamo.config", "torch._inductor"} & set(imported)


@pytest.mark.slow
def test_the_compiler_is_imported_when_something_asks_for_it(tmp_path):
    printed = python("""
        import sys
        import torch
        from gnp.training.compiler import defer_compiler
        defer_compiler()
        network = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        def step(forward):
            optimizer.zero_grad()
            forward(torch.ones(4, 3)).sum().backward()
            optimizer.step()
            return optimizer.state_dict()
        step(network)
        print("torch._dynamo.config" in sys.modules)
        import torch._dynamo.testing
        print(torch._dynamo is sys.modules["torch._dynamo"], hasattr(torch._dynamo, "nonsense"))
        print(torch._dynamo.testing.__name__, torch._dynamo.graph_break.__module__)
        step(torch.compile(network, backend="eager"))
        print(len(torch._dynamo.list_backends()) > 0)
    """)
    assert printed.split() == [
        "False",
        "True",
        "False",
        "torch._dynamo.testing",
        "torch._dynamo.decorators",
        "True",
    ]


def test_the_compiler_that_is_there_stays():
    import torch._dynamo

    from gnp.training.compiler import defer_compiler

    before = torch._dynamo
    defer_compiler()
    assert torch._dynamo is before
    assert "list_backends" in vars(torch._dynamo)


def test_leaving_does_what_is_to_be_done_at_the_end_and_no_more():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent("""
                import atexit, threading, time
                from gnp.cli import leave
                class Slow:
                    def __del__(self):
                        print("taken apart", flush=True)
                kept = Slow()
                atexit.register(print, "at exit")
                threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
                print("said", end=" ")
                leave(3)
            """),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 3
    assert done.stdout.split("\n")[:2] == ["said thread", "at exit"]
    assert "taken apart" not in done.stdout


def test_pictures_are_what_torchvision_takes_for_them():
    assert IMG_EXTENSIONS == ENDINGS


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts faults of pages in Linux")
@pytest.mark.parametrize(
    ("variables", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)]
)
def test_memory_of_freed_tensors_is_kept_unless_somebody_has_set_the_allocator(variables, kept):
    code = """
        import resource, torch
        from gnp.settings import RuntimeSettings
        from gnp.training.device import prepare_device
        prepare_device(RuntimeSettings(device="cpu", threads=1))
        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                torch.ones(25_000_000)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        faults()
        print(faults())
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment | variables,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert (int(done.stdout) < 5000) == kept
