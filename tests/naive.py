"""One run in plain torch, from its config alone: what every number of its record has to be.

Given parts are the data, the network and the functions of the augmentation. All that is made of
them (seeds, batches, passes, the mix, schedules, averages, what is evaluated) is written out here,
from the README and the docstrings of the settings, one image set and one parameter after another.
"""

import copy
import hashlib
import math
from contextlib import contextmanager

import torch
from hydra.utils import get_class, instantiate
from torch.nn.functional import cross_entropy

from gnp.data import Augmentation, load_dataset
from gnp.optim.reference import norm_of
from gnp.training.seeds import stream_seed


class NaiveRun:
    """``lines`` of metrics without the clock's, ``summary`` without it, and the ``model``."""

    def __init__(self, config):
        self.config, self.data = config, load_dataset(config.dataset)
        torch.manual_seed(stream_seed(config.seed, "initialisation"))
        self.model = instantiate(config.model)
        self.params = list(self.model.parameters())
        everything = config.optimizer.decay_norms_and_biases
        self.decayed = [p for p in self.params if everything or p.dim() > 1]
        self.base = self.base_optimizer()
        images, size = len(self.data.train), config.training.batch_size
        self.steps = images // size
        if not config.training.drop_last and images % size:
            self.steps += 1
        self.done = 0  # steps
        self.average = copy.deepcopy(self.model) if config.training.ema else None
        self.lines = [self.epoch(e) for e in range(1, config.training.epochs + 1)]
        self.summary = self.summarise()

    def base_optimizer(self):
        settings, own = self.config.optimizer, dict(self.config.optimizer.base)
        decay = settings.weight_decay if settings.weight_decay_in == "update" else 0.0
        others = [p for p in self.params if all(p is not d for d in self.decayed)]
        groups = [
            {"params": self.decayed, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0},
        ]
        cls = get_class(own.pop("_target_"))
        return cls([g for g in groups if g["params"]], lr=settings.lr, **own)

    # ------------------------------------------------------------------ data

    def normalise(self, images):
        mean, std = (
            torch.tensor(list(v)).view(1, 3, 1, 1) for v in (self.data.mean, self.data.std)
        )
        return (images.float() / 255 - mean) / std

    def batches(self, epoch):
        train, chosen = self.data.train, Augmentation(self.config.augmentation)
        generator = torch.Generator().manual_seed(stream_seed(self.config.seed, "data", epoch))
        order = torch.randperm(len(train), generator=generator)
        images = chosen.whole_epoch(train.images, generator)
        for step in range(self.steps):
            size = self.config.training.batch_size
            rows = order[step * size : (step + 1) * size]
            classes = self.config.dataset.num_classes
            yield chosen.batch(images[rows], train.labels[rows], self.normalise, classes, generator)

    # ------------------------------------------------------------------ an epoch

    def epoch(self, epoch):
        torch.manual_seed(stream_seed(self.config.seed, "network", epoch))
        self.counted = []  # (sum of losses, mistakes, images)
        self.directions = {}  # of pieces, and how many steps have used them
        self.age = 0
        first_rate = self.learning_rate()
        for images, targets in self.batches(epoch):
            self.step(images, targets)
        loss, error = self.mean_of(self.counted)
        name = "validation" if self.config.dataset.validation_per_class else "test"
        evaluated_loss, evaluated_error = self.evaluate(self.data.evaluation)
        return {
            "epoch": epoch,
            "train_loss": loss,
            "train_error": error,
            f"{name}_loss": evaluated_loss,
            f"{name}_error": evaluated_error,
            "learning_rate": first_rate,
        }

    def learning_rate(self):
        total, t = self.config.training.epochs * self.steps, self.done
        if self.config.training.schedule_every == "epoch":
            t = t // self.steps * self.steps
        return self.config.optimizer.lr * (1 + math.cos(math.pi * t / total)) / 2

    def penalty(self):
        """r and α of this step."""
        settings = self.config.optimizer
        r, alpha, length = settings.r, settings.alpha, settings.penalty_warmup_epochs * self.steps
        share = min(1.0, self.done / length) if length else 1.0
        if settings.penalty_warmup == "zero" and self.done < length:
            r = 0.0
        elif settings.penalty_warmup == "r":
            r *= share
        elif settings.penalty_warmup == "lambda":
            alpha *= share
        if (
            self.done
            < math.floor(settings.penalty_start * self.config.training.epochs) * self.steps
        ):
            r = 0.0
        if settings.probability < 1:
            seed = stream_seed(self.config.seed, "penalty")
            bits = hashlib.sha256(f"{seed}/{self.done}".encode()).hexdigest()[:16]
            if (int(bits, 16) >> 11) / 2**53 >= settings.probability:
                r = 0.0
        return r, alpha

    def step(self, images, targets):
        size = self.config.training.sharpness_batch or len(images)
        pieces = list(zip(images.split(size), targets.split(size), strict=True))
        before, after = self.statistics(), []
        total = [torch.zeros_like(p) for p in self.params]
        for i, piece in enumerate(pieces):
            self.set_statistics(before)
            for t, g in zip(total, self.gradient_of_piece(i, *piece), strict=True):
                t += g / len(pieces)
            after.append(self.statistics())
        self.set_statistics([torch.stack(s).double().mean(0) for s in zip(*after, strict=True)])
        if (longest := self.config.training.max_grad_norm) is not None:
            length = norm_of(total)
            total = [g * min(1.0, longest / length.item()) for g in total]
        for p, g in zip(self.params, total, strict=True):
            p.grad = g
        for group in self.base.param_groups:
            group["lr"] = self.learning_rate()
        self.base.step()
        self.move_average()
        self.done += 1
        self.age += 1
        if self.age == self.config.optimizer.direction_every:
            self.directions, self.age = {}, 0

    @torch.no_grad()
    def move_average(self):
        """Of weights and running statistics; what is counted is copied."""
        decay = self.config.training.ema
        if decay is None:
            return
        pairs = zip(
            self.average.state_dict().values(), self.model.state_dict().values(), strict=True
        )
        for mean, now in pairs:
            mean.copy_(decay * mean + (1 - decay) * now if now.is_floating_point() else now)

    # ------------------------------------------------------------------ Algorithm 1

    def gradient_of_piece(self, piece, images, targets):
        settings, (r, alpha) = self.config.optimizer, self.penalty()
        seen = []
        if r * alpha == 0:
            g = self.gradient(images, targets, seen)
            if settings.normalize_reference and r > 0:
                length = norm_of(g) + settings.epsilon
                g = [x / length for x in g]
        elif settings.climb_along == "momentum":
            with self.at(self.onward(alpha * r)):
                g = self.gradient(images, targets, seen)
        elif piece in self.directions:
            with self.at([alpha * r * d for d in self.directions[piece]]):
                g = self.gradient(images, targets, seen)
        else:
            every = round(1 / settings.reference_fraction)
            draws = torch.get_rng_state()
            with self.true_gradients(settings.true_gradient):
                g1 = self.gradient(images[::every], targets[::every], seen)
            if settings.replay_draws and every == 1:
                torch.set_rng_state(draws)
            buffers = [b.clone() for b in self.model.buffers()]
            direction = self.direction(g1)
            with self.at([r * d for d in direction]):
                g2 = self.gradient(images, targets, seen)
            if settings.batch_statistics == "first":
                for b, kept in zip(self.model.buffers(), buffers, strict=True):
                    b.copy_(kept)
            if settings.normalize_reference:
                length = norm_of(g1) + settings.epsilon
                g1 = [x / length for x in g1]
            g = [(1 - alpha) * a + alpha * b for a, b in zip(g1, g2, strict=True)]
            if settings.direction_every > 1:
                self.directions[piece] = direction
        self.counted.append(seen[0 if self.config.training.train_metrics == "first" else -1])
        return g

    def gradient(self, images, targets, seen):
        """Of the loss and, with decay in it, of ½·decay·‖θ‖², at the weights of now."""
        self.model.train()
        logits = self.model(images).float()
        smoothing = self.config.training.label_smoothing
        loss = cross_entropy(logits, targets, label_smoothing=smoothing)
        grads = torch.autograd.grad(loss, self.params)
        decay = self.config.optimizer.weight_decay
        if self.config.optimizer.weight_decay_in == "loss":
            grads = [
                g + decay * p.detach() if any(p is d for d in self.decayed) else g
                for p, g in zip(self.params, grads, strict=True)
            ]
        labels = targets if targets.dim() == 1 else targets.argmax(1)
        wrong = (logits.argmax(1) != labels).sum().item()
        seen.append((loss.item() * len(images), wrong, len(images)))
        return [g.detach() for g in grads]

    def direction(self, g1):
        """Of the climb, of unit length but for ε (under ASAM's norm where that is on)."""
        settings = self.config.optimizer
        t = [torch.ones_like(p) for p in self.params]
        if settings.adaptive:
            t = [p.detach().abs() + settings.adaptive_eta for p in self.params]
        if settings.climb_only_norms:
            norms = [m for m in self.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
            climbing = [p for m in norms for p in m.parameters()]
            t = [
                a if any(p is q for q in climbing) else 0 * a
                for a, p in zip(t, self.params, strict=True)
            ]
        length = norm_of([a * g for a, g in zip(t, g1, strict=True)]) + settings.epsilon
        return [a * a * g / length for a, g in zip(t, g1, strict=True)]

    def onward(self, length):
        """A move of this length against the sum of the gradients so far, as momentum has it."""
        key = {"SGD": "momentum_buffer", "AdamW": "exp_avg"}[type(self.base).__name__]
        momentum = [self.base.state[p].get(key, torch.zeros_like(p)) for p in self.params]
        whole = norm_of(momentum)
        return [m if whole == 0 else -length * m / whole for m in momentum]

    @contextmanager
    def at(self, moves):
        """Inside, the weights are moved."""
        weights = [p.detach().clone() for p in self.params]
        with torch.no_grad():
            for p, move in zip(self.params, moves, strict=True):
                p += move
        yield
        with torch.no_grad():
            for p, weight in zip(self.params, weights, strict=True):
                p.copy_(weight)

    @contextmanager
    def true_gradients(self, wanted):
        layers = [m for m in self.model.modules() if hasattr(m, "true_gradient")]
        for layer in layers:
            layer.true_gradient = wanted
        yield
        for layer in layers:
            layer.true_gradient = False

    def statistics(self):
        return [b.clone() for b in self.model.buffers()]

    def set_statistics(self, values):
        for b, value in zip(self.model.buffers(), values, strict=True):
            b.copy_(value)

    # ------------------------------------------------------------------ what is reported

    @torch.no_grad()
    def evaluate(self, split):
        model = self.model if self.average is None else self.average
        model.eval()
        logits = model(self.normalise(split.images)).float()
        wrong = (logits.argmax(1) != split.labels).float().mean().item()
        return cross_entropy(logits, split.labels).item(), 100 * wrong

    def mean_of(self, counted):
        losses, wrong, images = (sum(column) for column in zip(*counted, strict=True))
        return losses / images, 100 * wrong / images

    def summarise(self):
        config, last = self.config, self.lines[-1]
        loss, error = (n for n in last if n.startswith(("test", "validation")))
        fit_loss, fit_error = self.evaluate(self.data.train)
        best = sorted(self.lines, key=lambda line: (line[error], line["epoch"]))[0]
        return {
            "experiment": config.experiment,
            "dataset": config.dataset.name,
            "augmentation": config.augmentation.name,
            "method": config.method,
            "seed": config.seed,
            "evaluated": error.removesuffix("_error"),
            "epochs": config.training.epochs,
            "train_images": len(self.data.train),
            "evaluation_images": len(self.data.evaluation),
            "parameters": sum(p.numel() for p in self.params),
            "final": {
                loss: last[loss],
                error: last[error],
                "fit_loss": fit_loss,
                "fit_error": fit_error,
            },
            "best": {"epoch": best["epoch"], error: best[error]},
        }
