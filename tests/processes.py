"""Run a function in several processes that form a gloo group."""

import os
import tempfile
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing


def run_in_processes(function, world, *arguments):
    """[function(rank, *arguments) for each rank], computed in ``world`` new processes.

    ``function`` is importable by name; what it returns can be saved by torch.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_work, (world, folder, function, arguments), nprocs=world)
        return [torch.load(Path(folder, f"{r}.pt"), weights_only=False) for r in range(world)]


def _work(rank, world, folder, function, arguments):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world)
    try:
        torch.save(function(rank, *arguments), Path(folder, f"{rank}.pt"))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # a collective that waits for the others would keep a usual exit waiting
    dist.destroy_process_group()
