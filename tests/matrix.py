"""The combinations of precision, batch handling, base optimizer and processes: what each should
do, written out in float64, and the same done by GNP, in worker processes too."""

import itertools
from contextlib import nullcontext

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from gnp.optim import GNP
from gnp.optim.reference import gradient_of

PRECISIONS = ("fp64", "fp32", "bf16", "fp16")
BATCHES = ("plain", "accumulation", "m_sharpness")
BASES = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    # With the usual ε its first steps are signs of gradients, however small: rounding flips them.
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.3, eps=0.01),
}
PROCESSES = ("single", "local", "synced")
SETTINGS = {
    "r": 1.0,
    "alpha": 0.4,
    "l2": 0.03,
    "max_grad_norm": 0.3,
    "normalize_reference": True,
}
# Other climbs: what they change of the settings.
CLIMBS = {
    "fresh": {},
    "norms": {"climb_only_norms": True},
    "momentum": {"climb_along": "momentum", "normalize_reference": False},
    "chance": {"probability": 0.5, "seed": 2},  # penalised are the second and third step
}
PENALISED = {"chance": (False, True, True)}
IMAGES, PIECES, STEPS, WORLD = 16, 2, 3, 2


def combinations(processes):
    return list(itertools.product(PRECISIONS, BATCHES, BASES, processes))


def other_climbs(processes):
    climbs = [climb for climb in CLIMBS if climb != "fresh"]
    return list(itertools.product(("fp64", "fp16"), BATCHES, BASES, processes, climbs))


def network(climb="fresh"):
    torch.manual_seed(3)
    norms = [nn.LayerNorm(16)] if climb == "norms" else []
    return nn.Sequential(nn.Linear(5, 16), *norms, nn.Tanh(), nn.Linear(16, 3)).double()


def images(step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(IMAGES, 5, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (IMAGES,), generator=generator)


def climbing_together(batch, processes):
    """The rows of each set of images that climbs by its own gradient.

    Each process has a half of the batch, which m-sharpness cuts into pieces. Synchronous processes
    climb together, piece by piece.
    """
    worlds = 1 if processes == "single" else WORLD
    rows = torch.arange(IMAGES).chunk(worlds)
    pieces = [r.chunk(PIECES if batch == "m_sharpness" else 1) for r in rows]
    if processes == "synced":
        return [torch.cat(together) for together in zip(*pieces, strict=True)]
    return [piece for of_process in pieces for piece in of_process]


def expected(batch, base, processes, climb="fresh", **changed):
    """The weights after STEPS steps, by the formula, in float64."""
    settings = {**SETTINGS, **CLIMBS[climb], **changed}
    model = network(climb)
    names = [n for n, _ in model.named_parameters()]
    params = list(model.parameters())
    optimizer = BASES[base](params)
    for step in range(STEPS):
        x, y = images(step)
        groups = climbing_together(batch, processes)
        total = [torch.zeros_like(p) for p in params]
        for rows in groups:

            def loss_of(ps, rows=rows, x=x, y=y):
                weights = dict(zip(names, ps, strict=True))
                logits = functional_call(model, weights, (x[rows],))
                decay = 0.5 * settings["l2"] * sum((p**2).sum() for p in ps)
                return cross_entropy(logits, y[rows]) + decay

            if climb == "momentum":
                g = gradient_of(loss_of, onward(optimizer, params, settings))
            elif PENALISED.get(climb, [True] * STEPS)[step]:
                g = mixed(loss_of, params, settings, model)
            else:
                g = gradient_of(loss_of, params)
            for t, a in zip(total, g, strict=True):
                t += a / len(groups)
        if settings["max_grad_norm"] is not None:
            length = sum((t**2).sum() for t in total).sqrt()
            total = [t * min(1.0, settings["max_grad_norm"] / length.item()) for t in total]
        for p, t in zip(params, total, strict=True):
            p.grad = t
        optimizer.step()
    return [p.detach() for p in params]


def mixed(loss_of, params, settings, model):
    g1 = gradient_of(loss_of, params)
    norm = length_of(g1)
    climbing = params
    if settings.get("climb_only_norms"):
        climbing = [p for m in model if isinstance(m, nn.LayerNorm) for p in m.parameters()]
    moves = [any(p is c for c in climbing) for p in params]
    longest = length_of([g for g, move in zip(g1, moves, strict=True) if move])
    climbed = [
        p + settings["r"] * move * g / longest for p, g, move in zip(params, g1, moves, strict=True)
    ]
    g2 = gradient_of(loss_of, [c.detach().requires_grad_() for c in climbed])
    if settings["normalize_reference"]:
        g1 = [g / norm for g in g1]
    alpha = settings["alpha"]
    return [(1 - alpha) * a + alpha * b for a, b in zip(g1, g2, strict=True)]


def onward(optimizer, params, settings):
    """Where MSAM's gradient is taken; with α below 1, αr on."""
    key = "exp_avg" if isinstance(optimizer, torch.optim.AdamW) else "momentum_buffer"
    if not optimizer.state:
        return params
    momentum = [optimizer.state[p][key] for p in params]
    scale = settings["alpha"] * settings["r"] / length_of(momentum)
    return [(p - scale * m).detach() for p, m in zip(params, momentum, strict=True)]


def length_of(tensors):
    return sum((t**2).sum() for t in tensors).sqrt()


def trained(precision, batch, base, processes, climb="fresh", rank=0, bucket_views=False):
    """The weights after STEPS steps of GNP, in this process (of ``rank``)."""
    model = network(climb).to(torch.float64 if precision == "fp64" else torch.float32)
    forward = model
    if processes != "single":
        forward = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=bucket_views)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8) if precision == "fp16" else None
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    optimizer = GNP(
        BASES[base](model.parameters()),
        model=forward,
        grad_scaler=scaler,
        sync_climb=processes == "synced",
        **{**SETTINGS, **CLIMBS[climb]},
    )
    for step in range(STEPS):
        x, y = images(step)
        rows = torch.arange(IMAGES).chunk(1 if processes == "single" else WORLD)[rank]

        def loss_of(rows, x=x, y=y):
            with torch.autocast("cpu", dtype=low) if low else nullcontext():
                logits = forward(x[rows].to(next(model.parameters()).dtype))
            return cross_entropy(logits.double() if low is None else logits.float(), y[rows])

        def backward(loss):
            (loss if scaler is None else scaler.scale(loss)).backward()

        def closure(rows, loss_of=loss_of, backward=backward):
            optimizer.zero_grad()
            parts = rows.chunk(4) if batch == "accumulation" else [rows]
            total = 0.0
            for part in parts:
                # DDP reduces in every backward pass that is not told otherwise.
                last = part is parts[-1] or processes == "single"
                with nullcontext() if last else forward.no_sync():
                    loss = loss_of(part) / len(parts)
                    backward(loss)
                total = total + loss.detach()
            return total

        pieces = rows.chunk(PIECES) if batch == "m_sharpness" else [rows]
        optimizer.step([lambda piece=piece, closure=closure: closure(piece) for piece in pieces])
        if scaler is not None:
            scaler.update()
    return [p.detach().double() for p in model.parameters()]


def worker_results(rank):
    """What one of WORLD processes gets for every combination with several of them."""
    several = ("local", "synced")
    both = [*combinations(several), *other_climbs(several)]
    results = {c: trained(*c, rank=rank) for c in both}
    for processes in ("local", "synced"):
        key = ("fp64", "m_sharpness", "sgd", processes)
        results[(*key, "bucket_views")] = trained(*key, rank=rank, bucket_views=True)
    return results
