"""Errors that somebody could make, each of which some test has to notice: what ``mutants.py`` runs.

A mutant whose old text is gone or ambiguous is refused: rewrite it when its code is rewritten.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """In ``file``, ``old`` (which occurs there once) becomes ``new``, and ``tests`` should fail.

    ``equivalent`` is the reason why none can, where that is so. ``slow``: the tests that notice it
    start processes.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str
    equivalent: str = ""
    slow: bool = False


RULE = "tests/test_update_rule.py"
FORMULA = "tests/test_gnp_formula.py"
VARIANTS = "tests/test_gnp_variants.py"
PROMISES = "tests/test_gnp_promises.py"
ECONOMY = "tests/test_gnp_economy.py"
PASSES = "tests/test_passes.py"
DISTRIBUTED = "tests/test_gnp_distributed.py"
MATRIX = "tests/test_gnp_matrix.py"
TWO_PHASE = "tests/test_gnp_two_phase.py"
TRAINING = "tests/test_training.py"
ASSEMBLER = "tests/test_assembler.py"
HALVES = f"{TRAINING}::test_half_precision_trains_close_to_single"
METRICS = f"{TRAINING}::test_training_metrics_are_of_the_first_pass_or_of_the_second_if_asked"
MIXTURES = f"{TRAINING}::test_mixtures_of_labels_are_trained_on_and_counted_by_the_heaviest"
PIECES = f"{TRAINING}::test_a_batch_in_pieces_is_one_step_on_the_mean_of_the_pieces"
METER = f"{TRAINING}::test_the_meter_weights_by_images"
GUARD = f"{TRAINING}::test_the_finite_guard_names_the_first_bad_step"
DIVERGING = f"{TRAINING}::test_a_diverging_run_stops_with_where_and_what_to_try"
COSINE = (
    f"{TRAINING}::test_the_learning_rate_is_the_official_per_step_cosine "
    f"{TRAINING}::test_the_learning_rate_changes_a_step_or_an_epoch_at_a_time"
)
VALIDATION = f"{TRAINING}::test_validation_is_evaluated_in_place_of_the_test_set"
AUGMENTATION = "tests/test_augmentation.py"
AUTOAUGMENT = "tests/test_autoaugment.py"
MIXING = "tests/test_mixing.py"
DATASETS = "tests/test_datasets.py"
SUBSET = "tests/test_image_subset.py"
TABLES = "tests/test_tables.py"
STUDIES = "tests/test_parameter_study.py"
TRACKING = "tests/test_tracking.py"
RECORDS = "tests/test_record_proofs.py tests/test_records.py"
POOL = "tests/test_pool.py"
LEASE = "tests/test_lease.py"
ARRIVAL = "tests/test_gnp_arrival.py"
BASES = "tests/test_gnp_bases.py"
NO_WAITING = "tests/test_no_waiting.py"
OF_ALL = "reads_on_the_host_or_crosses_devices"
NO_WAITING_METHODS = f"{NO_WAITING}::test_no_method_{OF_ALL}"
NO_WAITING_NETWORKS = f"{NO_WAITING}::test_no_network_{OF_ALL}"
NO_WAITING_BATCHES = f"{NO_WAITING}::test_no_augmentation_{OF_ALL}"
GRADIENTS = "tests/test_memory_of_gradients.py"
SHAKE = "tests/test_stochastic_networks.py"
ONE_PASS = "tests/test_gnp_one_pass.py"
EMA = "tests/test_ema.py"
CONFIG_VARIANTS = (
    "tests/test_config.py::test_a_late_penalty_begins_with_an_epoch_and_has_one_at_least"
)

ARITHMETIC = [
    Mutant(
        "the norm is a sum of norms",
        "gnp/optim/update_rule.py",
        "    return torch.linalg.vector_norm(torch.stack([n.to(device, dtype) for n in norms]))",
        "    return torch.stack([n.to(device, dtype) for n in norms]).sum()",
        FORMULA,
    ),
    Mutant(
        "halves are summed in their own precision",
        "gnp/optim/update_rule.py",
        "torch._foreach_norm(halves, 2, dtype=torch.float32)",
        "torch._foreach_norm(halves, 2)",
        RULE,
    ),
    Mutant(
        "epsilon is subtracted",
        "gnp/optim/update_rule.py",
        "scale = r / (norm + epsilon)",
        "scale = r / (norm - epsilon)",
        VARIANTS,
    ),
    Mutant(
        "the climb is r·g1",
        "gnp/optim/update_rule.py",
        "scale = r / (norm + epsilon)",
        "scale = r * (norm / norm)",
        FORMULA,
    ),
    Mutant(
        "a flat point gives NaN",
        "gnp/optim/update_rule.py",
        "return torch.where(scale.isfinite(), scale, torch.zeros_like(scale))",
        "return scale",
        PROMISES,
    ),
    Mutant(
        "the climb goes down",
        "gnp/optim/update_rule.py",
        "torch._foreach_add_(weights, torch._foreach_mul(directions, scale))",
        "torch._foreach_sub_(weights, torch._foreach_mul(directions, scale))",
        FORMULA,
    ),
    Mutant(
        "the climb goes down with alpha 1",
        "gnp/optim/update_rule.py",
        "torch._foreach_add_(weights, directions)",
        "torch._foreach_sub_(weights, directions)",
        FORMULA,
    ),
    Mutant(
        "ASAM without eta",
        "gnp/optim/update_rule.py",
        "    torch._foreach_add_(scales, eta)\n",
        "",
        VARIANTS,
    ),
    Mutant(
        "ASAM with signed weights",
        "gnp/optim/update_rule.py",
        "scales = torch._foreach_abs(weights)",
        "scales = [w.clone() for w in weights]",
        VARIANTS,
    ),
    Mutant(
        "clipping lengthens short gradients",
        "gnp/optim/update_rule.py",
        "(max_norm / norm).clamp(max=1.0)",
        "(max_norm / norm)",
        RULE,
    ),
    Mutant(
        "clipping as torch does it",
        "gnp/optim/update_rule.py",
        "(max_norm / norm).clamp",
        "(max_norm / (norm + 1e-6)).clamp",
        MATRIX,
    ),
    Mutant(
        "L2 is doubled",
        "gnp/optim/update_rule.py",
        "torch._foreach_add_(gradients, weights, alpha=coefficient)",
        "torch._foreach_add_(gradients, weights, alpha=2 * coefficient)",
        VARIANTS,
    ),
    Mutant(
        "the mix has alpha and 1 − alpha the wrong way round",
        "gnp/optim/update_rule.py",
        "torch._foreach_lerp_(g2, g1, 1 - alpha)",
        "torch._foreach_lerp_(g2, g1, alpha)",
        FORMULA,
    ),
    Mutant(
        "a gradient of the second pass alone is not weighed",
        "gnp/optim/mix.py",
        "                p.grad.mul_(group.alpha)",
        "                pass",
        PROMISES,
    ),
    Mutant(
        "the reference is normalised in groups with r = 0 too",
        "gnp/optim/mix.py",
        "        climbing = [g for g, group in zip(g1, groups, strict=True) if group.r > 0]",
        "        climbing = g1",
        ECONOMY,
    ),
    Mutant(
        "one gradient is taken at r in place of alpha·r",
        "gnp/optim/mix.py",
        "[group.climb * group.alpha for group in groups]",
        "[group.climb for group in groups]  # mutated",
        ECONOMY,
    ),
    Mutant(
        "one gradient with a normalised reference at alpha·r",
        "gnp/optim/mix.py",
        "return _ascent(old, [group.climb for group in groups])",
        "return _ascent(old, [group.alpha * group.climb for group in groups])",
        ECONOMY,
    ),
    Mutant(
        "weights come back by subtraction",
        "gnp/optim/climb.py",
        "                climb_(weights, device_grads, here, overwrite)",
        "                saved[-1] = (weights, [w + here * g - here * g for w, g in "
        "zip(*saved[-1][:1], device_grads, strict=True)])\n"
        "                climb_(weights, device_grads, here, overwrite)",
        PROMISES,
    ),
    Mutant(
        "weights do not come back after an exception",
        "gnp/optim/climb.py",
        "        yield\n    finally:\n        _copy_back(saved)\n",
        "        yield\n    finally:\n        pass\n    if True:\n        _copy_back(saved)\n",
        PROMISES,
    ),
    Mutant(
        "ASAM's direction is T·g1",
        "gnp/optim/climb.py",
        "        length = norm_of(directions)\n        self._times_t(groups, directions)",
        "        length = norm_of(directions)",
        VARIANTS,
    ),
    Mutant(
        "ASAM divides by the norm of g1",
        "gnp/optim/climb.py",
        "        length = norm_of(directions)\n        self._times_t",
        "        length = norm\n        self._times_t",
        VARIANTS,
    ),
    Mutant(
        "a direction is kept a step too long",
        "gnp/optim/climb.py",
        "if self._age >= self._every or not stepped:",
        "if self._age > self._every or not stepped:",
        ECONOMY,
    ),
    Mutant(
        "a skipped step's direction stays",
        "gnp/optim/climb.py",
        "if self._age >= self._every or not stepped:",
        "if self._age >= self._every:",
        ECONOMY,
    ),
    Mutant(
        "pieces share a direction",
        "gnp/optim/climb.py",
        "return self._directions.get(piece)",
        "return self._directions.get(0)",
        ECONOMY,
    ),
    Mutant(
        "groups with different alphas are not refused",
        "gnp/optim/climb.py",
        "if len(alphas) > 1:",
        "if len(alphas) > 2:",
        ECONOMY,
    ),
    Mutant(
        "g1 is the whole batch's though a reference is given",
        "gnp/optim/gnp.py",
        "first = piece.reference if measures else piece.closure",
        "first = piece.closure",
        ECONOMY,
    ),
    Mutant(
        "the reference stands for the batch where nothing climbs",
        "gnp/optim/gnp.py",
        "first = piece.reference if measures else piece.closure",
        "first = piece.reference",
        ECONOMY,
    ),
    Mutant(
        "draws are replayed for other images",
        "gnp/optim/gnp.py",
        "if has_penalty and same_images:",
        "if has_penalty:",
        ECONOMY,
    ),
    Mutant(
        "no decay in the second gradient",
        "gnp/optim/gnp.py",
        "            first.refuse_lone(groups)\n            add_l2(groups, self._scale.of)\n",
        "            first.refuse_lone(groups)\n",
        VARIANTS,
    ),
    Mutant(
        "no decay in the first gradient",
        "gnp/optim/gnp.py",
        "        add_l2(groups, self._scale.of)\n        if has_penalty:",
        "        if has_penalty:",
        VARIANTS,
    ),
    Mutant(
        "clipped before unscaling",
        "gnp/optim/gnp.py",
        "        self._scale.unscale(self.base)\n",
        "",
        FORMULA,
    ),
    Mutant(
        "a penalty where alpha or r is 0",
        "gnp/optim/penalty.py",
        "any(g.r > 0 for g in groups) and any(",
        "any(g.r > 0 for g in groups) or any(",
        PROMISES,
    ),
    Mutant(
        "g1's memory is given up with any alpha",
        "gnp/optim/gnp.py",
        "spent = [group.alpha == 1 and",
        "spent = [group.alpha > 0 and",
        FORMULA,
    ),
    Mutant(
        "an overflow of g1 is given up with alpha 1",
        "gnp/optim/gnp.py",
        "group.alpha == 1 and not self._scale.sees_overflows",
        "group.alpha == 1",
        PROMISES,
    ),
    Mutant(
        "a loaded state keeps the old direction",
        "gnp/optim/gnp.py",
        "        super().load_state_dict(state_dict)\n        self.renew_direction()",
        "        super().load_state_dict(state_dict)",
        ECONOMY,
    ),
    Mutant(
        "gradients are not taken away before the second pass",
        "gnp/optim/gradients.py",
        "        for p in group.params:\n            p.grad = None\n",
        "",
        PROMISES,
    ),
    Mutant(
        "L2 reaches only what the loss reaches",
        "gnp/optim/gradients.py",
        "weights = [p for p in group.params if p.requires_grad]",
        "weights = [p for p in group.params if p.grad is not None]",
        VARIANTS,
    ),
    Mutant(
        "shared memory is not refused",
        "gnp/optim/gradients.py",
        "if _share_memory(_local(a), _local(b)):",
        "if False:",
        PROMISES,
    ),
    Mutant(
        "gradients without entries share memory",
        "gnp/optim/gradients.py",
        "if a.numel() == 0:\n        return False\n    if a is b",
        "if a is b",
        GRADIENTS,
    ),
    Mutant(
        "the second pass counts in running statistics",
        "gnp/optim/passes.py",
        'if model is not None and batch_statistics == "first":',
        'if model is not None and batch_statistics == "both":',
        PASSES,
    ),
    Mutant(
        "the second pass has draws of its own",
        "gnp/optim/passes.py",
        "return RandomState(devices).replayed if self._replays else nullcontext",
        "return nullcontext",
        PASSES,
    ),
    Mutant(
        "the true gradient in both passes",
        "gnp/optim/passes.py",
        "with draws(), self._kept():",
        "with draws(), self._kept(), self._true():",
        VARIANTS,
    ),
    Mutant(
        "layers stay switched to the true gradient",
        "gnp/optim/passes.py",
        "            module.true_gradient = False",
        "            pass",
        VARIANTS,
    ),
    Mutant(
        "buffers are not put back",
        "gnp/optim/buffers.py",
        "    finally:\n        before.put_back()",
        "    finally:\n        pass",
        PASSES,
    ),
    Mutant(
        "pieces count one after another in running statistics",
        "gnp/optim/buffers.py",
        "        if done < pieces:\n            before.put_back()",
        "        if done < pieces:\n            pass",
        VARIANTS,
    ),
    Mutant(
        "pieces' statistics are summed",
        "gnp/optim/buffers.py",
        "mean.add_(buffer, alpha=1 / pieces)",
        "mean.add_(buffer)",
        VARIANTS,
    ),
    Mutant(
        "a buffer of another shape is put back after an overflow",
        "gnp/optim/buffers.py",
        "if now is None or before is None or _resized(now, before) or not _is_plain(now):",
        "if now is None or before is None or not _is_plain(now):",
        PASSES,
    ),
    Mutant(
        "processes' statistics are summed",
        "gnp/optim/buffers.py",
        "        buffer.div_(dist.get_world_size(process_group))\n",
        "",
        DISTRIBUTED,
        slow=True,
    ),
    Mutant(
        "after a replay the generator is where the replay began",
        "gnp/optim/draws.py",
        "                generator.write(now)",
        "                pass",
        PASSES,
    ),
    Mutant(
        "Python's draws are not replayed",
        "gnp/optim/draws.py",
        "    yield _Generator(random.getstate, random.setstate, ne)\n",
        "",
        PASSES,
    ),
    Mutant(
        "NumPy's draws are looked at by position alone",
        "gnp/optim/draws.py",
        "before[2:] != now[2:] or bool(before[1].tobytes() != now[1].tobytes())",
        "before[3:] != now[3:] or bool(before[1].tobytes() != now[1].tobytes())",
        PASSES,
    ),
    Mutant(
        "a skipped step leaves buffers changed",
        "gnp/optim/loss_scale.py",
        "        self._before.put_back_where(~finite)\n",
        "",
        PASSES,
    ),
    Mutant(
        "a step that was made puts the buffers back",
        "gnp/optim/loss_scale.py",
        "put_back_where(~finite)",
        "put_back_where(finite)",
        PASSES,
    ),
    Mutant(
        "l2 and epsilon are not in the gradients' units",
        "gnp/optim/loss_scale.py",
        "        if value == 0:\n            return value",
        "        return value",
        VARIANTS,
    ),
    Mutant(
        "processes add their gradients",
        "gnp/optim/processes.py",
        "torch.cat([g.reshape(-1) for g in bucket]).div_(processes)",
        "torch.cat([g.reshape(-1) for g in bucket])",
        DISTRIBUTED,
        slow=True,
    ),
    Mutant(
        "processes climb together though they should not",
        "gnp/optim/processes.py",
        "if self._together or alone or not climbs:",
        "if True:",
        MATRIX,
        slow=True,
    ),
    Mutant(
        "the last bucket is forgotten",
        "gnp/optim/processes.py",
        "    if bucket:\n        yield bucket\n",
        "",
        DISTRIBUTED,
        slow=True,
    ),
    Mutant(
        "pieces are summed",
        "gnp/optim/pieces.py",
        "                    grad.div_(len(self._losses))",
        "                    pass",
        VARIANTS,
    ),
    Mutant(
        "the loss of pieces is the last one's",
        "gnp/optim/pieces.py",
        "torch.stack(known).mean()",
        "known[-1]",
        VARIANTS,
    ),
    Mutant(
        "a warm-up of zero ends a step late",
        "gnp/optim/schedules.py",
        "float(step >= steps)",
        "float(step > steps)",
        VARIANTS,
    ),
    Mutant(
        "a warm-up of r is one of alpha",
        "gnp/optim/schedules.py",
        '"r" if strategy == "r" else "alpha"',
        '"alpha" if strategy == "r" else "r"',
        VARIANTS,
    ),
    Mutant(
        "a linear warm-up does not end",
        "gnp/optim/schedules.py",
        "min(1.0, step / steps)",
        "step / steps",
        VARIANTS,
    ),
    Mutant(
        "a schedule multiplies what it has multiplied",
        "gnp/optim/schedules.py",
        "            self._optimizer.set_penalty(group, *values)",
        "            self._optimizer.set_penalty(group, *values)\n"
        "        groups = self._optimizer.param_groups\n"
        "        self._initial = [self._optimizer.penalty(group) for group in groups]",
        VARIANTS,
    ),
    Mutant(
        "a wrapped base loses its state",
        "gnp/optim/wrapper.py",
        "        if not self._building:\n            self.base.state = state",
        "        self.base.state = state",
        f"{PROMISES} {BASES}",
    ),
]

ARRIVAL_AND_BASES = [
    *(
        Mutant(name, "gnp/optim/arrival.py", old, new, ARRIVAL)
        for name, old, new in [
            (
                "a pass without backward is taken",
                "if self.loss is not None and not any_gradient(self._groups):",
                "if False:",
            ),
            (
                "stale gradients are taken",
                "if self._marks and all(mark.stale for mark in self._marks):",
                "if False:",
            ),
            (
                "accumulated gradients are taken",
                "if any(mark.added_to for mark in self._marks):",
                "if False:",
            ),
            ("Accelerate's accumulation is taken", "num_steps) > 1:", "num_steps) > 99:"),
        ]
    ),
    *(
        Mutant(name, "gnp/optim/bases.py", old, new, BASES)
        for name, old, new in [
            (
                "a closure of several bases is not called",
                "loss = closure()",
                "loss = None",
            ),
            (
                "only the first base steps",
                "        for base in self.bases:\n            base.step()",
                "        for base in self.bases[:1]:\n            base.step()",
            ),
            (
                "a parameter may be in two bases",
                "if len(set(parameters)) < len(parameters):",
                "if False:",
            ),
        ]
    ),
    Mutant(
        "a base that maximises climbs where L grows",
        "gnp/optim/groups.py",
        "-self.r if self.maximizes else self.r",
        "self.r",
        BASES,
    ),
    Mutant(
        "a process that skipped the first batch has no scale",
        "gnp/optim/loss_scale.py",
        "if self._scaler._scale is None:",
        "if False:",
        DISTRIBUTED,
        slow=True,
    ),
    *(
        Mutant(name, f"gnp/optim/{file}.py", old, new, tests)
        for name, file, old, new, tests in [
            (
                "autocast's copies of the weights stay when they climb",
                "climb",
                "    try:\n        torch.clear_autocast_cache()",
                "    try:",
                PROMISES,
            ),
            (
                "autocast's copies of the climbed weights stay",
                "climb",
                "        _copy_back(saved)\n        torch.clear_autocast_cache()",
                "        _copy_back(saved)",
                PROMISES,
            ),
            (
                "another GNP keeps the settings of the first",
                "wrapper",
                "if k not in group or k in _from_arguments(part, group)",
                "if k not in group",
                PROMISES,
            ),
            (
                "another GNP takes the settings of the groups",
                "wrapper",
                "_remember(part, group, renewed.intersection(more))",
                "_remember(part, group, renewed)",
                PROMISES,
            ),
            (
                "a group that is added later is not remembered",
                "wrapper",
                "_remember(part, group, missing)",
                "pass",
                PROMISES,
            ),
            (
                "another GNP counts steps anew",
                "penalty",
                '{**own, "climbs": True}, kept=chance.own',
                '{**own, "climbs": True, **chance.own}',
                PROMISES,
            ),
            (
                "a copy forgets whose settings it has",
                "wrapper",
                "            _remember(part, group, keys)",
                "            pass",
                PROMISES,
            ),
            (
                "autocast's copies of the weights stay after the step",
                "gnp",
                "        torch.clear_autocast_cache()  # as the weights",
                "        pass  # as the weights",
                PROMISES,
            ),
            (
                "a direction is kept in a skipped batch",
                "gnp",
                "            self._climb.renew()\n            self._count()",
                "            self._count()",
                ARRIVAL,
            ),
            (
                "an added group has no part in the direction",
                "gnp",
                "self.renew_direction()  # a kept one",
                "pass  # a kept one",
                ECONOMY,
            ),
            (
                "an error in a first pass leaves the direction",
                "gnp",
                "with self._climb.renewing_on_error(), self._at_the_weights(reduction):",
                "with self._at_the_weights(reduction):",
                ECONOMY,
            ),
            (
                "a skipped batch decays",
                "gnp",
                "        if arrival.skipped:\n            return\n        add_l2",
                "        add_l2",
                ARRIVAL,
            ),
            (
                "a skipped batch decays along an old direction",
                "gnp",
                "                if arrival.skipped:\n                    return\n",
                "",
                ARRIVAL,
            ),
            (
                "a scaler is asked of a skipped batch",
                "gnp",
                "if not any_gradient(groups):  # the batch",
                "if False:  # the batch",
                ARRIVAL,
            ),
            (
                "a skipped batch is not counted",
                "gnp",
                "            self._count()\n            return",
                "            return",
                ARRIVAL,
            ),
            (
                "a piece is skipped",
                "pieces",
                "if not any_gradient(self._groups):",
                "if False:",
                ARRIVAL,
            ),
            (
                "an alpha without r is not looked at",
                "climb",
                "{group.alpha for group in groups}",
                "{group.alpha for group in groups if group.r > 0}",
                ECONOMY,
            ),
            ("weights in 16 bits are not named", "climbing", "if halves:", "if False:", PROMISES),
        ]
    ),
]

LOOP = [
    Mutant(
        "evaluation in training mode",
        "gnp/training/loop.py",
        "    model.eval()\n",
        "    model.train()\n",
        ASSEMBLER,
    ),
    Mutant(
        "training in evaluation mode after the first epoch",
        "gnp/training/loop.py",
        "    model.train()\n",
        "",
        ASSEMBLER,
    ),
    Mutant(
        "batches count the same whatever their size",
        "gnp/training/loop.py",
        "self._loss += loss.double() * len(labels)",
        "self._loss += loss.double() * 16",
        METER,
    ),
    Mutant(
        "the error is a share, not per cent",
        "gnp/training/loop.py",
        "error=100 * wrong / images",
        "error=wrong / images",
        METER,
    ),
    Mutant(
        "accuracy in place of error",
        "gnp/training/loop.py",
        "(logits.argmax(1) != labels)",
        "(logits.argmax(1) == labels)",
        ASSEMBLER,
    ),
    Mutant(
        "of a mixture the lightest label counts",
        "gnp/training/loop.py",
        "targets.argmax(1)",
        "targets.argmin(1)",
        MIXTURES,
    ),
    Mutant(
        "the last bad step is named",
        "gnp/training/loop.py",
        "self._first = torch.minimum(self._first, here)",
        "self._first = torch.where(here < self._never, here, self._first)",
        GUARD,
    ),
    Mutant(
        "nobody looks at the loss at the end of an epoch",
        "gnp/training/loop.py",
        "        progress(step)\n    guard.check()",
        "        progress(step)",
        DIVERGING,
    ),
    Mutant(
        "the learning rate does not move",
        "gnp/training/loop.py",
        "        self.learning_rate.step()\n",
        "",
        ASSEMBLER,
    ),
    Mutant(
        "the penalty's schedule does not move",
        "gnp/training/loop.py",
        "        self.penalty.step()\n",
        "",
        ASSEMBLER,
    ),
    Mutant(
        "the penalty's schedule is not restored",
        "gnp/training/loop.py",
        '        self.penalty.load_state_dict(state["penalty"])',
        "        pass",
        ASSEMBLER,
    ),
    Mutant(
        "the learning rate's schedule is not restored",
        "gnp/training/loop.py",
        '        self.learning_rate.load_state_dict(state["scheduler"])\n',
        "",
        ASSEMBLER,
    ),
    Mutant(
        "a part of the batch is its first images",
        "gnp/training/loop.py",
        "(t[::every] for t in",
        "(t[: max(1, len(t) // every)] for t in",
        ASSEMBLER,
    ),
    Mutant(
        "fp16 without a scaled loss",
        "gnp/training/loop.py",
        "(loss if scaler is None else scaler.scale(loss)).backward()",
        "loss.backward()",
        HALVES,
    ),
    Mutant(
        "fp16's scale is never adapted",
        "gnp/training/loop.py",
        "            scaler.update()",
        "            pass",
        HALVES,
    ),
    Mutant(
        "metrics of the other pass",
        "gnp/training/loop.py",
        '{"first": 0, "second": -1}',
        '{"first": -1, "second": 0}',
        METRICS,
    ),
    Mutant(
        "a direction is kept over an epoch's end",
        "gnp/training/loop.py",
        "    optimizer.renew_direction()  #",
        "    #",
        ASSEMBLER,
    ),
    Mutant(
        "a batch is never cut into pieces",
        "gnp/training/loop.py",
        "size = sharpness_batch or len(images)",
        "size = len(images)",
        PIECES,
    ),
    Mutant(
        "the cosine ends at half",
        "gnp/training/loop.py",
        "math.cos(math.pi * t / (total_steps - warmup_steps))",
        "math.cos(math.pi / 2 * t / (total_steps - warmup_steps))",
        COSINE,
    ),
    Mutant(
        "no warm-up of the learning rate",
        "gnp/training/loop.py",
        "        if step < warmup_steps:\n            return step / warmup_steps\n",
        "",
        f"{TRAINING}::test_the_learning_rate_grows_linearly_from_0_before_a_cosine_over_the_rest",
    ),
    Mutant(
        "schedule-free bases are evaluated at their training weights",
        "gnp/training/loop.py",
        "    optimizer.eval()  #",
        "    optimizer.train()  #",
        f"{TRAINING}::test_schedule_free_bases_are_evaluated_and_saved_at_their_average",
    ),
    Mutant(
        "an epoch's rate is that of its end",
        "gnp/training/loop.py",
        "t = min(step - step % every, total_steps)",
        "t = min(step - step % every + every - 1, total_steps)",
        COSINE,
    ),
    Mutant(
        "processes leave out a row where the rows do not divide",
        "gnp/training/distributed.py",
        "images * rank // self.count for rank in",
        "images // self.count * rank for rank in",
        "tests/test_shares.py",
    ),
]

DATA = [
    Mutant(
        "every image is mirrored, or none",
        "gnp/data/augmentation.py",
        "flips = torch.rand(n, generator=generator, device=device) < 0.5",
        "flips = (torch.rand(1, generator=generator, device=device) < 0.5).expand(n)",
        AUGMENTATION,
    ),
    Mutant(
        "a crop never reaches the far end",
        "gnp/data/augmentation.py",
        "torch.randint(-pad, pad + 1,",
        "torch.randint(-pad, pad,",
        AUGMENTATION,
    ),
    Mutant(
        "rows and columns of a crop are exchanged",
        "gnp/data/augmentation.py",
        "rows = torch.arange(height, device=images.device) + offsets[0, :, None]",
        "rows = torch.arange(height, device=images.device) + offsets[1, :, None]",
        AUGMENTATION,
    ),
    Mutant(
        "the border pixel is doubled",
        "gnp/data/augmentation.py",
        "torch.where(index > size - 1, 2 * (size - 1) - index, index)",
        "torch.where(index > size - 1, 2 * size - 1 - index, index)",
        AUGMENTATION,
    ),
    Mutant(
        "a square is a pixel further down",
        "gnp/data/augmentation.py",
        "top, left = rows - size // 2, columns - size // 2",
        "top, left = rows - (size - 1) // 2, columns - (size - 1) // 2",
        AUGMENTATION,
    ),
    Mutant(
        "scopes of cutout are exchanged",
        "gnp/data/augmentation.py",
        'n if self.settings.cutout_scope == "image" else 1',
        'n if self.settings.cutout_scope != "image" else 1',
        AUGMENTATION,
    ),
    Mutant(
        "cut out before it is mixed",
        "gnp/data/augmentation.py",
        "        images, targets = self.mix(images, labels, num_classes, generator)\n"
        "        return self.erase(images, generator), targets",
        "        images = self.erase(images, generator)\n"
        "        return self.mix(images, labels, num_classes, generator)",
        AUGMENTATION,
    ),
    Mutant(
        "partners are exchanged",
        "gnp/data/augmentation.py",
        "partner = torch.arange(n - 1, -1, -1, device=device)",
        "partner = torch.arange(n, device=device).roll(1)",
        MIXING,
    ),
    Mutant(
        "the partner has the weight",
        "gnp/data/mixing.py",
        "torch.lerp(images[partner], images, weights[:, None, None, None])",
        "torch.lerp(images, images[partner], weights[:, None, None, None])",
        MIXING,
    ),
    Mutant(
        "the partner's label has the weight",
        "gnp/data/mixing.py",
        "torch.lerp(own[partner], own, weights[:, None])",
        "torch.lerp(own, own[partner], weights[:, None])",
        MIXING,
    ),
    Mutant(
        "labels weigh the box before it is clipped",
        "gnp/data/mixing.py",
        "kept = 1 - box.float().mean(dim=(1, 2, 3))",
        "kept = weights",
        MIXING,
    ),
    Mutant(
        "a box has sides of 1 − w",
        "gnp/data/mixing.py",
        "half = 0.5 * (1 - weights).sqrt()",
        "half = 0.5 * (1 - weights)",
        MIXING,
    ),
    Mutant(
        "the lighter image dominates",
        "gnp/data/mixing.py",
        "torch.maximum(weights, 1 - weights) if dominant",
        "torch.minimum(weights, 1 - weights) if dominant",
        MIXING,
    ),
    Mutant(
        "Beta(1, 1) whatever alpha",
        "gnp/data/mixing.py",
        "    if alpha == 1:\n",
        "    if True:\n",
        MIXING,
    ),
    Mutant(
        "the second operation is the first again",
        "gnp/data/autoaugment.py",
        "code = codes[draws.sub_policy[:, None], position, draws.negative.long()]",
        "code = codes[draws.sub_policy[:, None], 0 * position, draws.negative.long()]",
        AUTOAUGMENT,
    ),
    Mutant(
        "operations are applied where they should not be",
        "gnp/data/autoaugment.py",
        "applied = draws.uniform < probabilities[draws.sub_policy]",
        "applied = draws.uniform >= probabilities[draws.sub_policy]",
        AUTOAUGMENT,
    ),
    Mutant(
        "groups are mixed up",
        "gnp/data/autoaugment.py",
        "torch.searchsorted(codes_in_order, kinds, right=True)",
        "torch.searchsorted(codes_in_order, kinds)",
        AUTOAUGMENT,
    ),
    Mutant(
        "a translation goes the other way",
        "gnp/data/autoaugment.py",
        "target, source = max(pixels, 0), max(-pixels, 0)",
        "target, source = max(-pixels, 0), max(pixels, 0)",
        AUTOAUGMENT,
    ),
    Mutant(
        "normalised without the mean",
        "gnp/data/loader.py",
        "[-m / s for m, s in zip(mean, std, strict=True)]",
        "[0 * m / s for m, s in zip(mean, std, strict=True)]",
        AUGMENTATION,
    ),
    Mutant(
        "images are not shuffled",
        "gnp/data/loader.py",
        "order = torch.randperm(len(train), generator=generator, device=train.labels.device)",
        "order = torch.arange(len(train), device=train.labels.device)",
        AUGMENTATION,
    ),
    Mutant(
        "drop_last is inverted",
        "gnp/data/loader.py",
        "    if drop_last:\n",
        "    if not drop_last:\n",
        AUGMENTATION,
    ),
    Mutant(
        "labels of other images",
        "gnp/data/loader.py",
        "train.labels[chosen]",
        "train.labels[chosen.flip(0)]",
        AUGMENTATION,
    ),
    Mutant(
        "AutoAugment is left out",
        "gnp/data/loader.py",
        "images = augmentation.whole_epoch(train.images, generator)",
        "images = train.images",
        ASSEMBLER,
    ),
    Mutant(
        "validation images are trained on",
        "gnp/data/dataset.py",
        'train.take(_first(order, held_out, per_class, "train_per_class"))',
        'train.take(_first(order, 0, per_class, "train_per_class"))',
        DATASETS,
    ),
    Mutant(
        "held-out images are evaluated as the test set",
        "gnp/data/dataset.py",
        '        evaluated = "validation"\n',
        "",
        VALIDATION,
    ),
    Mutant(
        "one subset whatever its seed",
        "gnp/data/dataset.py",
        "torch.Generator().manual_seed(settings.subset_seed)",
        "torch.Generator().manual_seed(0)",
        DATASETS,
    ),
    Mutant(
        "synthetic tests on its training pictures",
        "gnp/data/sources/synthetic.py",
        "draw_synthetic(classes, settings.synthetic_test_per_class, seed + 1)",
        "draw_synthetic(classes, settings.synthetic_test_per_class, seed)",
        DATASETS,
    ),
    Mutant(
        "other test images are not noticed",
        "gnp/data/subset.py",
        "    if digest_of_all(test) != subset.test:\n",
        "    if not subset.test:\n",
        SUBSET,
    ),
    Mutant(
        "a folder appears image by image",
        "gnp/data/subset.py",
        'partial = root.with_name(f".{root.name}.partial")',
        "partial = root",
        SUBSET,
    ),
    Mutant(
        "a digest of the shape, not of the pixels",
        "gnp/data/subset.py",
        "hashlib.sha256(image.numpy().tobytes())",
        "hashlib.sha256(str(image.shape).encode())",
        SUBSET,
    ),
]

NETWORKS = [
    Mutant(
        "ShakeDrop's factor from 0 to 1",
        "models/pyramidnet.py",
        "torch.where(kept, 1.0, 2 * draws[1] - 1)",
        "torch.where(kept, 1.0, draws[1])",
        SHAKE,
    ),
    Mutant(
        "ShakeDrop is evaluated without its mean",
        "models/pyramidnet.py",
        "return x * self.keep_probability",
        "return x",
        SHAKE,
    ),
    Mutant(
        "Shake-Shake's backward gate is the forward one",
        "models/shake_shake.py",
        "return _Mix.apply(a, b, gates[0], gates[1])",
        "return _Mix.apply(a, b, gates[0], gates[0])",
        SHAKE,
    ),
]

HANDED_ON = [
    Mutant(
        f"not handed on: {what}",
        "gnp/training/build.py",
        old,
        new,
        ASSEMBLER,
    )
    for what, old, new in [
        ("r", "        r=settings.r,\n", ""),
        ("alpha", "        alpha=settings.alpha,\n", ""),
        ("model", "        model=model,\n", ""),
        ("max_grad_norm", "        max_grad_norm=config.training.max_grad_norm,\n", ""),
        (
            "normalize_reference",
            "        normalize_reference=settings.normalize_reference,\n",
            "",
        ),
        ("epsilon", "        epsilon=settings.epsilon,\n", ""),
        ("batch_statistics", "        batch_statistics=settings.batch_statistics,\n", ""),
        ("replay_draws", "        replay_draws=settings.replay_draws,\n", ""),
        ("true_gradient", "        true_gradient=settings.true_gradient,\n", ""),
        ("adaptive", "        adaptive=settings.adaptive,\n", ""),
        ("adaptive_eta", "        adaptive_eta=settings.adaptive_eta,\n", ""),
        ("direction_every", "        direction_every=settings.direction_every,\n", ""),
        ("lr", "lr=settings.lr, weight_decay=0.0,", "lr=0.1, weight_decay=0.0,"),
    ]
]

MADE_BY_BUILD = [
    Mutant(name, "gnp/training/build.py", old, new, ASSEMBLER)
    for name, old, new in [
        (
            "decay in the update and in the loss are exchanged",
            'decay = "l2" if settings.weight_decay_in == "loss" else "weight_decay"',
            'decay = "weight_decay" if settings.weight_decay_in == "loss" else "l2"',
        ),
        (
            "decay_norms_and_biases is inverted",
            "    if settings.decay_norms_and_biases:\n",
            "    if not settings.decay_norms_and_biases:\n",
        ),
        (
            "norms and biases are decayed, weights are not",
            '{"params": [p for p in parameters if p.ndim > 1], decay: settings.weight_decay}',
            '{"params": [p for p in parameters if p.ndim < 1], decay: settings.weight_decay}',
        ),
        (
            "the remainder batch is no step",
            "steps = batches_of(images, training.batch_size, training.drop_last)",
            "steps = batches_of(images, training.batch_size, True)",
        ),
        (
            "schedule_every=epoch is ignored",
            'every = steps if training.schedule_every == "epoch" else 1',
            "every = 1",
        ),
        (
            "epochs of the penalty's warm-up are taken as steps",
            "settings.penalty_warmup_epochs * steps",
            "settings.penalty_warmup_epochs",
        ),
        (
            "the cosine's end is off by an epoch",
            "cosine(training.epochs * steps, every, ",
            "cosine((training.epochs + 1) * steps, every, ",
        ),
    ]
]

RUN = [
    Mutant(name, "gnp/training/run.py", old, new, ASSEMBLER)
    for name, old, new in [
        (
            "the data generator is not reseeded",
            'self.generator.manual_seed(stream_seed(config.seed, "data", epoch))',
            "self.generator.initial_seed()",
        ),
        (
            "every epoch has the same data",
            'stream_seed(config.seed, "data", epoch)',
            'stream_seed(config.seed, "data")',
        ),
        (
            "the network's generator is not reseeded",
            'seed_network(stream_seed(config.seed, f"network/{rank}" if rank else "network", '
            "epoch))",
            "torch.initial_seed()",
        ),
        (
            "every epoch has the same dropout",
            'f"network/{rank}" if rank else "network", epoch)',
            'f"network/{rank}" if rank else "network")',
        ),
        (
            "one initialisation whatever the seed",
            'stream_seed(config.seed, "initialisation")',
            'stream_seed(0, "initialisation")',
        ),
        (
            "evaluation on the training images",
            "evaluated = self._evaluate(self.data, predicted)",
            "evaluated = self._evaluate(replace(self.data, evaluation=self.data.train))",
        ),
        (
            "the fit is that of the evaluated images",
            "self._evaluate(replace(self.data, evaluation=self.data.train))",
            "self._evaluate(self.data)",
        ),
        (
            "not handed on: label smoothing",
            "            label_smoothing=config.training.label_smoothing,\n",
            "",
        ),
        (
            "not handed on: sharpness_batch",
            "            sharpness_batch=config.training.sharpness_batch,\n",
            "",
        ),
        (
            "not handed on: reference_every",
            "            reference_every=config.optimizer.reference_every,\n",
            "",
        ),
        (
            "not handed on: train_metrics",
            "            metrics_of=config.training.train_metrics,\n",
            "",
        ),
        (
            "not handed on: drop_last",
            "            config.training.drop_last,\n",
            "            True,\n",
        ),
        (
            "the learning rate is that after the epoch",
            '            "learning_rate": learning_rate,',
            '            "learning_rate": self.optimizer.param_groups[0]["lr"],',
        ),
        (
            "training loss and error are those of the evaluation",
            '"train_loss": train.loss,\n            "train_error": train.error,',
            '"train_loss": [*evaluated.values()][0],\n            "train_error": train.error,',
        ),
    ]
]

SUMMARY = [
    Mutant(name, "gnp/training/summary.py", old, new, ASSEMBLER)
    for name, old, new in [
        (
            "the best epoch is chosen by the training error",
            "key=lambda line: line[error])",
            'key=lambda line: line["train_error"])',
        ),
        (
            "the best epoch is the worst",
            "best = min((line",
            "best = max((line",
        ),
        (
            "the final error is the best one",
            "error: lines[-1][error],",
            "error: best[error],",
        ),
        (
            "the number of training images is that of the evaluation",
            '"train_images": len(data.train)',
            '"train_images": len(data.evaluation)',
        ),
    ]
]

NUMBERS = [
    Mutant(
        "population in place of sample deviation",
        "gnp/statistics/means.py",
        "statistics.stdev(values)",
        "statistics.pstdev(values)",
        TABLES,
    ),
    Mutant(
        "the median in place of the mean",
        "gnp/statistics/means.py",
        "statistics.fmean(values)",
        "statistics.median(values)",
        TABLES,
    ),
    Mutant(
        "the highest mean is the best",
        "gnp/statistics/means.py",
        "value.mean == min(means)",
        "value.mean == max(means)",
        f"{TABLES} {STUDIES}",
    ),
    Mutant(
        "one alone is the best",
        "gnp/statistics/means.py",
        "len(means) > 1 and",
        "len(means) > 0 and",
        STUDIES,
    ),
    Mutant(
        "last and best epoch are exchanged",
        "gnp/tables/cell_result.py",
        'f.error if self.error_of == "last" else f.best_error',
        'f.best_error if self.error_of == "last" else f.error',
        TABLES,
    ),
    Mutant(
        "the difference is the published minus ours",
        "gnp/tables/cell_result.py",
        "return self.error.mean - self.published.error",
        "return self.published.error - self.error.mean",
        TABLES,
    ),
    Mutant(
        "the official code's augmentation in every table",
        "gnp/tables/spec.py",
        "self.column.official_augmentation if self.fidelity.startswith(OFFICIAL) else None",
        "self.column.official_augmentation",
        TABLES,
    ),
    Mutant(
        "a column has all seeds",
        "gnp/tables/spec.py",
        "own = self.seeds[: cell.column.seeds]",
        "own = self.seeds",
        TABLES,
    ),
]

PRINTED = [
    Mutant(
        "missing seeds are not told",
        "gnp/report/numbers.py",
        'str(value.n) if seeds in (None, value.n) else f"{value.n} of {seeds}"',
        "str(value.n)",
        TABLES,
    ),
    Mutant(
        "of several unknown settings the first is named",
        "gnp/settings/refusals.py",
        "raise refused[0] if len(refused) == 1 else SeveralRefused(refused)",
        "raise refused[0]",
        "tests/test_refusals.py",
    ),
    Mutant(
        "overrides are told of what makes a run another one",
        "gnp/settings/refusals.py",
        "return [name for name in names.of_runs if name not in IDENTITY]",
        "return list(names.of_runs)",
        "tests/test_refusals.py",
    ),
    Mutant(
        "a table that is too wide is printed whole",
        "gnp/report/terminal.py",
        "            if block and not _fits(",
        "            if block and _fits(",
        "tests/test_screen.py",
    ),
    Mutant(
        "columns are dropped that would fit",
        "gnp/report/terminal.py",
        "        if width is None or natural_width(grid_table(title, grid, kept)) <= width:",
        "        if width is None or natural_width(grid_table(title, grid, kept)) < width:",
        "tests/test_screen.py",
    ),
    Mutant(
        "a pipe has the width of a terminal",
        "gnp/screen.py",
        'console.is_terminal or os.environ.get("COLUMNS", "").isdigit()',
        "True",
        "tests/test_screen.py",
    ),
    Mutant(
        "numbers for programs are rounded",
        "gnp/report/numbers.py",
        '"" if value is None else f"{value:.6g}"',
        '"" if value is None else f"{value:.3g}"',
        TABLES,
    ),
    Mutant(
        "the best epoch is compared under our error",
        "gnp/tables/text.py",
        "text = format_statistic(result.error, seeds)",
        "text = format_statistic(result.best, seeds)",
        TABLES,
    ),
    Mutant(
        "the standard scheme is trained for every r",
        "gnp/studies/grid.py",
        "Point(0.0 if alpha == 0 else r, alpha)",
        "Point(r, alpha)",
        STUDIES,
    ),
    Mutant(
        "a study's runs are those of its first seed",
        "gnp/studies/grid.py",
        "                yield self.run(point, seed)",
        "                yield self.run(point, self.seeds[0])",
        STUDIES,
    ),
]

READING = [
    Mutant(name, "gnp/tracking/reading.py", old, new, RECORDS)
    for name, old, new in [
        (
            "the files' checksums are not compared",
            "if name != CHECKPOINT and checksum_at(folder / name) != checksum:",
            "if False:",
        ),
        (
            "a missing file is passed over",
            "            if name == CHECKPOINT:  #",
            "            if True:  #",
        ),
        (
            "the summary's own checksum is not compared",
            'if {"schema", "files", "sha256"} & summary.keys() and not fits_its_checksum(summary):',
            "if False:",
        ),
        (
            "a summary may leave its checksum out",
            'if {"schema", "files", "sha256"} & summary.keys() and',
            'if "sha256" in summary and',
        ),
        (
            "another run's summary is taken",
            "        if recorded != summary[key]:",
            "        if False:",
        ),
        (
            "a record may lie in another run's place",
            "return folder.absolute().parts[-len(place.parts) :] == place.parts",
            "return True",
        ),
        (
            "fewer epochs than the config's are enough",
            'if summary["epochs"] != epochs:',
            "if False:",
        ),
        (
            "fewer lines than epochs are enough",
            'if len(metrics) != summary["epochs"]:',
            'if len(metrics) > summary["epochs"]:',
        ),
        (
            "the final error need not be the last line's",
            'if errors[epochs] != summary["final"][error]:',
            "if False:",
        ),
        (
            "the best epoch need not be the best",
            'if summary["best"] != {"epoch": best, error: errors[best]}:',
            "if False:",
        ),
        (
            "a bad line ends the read",
            'raise DamagedRecord(path, f"line {epoch} is no JSON ({error})") from error',
            "break",
        ),
        (
            "epochs in any order",
            'if line.get("epoch") != epoch or',
            'if line.get("epoch") is None or',
        ),
        (
            "a last line that is cut short counts as whole",
            "    if rest and whole:",
            "    if False:",
        ),
        (
            "any number is an error",
            "return is_number and math.isfinite(value) and low <= value <= high",
            "return is_number",
        ),
        (
            "true is a number",
            " and not isinstance(value, bool)\n    return is_number",
            "\n    return is_number",
        ),
        (
            "NaN is read as a number",
            "entry = _decode(line)",
            "entry = json.loads(line)",
        ),
    ]
]

RECORD = [
    Mutant(name, "gnp/tracking/record.py", old, new, f"{RECORDS} {TRACKING}")
    for name, old, new in [
        (
            "another config is gone on with",
            "    if difference := config_difference(recorded, wanted, unrecorded):",
            "    if difference := []:",
        ),
        (
            "other data are gone on with",
            "    if recorded not in (None, wanted):",
            "    if False:",
        ),
        (
            "a deleted config is replaced by the command's",
            "        if self.config_hash not in begun_with:\n            raise",
            "        if False:\n            raise",
        ),
        (
            "a config with other values than begun with is believed",
            "elif begun_with and config_hash(recorded) not in begun_with:",
            "elif False:",
        ),
        (
            "a removed folder is made again",
            "        except OSError as error:\n            raise RecordGone(",
            "        except OSError as error:\n            return\n            raise RecordGone(",
        ),
        (
            "a run is not locked",
            "        if self._lock is None:\n            who = holder(self.folder)",
            "        if False:\n            who = holder(self.folder)",
        ),
        (
            "a damaged summary stays",
            "            put_aside(self.folder / SUMMARY)",
            "            pass",
        ),
        (
            "metrics are not written again from the checkpoint",
            "if not path.is_file() or path.read_bytes() != content:",
            "if not path.is_file():",
        ),
    ]
]

COMPARE = [
    Mutant(name, "gnp/tracking/compare.py", old, new, f"{RECORDS} {TRACKING} {STUDIES}")
    for name, old, new in [
        (
            "a setting that is not named counts as not set",
            "    left, right = known | left, known | right\n",
            "",
        ),
        (
            "the runtime is part of the identity",
            '(*PLACES, ("runtime",), ("wandb",))',
            '(*PLACES, ("wandb",))',
        ),
        (
            "settings that only one side has are not compared",
            "sorted(left.keys() | right.keys())",
            "sorted(left.keys() & right.keys())",
        ),
    ]
]

CHECKPOINTS = [
    Mutant(name, "gnp/training/checkpoint.py", old, new, RECORDS)
    for name, old, new in [
        (
            "a changed checkpoint is believed",
            'if state.pop("digest", None) != digest_of(state):',
            'if state.pop("digest", None) is None:',
        ),
        (
            "another run's checkpoint is believed",
            "            if state.get(name) != ours:",
            "            if False:",
        ),
        (
            "a checkpoint of any epoch is believed",
            "if not 1 <= epoch <= self._epochs or [",
            "if False and [",
        ),
        (
            "the checkpoint before is not kept",
            "                os.replace(self._last, self._previous)\n",
            "                pass\n",
        ),
        (
            "the checkpoint before stays for ever",
            "            self._previous.unlink()",
            "            pass",
        ),
        (
            "what cannot be read again is saved",
            "            if not self._proven:",
            "            if False:",
        ),
    ]
]

DIGEST = [
    Mutant(
        "the digest is of the shapes alone",
        "gnp/data/digest.py",
        "        yield value.reshape(-1).view(torch.uint8).numpy().data\n",
        "",
        f"{RECORDS} {DATASETS}",
    ),
]

FOUND = [
    Mutant(name, "gnp/jobs/finished.py", old, new, RECORDS)
    for name, old, new in [
        (
            "records are not compared with what is wanted",
            "    if wanted is not None and (",
            "    if False and (",
        ),
        (
            "runs on other data are compared",
            "    _leave_out_other_data(read.values())\n",
            "",
        ),
        (
            "a damaged record ends the reading",
            "        except DamagedRecord as error:\n            records.damaged",
            "        except KeyError as error:\n            records.damaged",
        ),
        (
            "a table of other settings is shown empty",
            "if others and not any(records.finished for records in read.values()):",
            "if False:",
        ),
    ]
]

JOBS = [
    Mutant(name, file, old, new, f"{RECORDS} {POOL}")
    for name, file, old, new in [
        (
            "the seed is not put into a cell's config",
            "gnp/jobs/wanted.py",
            'return {**config, "seed": run.seed}',
            "return dict(config)",
        ),
        (
            "one config for all seeds wherever the seed is",
            "gnp/jobs/wanted.py",
            'if several and any("seed}" in text for text in',
            'if False and any("seed}" in text for text in',
        ),
        (
            "a pool takes any record",
            "gnp/jobs/pool.py",
            "found = find_record(run, self._root, self._wanted, unrecorded())",
            "found = find_record(run, self._root, None, unrecorded())",
        ),
        (
            "a file in the way ends the pool",
            "gnp/jobs/pool.py",
            "            except OSError as error:  # a folder",
            "            except KeyError as error:  # a folder",
        ),
        (
            "last week's reason is shown",
            "gnp/jobs/pool.py",
            "            log.seek(child.log_before)\n",
            "",
        ),
        (
            "a record of other settings does not end the check",
            "gnp/jobs/check.py",
            "    if complaints:\n",
            "    if False:\n",
        ),
    ]
]

LEASES = [
    Mutant(name, file, old, new, LEASE)
    for name, file, old, new in [
        (
            "two take one lease",
            "gnp/tracking/lease.py",
            'open(path, "xb", buffering=0)',
            'open(path, "wb", buffering=0)',
        ),
        (
            "who is late has a lease beside the holder's",
            "gnp/tracking/lease.py",
            "    if _numbers(folder)[-1:] != [number + 1]:",
            "    if False:",
        ),
        (
            "a holder that lives is given up",
            "gnp/tracking/lease.py",
            "    if seen.text != text:",
            "    if False:",
        ),
        (
            "looks in a row make a holder dead",
            "gnp/tracking/lease.py",
            "    if now - seen.last >= HEARTBEAT:",
            "    if True:",
        ),
        (
            "a lease that was taken over is not missed",
            "gnp/tracking/lease.py",
            " and not self._next.exists()",
            "",
        ),
        (
            "a lease is not given back",
            "gnp/tracking/lease.py",
            'self._path.write_text(f"{FREE}\\n")',
            "pass",
        ),
        (
            "a run that was taken over is written on",
            "gnp/tracking/record.py",
            "        if not held:\n",
            "        if False:\n",
        ),
        (
            "a folder's leases are overlooked where flock works",
            "gnp/tracking/lock.py",
            "or not works or leases.in_use(folder))",
            "or not works)",
        ),
    ]
]

AGAIN = [
    Mutant(name, "gnp/jobs/pool.py", old, new, POOL)
    for name, old, new in [
        (
            "what the user has to mend is tried again",
            "again=status != USAGE_ERROR",
            "again=True",
        ),
        (
            "a run is started again too often",
            "self._tries[run] >= self._retries",
            "self._tries[run] > self._retries",
        ),
        (
            "a dead child's lease is kept",
            "            child.lock.release()\n            try:",
            "            try:",
        ),
        (
            "a record that cannot be read for a while ends the pool",
            "            except OSError as error:  # a storage",
            "            except ZeroDivisionError as error:  # a storage",
        ),
        (
            "runs are left to the dead",
            "return not any(in_doubt(run.folder(self._root)) for run in self.waiting)",
            "return True",
        ),
    ]
]

SIGNALS = [
    Mutant(
        "a signal ends a write in its middle",
        "gnp/interruptions.py",
        "        signal.signal(number, hold)\n",
        "        pass\n",
        "tests/test_interruptions.py",
    ),
    Mutant(
        "a signal in the last part is lost",
        "gnp/interruptions.py",
        "        yield let_through\n        let_through()\n",
        "        yield let_through\n",
        "tests/test_interruptions.py",
    ),
]

WAITING = [
    Mutant(
        "the norm is read on the host",
        "gnp/optim/gnp.py",
        "groups, norm = self._groups(), norm_of(first.gradients)",
        "groups, norm = self._groups(), norm_of(first.gradients); norm.item()",
        NO_WAITING_METHODS,
    ),
    Mutant(
        "the climb asks whether it is finite",
        "gnp/optim/update_rule.py",
        "    return torch.where(scale.isfinite(), scale, torch.zeros_like(scale))",
        "    return scale if bool(scale.isfinite()) else torch.zeros_like(scale)",
        NO_WAITING_METHODS,
    ),
    Mutant(
        "clipping asks whether the norm is too large",
        "gnp/optim/update_rule.py",
        "    return (max_norm / norm).clamp(max=1.0)",
        "    return max_norm / norm if norm > max_norm else torch.ones_like(norm)",
        NO_WAITING_METHODS,
    ),
    Mutant(
        "the zero gradient's norm is of the host",
        "gnp/optim/update_rule.py",
        "    return torch.where(scale.isfinite(), scale, torch.zeros_like(scale))",
        "    return torch.where(scale.isfinite(), scale, torch.zeros(()))",
        NO_WAITING_METHODS,
    ),
    Mutant(
        "the loss is looked at in each step",
        "gnp/training/loop.py",
        "        guard.see(first_loss, step)",
        "        guard.see(first_loss, step); first_loss.item()",
        NO_WAITING_METHODS,
    ),
    Mutant(
        "the sums are on the host",
        "gnp/training/loop.py",
        "        self._wrong = torch.zeros((), dtype=torch.int64, device=device)",
        "        self._wrong = torch.zeros((), dtype=torch.int64)",
        NO_WAITING_METHODS,
    ),
    Mutant(
        "each batch brings its constants",
        "gnp/data/loader.py",
        ".add_(self._shift)",
        ".add_(torch.zeros(1).to(images.device))",
        NO_WAITING_BATCHES,
    ),
    Mutant(
        "draws of the crop are made on the host",
        "gnp/data/augmentation.py",
        "torch.randint(-pad, pad + 1, (2, n), generator=generator, device=device)",
        "torch.randint(-pad, pad + 1, (2, n)).to(device)",
        NO_WAITING_BATCHES,
    ),
    Mutant(
        "mixup's weight is a number of the host",
        "gnp/data/mixing.py",
        "    return torch.lerp(images[partner], images, weights[:, None, None, None])",
        "    return torch.lerp(images[partner], images, weights.mean().item())",
        NO_WAITING_BATCHES,
    ),
    Mutant(
        "labels are compared with the host's",
        "gnp/data/mixing.py",
        "torch.arange(num_classes, device=labels.device)",
        "torch.arange(num_classes).to(labels.device)",
        NO_WAITING_BATCHES,
    ),
    Mutant(
        "AutoAugment reads twice",
        "gnp/data/autoaugment.py",
        "        ends = torch.searchsorted(",
        "        counts = code[:, 0].bincount()\n        ends = torch.searchsorted(",
        NO_WAITING_BATCHES,
    ),
    Mutant(
        "ShakeDrop reads its draws",
        "models/pyramidnet.py",
        "        draws = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=torch.float32)",
        "        draws = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=torch.float32)\n"
        "        draws[0].max().item()",
        NO_WAITING_NETWORKS,
    ),
    Mutant(
        "Shake-Shake draws on the host",
        "models/shake_shake.py",
        "torch.rand(2, len(a), 1, 1, 1, device=a.device, dtype=torch.float32).to(a.dtype)",
        "torch.rand(2, len(a), 1, 1, 1, dtype=torch.float32).to(a)",
        NO_WAITING_NETWORKS,
    ),
    Mutant(
        "evaluation reads each batch",
        "gnp/training/loop.py",
        "        meter.add(cross_entropy(logits, labels), logits, labels)",
        "        meter.add(cross_entropy(logits, labels), logits, labels); logits.sum().item()",
        NO_WAITING_METHODS,
    ),
    Mutant(
        "bf16's loss is read",
        "gnp/training/loop.py",
        "        return loss.detach()\n",
        "        loss.item()\n        return loss.detach()\n",
        f"{NO_WAITING}::test_bf16_reads_nothing_on_the_host",
    ),
    Mutant(
        "fp16 asks for the scale",
        "gnp/optim/loss_scale.py",
        "        return self._scaler.scale(torch.full((), value, device=device))",
        "        return value * self._scaler.get_scale()",
        f"{NO_WAITING}::test_fp16_reads_nothing_on_the_host_but_in_torchs_scaler",
    ),
    Mutant(
        "tensors without memory share it",
        "gnp/optim/gradients.py",
        """    if tensor.untyped_storage().device.type == "meta":""",
        "    if False:",
        GRADIENTS,
    ),
    Mutant(
        "parts of one storage share memory",
        "gnp/optim/gradients.py",
        "        return bool(a.storage_offset() == b.storage_offset())",
        "        return True",
        GRADIENTS,
    ),
    Mutant(
        "what a wrapper wraps is not looked at",
        "gnp/optim/gradients.py",
        "    return any(map(_share_memory, _wrapped(a), _wrapped(b)))",
        "    return False",
        GRADIENTS,
    ),
    Mutant(
        "two owners of one memory are not seen",
        "gnp/optim/gradients.py",
        "        return address == _address(b)",
        "        return False",
        GRADIENTS,
    ),
]

MEASURED = [
    Mutant(
        "a turn is of one step",
        "gnp/benchmarks/timing.py",
        "            seconds[name].append(time_steps(step, count, device))",
        "            seconds[name].append(time_steps(step, 1, device))",
        "tests/test_benchmarks.py",
    ),
    Mutant(
        "the ratio is of medians",
        "gnp/benchmarks/timing.py",
        """        "ratio": statistics.median(of_rounds),""",
        """        "ratio": statistics.median(own) / statistics.median(baseline),""",
        "tests/test_benchmarks.py",
    ),
    Mutant(
        "a recorded piece is done again",
        "gnp/benchmarks/pieces.py",
        "return [piece for piece in chosen if self.record(piece.name) is None]",
        "return chosen",
        "tests/test_pieces.py::test_a_piece_is_done_once",
        slow=True,
    ),
    Mutant(
        "what goes on has failed when it is stopped",
        "gnp/benchmarks/pieces.py",
        "if record is None and not (stopped and piece.goes_on):",
        "if record is None:",
        "tests/test_pieces.py::test_what_goes_on_is_stopped_when_time_is_over_and_called_again",
        slow=True,
    ),
    Mutant(
        "what a piece has started is left behind",
        "gnp/benchmarks/pieces.py",
        "            os.killpg(process.pid, signal.SIGKILL)",
        "            pass",
        "tests/test_pieces.py::test_a_piece_without_an_end_is_given_up_with_all_that_it_started",
        slow=True,
    ),
    Mutant(
        "a piece is begun that cannot end in time",
        "gnp/benchmarks/pieces.py",
        "elif left >= needed:",
        "elif left > 0:",
        "tests/test_pieces.py",
    ),
    Mutant(
        "a piece does not wait for those before it",
        "gnp/benchmarks/pieces.py",
        "if any(self.record(name) is None for name in piece.after):",
        "if all(self.record(name) is None for name in piece.after) and piece.after:",
        "tests/test_pieces.py",
    ),
    Mutant(
        "a little faster is worth a setting",
        "gnp/benchmarks/best.py",
        "> CLEARLY * _speed(done[chosen])",
        "> _speed(done[chosen])",
        "tests/test_first_gpu_hour.py",
    ),
    Mutant(
        "the cell's epochs are counted anew in each call",
        "gnp/benchmarks/cell.py",
        "    write_json(file, plan)",
        "    pass",
        "tests/test_first_gpu_hour.py",
    ),
    Mutant(
        "the cell's time is one method's",
        "gnp/benchmarks/cell.py",
        "epoch = sum(images / speed for speed in speeds)",
        "epoch = max(images / speed for speed in speeds)",
        "tests/test_first_gpu_hour.py",
    ),
]

EVALUATION = "tests/test_evaluate_every.py"
EVALUATED = [
    Mutant(name, file, old, new, EVALUATION)
    for name, file, old, new in [
        (
            "the last epoch need not be evaluated",
            "gnp/settings/training.py",
            "return epoch == epochs or (every > 0",
            "return (every > 0",
        ),
        (
            "every so many epochs, from the first",
            "gnp/settings/training.py",
            "epoch % every == 0)",
            "epoch % every == 1 % every)",
        ),
        (
            "broken weights are saved where nothing is evaluated",
            "gnp/training/run.py",
            "if not are_finite(self.model):",
            "if False:",
        ),
        (
            "any epoch may be without evaluation",
            "gnp/tracking/reading.py",
            "if (epoch in errors) != is_evaluated(epoch, epochs, every):",
            "if epoch not in errors and epoch == epochs:",
        ),
        (
            "a curve's epochs are those that were evaluated, counted",
            "gnp/tables/plots.py",
            "x, low, high = [e + 1 for e in seen],",
            "x, low, high = [e + 1 for e in range(len(seen))],",
        ),
    ]
]

# ---------------------------------------------------------------------- children

CHILDREN = [
    Mutant(name, file, old, new, "tests/test_pool_server.py", slow=True)
    for name, file, old, new in [
        (
            "a child does what is to be done at the server's end",
            "gnp/jobs/child.py",
            "    atexit._clear()  # what is to be done at the server's end\n",
            "",
        ),
        (
            "the pool's own script is run in each child",
            "gnp/jobs/child.py",
            '    sys.modules["__main__"] = ModuleType("__main__")\n',
            "",
        ),
        (
            "the server imports nothing",
            "gnp/jobs/server.py",
            "        importlib.import_module(name)\n",
            "        pass\n",
        ),
        (
            "a child has the pool's environment alone",
            "gnp/jobs/pool.py",
            "environment = {**os.environ, **slot.environment,",
            "environment = {**os.environ,",
        ),
    ]
]

KEPT = [
    Mutant(name, "gnp/jobs/compositions.py", old, new, "tests/test_compositions.py")
    for name, old, new in [
        ("configs' texts are no part of it", "yield file.read_bytes()", 'yield b""'),
        ("configs elsewhere are kept", 'any("searchpath" in override', "any(not override"),
        ("damaged compositions are taken", "or not fits_its_checksum(kept)", ""),
        ("what the environment said is kept", "OmegaConf.to_container(composed)",
         "OmegaConf.to_container(composed, resolve=True)"),
        ("any overrides are the same", "key = json.dumps(list(overrides))", 'key = "one"'),
    ]
]  # fmt: skip

GROWTH = [
    Mutant(name, file, old, new, "tests/test_growth.py")
    for name, file, old, new in [
        (
            "a record that was changed is not read again",
            "gnp/tracking/reading.py",
            "(known := read_before.get(folder)) is not None and known[0] == state:",
            "(known := read_before.get(folder)) is not None:",
        ),
        (
            "a record that was just written counts as settled",
            "gnp/tracking/reading.py",
            "if record is not None and state is not None and now",
            "if record is not None and state is not None or now",
        ),
        (
            "a line of a text is taken for the seed",
            "gnp/tracking/reading.py",
            'if isinstance(config, dict) and config.get("seed") == 0:',
            "if isinstance(config, dict):",
        ),
        (
            "all seeds have the first one's config",
            "gnp/tracking/reading.py",
            'return {**config, "seed": int(found[0])}',
            "return config",
        ),
    ]
]

PLAN, PLAN_COSTS = "tests/test_plan.py", "tests/test_plan_costs.py"
PLANS = [
    Mutant(
        "SAM and GNP cost one pass",
        "gnp/jobs/work.py",
        "            more += images // piece * math.ceil(piece / every)\n",
        "",
        PLAN,
    ),
    Mutant(
        "the reference is of the whole batch, not of its pieces",
        "gnp/jobs/work.py",
        'piece = training["sharpness_batch"] or images',
        "piece = images",
        PLAN_COSTS,
    ),
    Mutant(
        "a warm-up without a penalty costs two passes",
        "gnp/jobs/work.py",
        "off = min(steps, max(0, without - epoch * steps))",
        "off = 0",
        f"{PLAN} {PLAN_COSTS}",
    ),
    Mutant(
        "the training images are not evaluated at the end",
        "gnp/jobs/work.py",
        "* evaluation + train)",
        "* evaluation)",
        PLAN_COSTS,
    ),
    Mutant(
        "finished epochs are planned again",
        "gnp/jobs/plan.py",
        "work[cell, epochs],",
        "work[cell, 0],",
        PLAN,
    ),
    Mutant(
        "epochs without a checkpoint count as done",
        "gnp/jobs/plan.py",
        "    if (folder / CHECKPOINT).exists():\n",
        "    if True:\n",
        PLAN,
    ),
    Mutant(
        "matrix products are planned in tf32",
        "gnp/settings/gpus.py",
        "if convolutions and self.tf32 is not None:",
        "if self.tf32 is not None:",
        PLAN,
    ),
    Mutant(
        "the expensive comes first",
        "gnp/jobs/plan.py",
        "key=lambda key: (place[key[0]], cost[key])",
        "key=lambda key: (place[key[0]], -cost[key])",
        PLAN,
    ),
    Mutant(
        "a speed is that of two images for the batch",
        "gnp/training/calibration.py",
        'flops["training"] * images / training',
        'flops["training"] * batch / training',
        PLAN_COSTS,
    ),
    Mutant(
        "another number of processes has the kept speed",
        "gnp/training/speeds.py",
        '            "beside": self._beside,\n',
        "",
        PLAN_COSTS,
    ),
]

VARIANTS_OF_ONE_PASS = [
    *(
        Mutant(f"one pass: {name}", f"gnp/optim/{file}.py", old, new, ONE_PASS)
        for name, file, old, new in [
            (
                "a step has the penalty where it should not",
                "chance",
                "< self._probability",
                ">= self._probability",
            ),
            ("the seed is not in the draw", "chance", 'f"{seed}/{step}"', 'f"0/{step}"'),
            (
                "each step has the first one's draw",
                "chance",
                'group["steps"] + 1}',
                'group["steps"]}',
            ),
            ("a draw may be 1", "chance", ">> 11) / 2**53", ">> 11) / (2**53 - 2**52)"),
            ("probability goes with old directions", "chance", "direction_every != 1:", "False:"),
            (
                "a step that raises counts",
                "gnp",
                "        self._draw()\n",
                "        self._draw()\n        self._count()\n",
            ),
            ("no step is counted", "gnp", "``climbed``\n        self._count()\n", "``climbed``\n"),
            (
                "a draw is made for each look",
                "penalty",
                "self._chance.drawn and penalised",
                "penalised",
            ),
            (
                "a step without penalty has g1 of length 1",
                "gnp",
                "        elif self._chance.drawn:\n",
                "        else:\n",
            ),
            (
                "norms in groups that stay climb",
                "climbing",
                "grads if group.climbs else",
                "grads if True else",
            ),
            ("all parameters climb", "climbing", "g if self._may(p) else None", "g"),
            ("a norm's children are its own", "climbing", "recurse=False", "recurse=True"),
            (
                "norms of other libraries are not known",
                "climbing",
                "    return named or",
                "    return",
            ),
            (
                "a matrix is a norm's by its class's name",
                "climbing",
                "|\\d+d?)*$",
                "|\\w+|ed\\w+)*$",
            ),
            (
                "a network without norms climbs nowhere",
                "climbing",
                "if updated.isdisjoint(norms):",
                "if False:",
            ),
            ("nothing climbs", "climb", "        self._climbing.check(groups)\n", ""),
            (
                "the norm is over what stays, too",
                "climb",
                "norm if climbing is g1 else norm_of(climbing)",
                "norm",
            ),
            (
                "g1 of norms is overwritten by the climb",
                "climb",
                "[self.made(group) or over for",
                "[True or over for",
            ),
            (
                "the momentum's climb is uphill",
                "momentum",
                "-self._fresh.scale",
                "self._fresh.scale",
            ),
            (
                "a direction stays for the next step",
                "momentum",
                "stepped: Tensor | bool) -> None:\n        self.renew()",
                "stepped: Tensor | bool) -> None:\n        pass",
            ),
            ("who maximises climbs the other way", "momentum", "else -m for m", "else m for m"),
            ("epsilon is in units of the loss's scale", "momentum", "fresh.unscaled()", "fresh"),
            (
                "Adam's momentum is its second moment",
                "momentum",
                'torch.optim.Adam: "exp_avg"',
                'torch.optim.Adam: "exp_avg_sq"',
            ),
            ("momentum 0 is taken", "momentum", 'group["momentum"] == 0', "False"),
            (
                "a direction of length 1 is taken for granted",
                "mix",
                "[s * old.scale for s in scales]",
                "scales",
            ),
            (
                "different alphas are taken",
                "momentum",
                "            refuse_different_alphas",
                "            0 and refuse_different_alphas",
            ),
        ]
    ),
    Mutant(
        "one pass: DDP's reduction waits until a momentum's climb ends",
        "gnp/optim/momentum.py",
        "    shared = True\n",
        "",
        DISTRIBUTED,
        slow=True,
    ),
    *(
        Mutant(name, f"gnp/{file}.py", old, new, tests)
        for name, file, old, new, tests in [
            (
                "a late penalty has no epoch",
                "settings/optimizer",
                "epochs + 1e-9)",
                "epochs + 0.5)",
                CONFIG_VARIANTS,
            ),
            ("0.29 of 100 epochs are 28", "settings/optimizer", " + 1e-9)", ")", CONFIG_VARIANTS),
            (
                "a late penalty in a run is early",
                "training/build",
                "            **late_penalty(before),\n",
                "",
                ASSEMBLER,
            ),
            (
                "the draws have the run's seed",
                "training/build",
                'stream_seed(config.seed, "penalty")',
                "config.seed",
                ASSEMBLER,
            ),
            (
                "norms alone are not handed on",
                "training/build",
                "=settings.climb_only_norms",
                "=False",
                ASSEMBLER,
            ),
            (
                "the momentum is not handed on",
                "training/build",
                "=settings.climb_along",
                '="gradient"',
                ASSEMBLER,
            ),
            (
                "the probability is not handed on",
                "training/build",
                "=settings.probability",
                "=1.0",
                ASSEMBLER,
            ),
            (
                "the average is not moved",
                "training/loop",
                "        after_step()\n",
                "",
                f"{EMA} {ASSEMBLER}",
            ),
            (
                "the last weights are evaluated",
                "training/run",
                "self.evaluated.network,",
                "self.forward,",
                f"{EMA} {ASSEMBLER}",
            ),
            (
                "the average is not resumed",
                "training/run",
                "                self.evaluated.load_state_dict(state)\n",
                "",
                EMA,
            ),
            (
                "the average's decay is one less it",
                "training/ema",
                "ModelEmaV3(model, decay)",
                "ModelEmaV3(model, 1 - decay)",
                EMA,
            ),
            (
                "statistics are copied",
                "training/ema",
                "ModelEmaV3(model, decay)",
                "ModelEmaV3(model, decay, exclude_buffers=True)",
                EMA,
            ),
            (
                "timm is imported for all",
                "training/ema",
                "import torch\nfrom torch import nn\n",
                "import timm\nimport torch\nfrom torch import nn\n",
                EMA,
            ),
            (
                "two averages are allowed",
                "training/ema",
                'if callable(getattr(optimizer.base, "eval", None)):',
                "if False:",
                EMA,
            ),
            (
                "a late penalty costs all along",
                "jobs/work",
                "        return before * steps\n",
                "        pass\n",
                PLAN,
            ),
            ("a chance costs two passes", "jobs/work", "round(share * more)", "round(more)", PLAN),
            ("a momentum costs two passes", "jobs/work", "not one_pass and", "", PLAN),
            ("an average is for free", "jobs/work", "is None else steps", "is None else 0", PLAN),
        ]
    ),
]

VERDICTS = "tests/test_statistics.py"
COVERAGE = "tests/test_coverage_of_intervals.py"
COMPARISONS = "tests/test_comparisons.py"

DECIDED = [
    Mutant(name, f"gnp/{file}", old, new, tests)
    for name, file, old, new, tests in [
        (
            "the t-test is one-sided",
            "statistics/intervals.py",
            "float(2 * scipy.special.stdtr(",
            "float(scipy.special.stdtr(",
            VERDICTS,
        ),
        (
            "seeds have a normal quantile",
            "statistics/intervals.py",
            "stdtrit(n - 1, upper) ** 2 * seeds_part",
            "ndtri(upper) ** 2 * seeds_part",
            VERDICTS,
        ),
        (
            "the rest counts as the images' own",
            "statistics/intervals.py",
            "of_images.var(ddof=1) - of_rest",
            "of_images.var(ddof=1)",
            VERDICTS,
        ),
        (
            "images are as if they were all there are",
            "statistics/intervals.py",
            "\n        + scipy.special.ndtri(upper) ** 2 * images_part",
            "",
            VERDICTS,
        ),
        (
            "equal runs count as improvement",
            "statistics/improvement.py",
            "(difference == 0).mean() / 2",
            "(difference == 0).mean()",
            VERDICTS,
        ),
        (
            "few runs have the normal quantile too",
            "statistics/improvement.py",
            "scipy.special.stdtrit(n + m - 2, upper) if few else scipy.special.ndtri(upper)",
            "scipy.special.ndtri(upper)",
            COVERAGE,
        ),
        (
            "Holm's factors do not step down",
            "statistics/verdict.py",
            "(len(p) - rank) * p[index]",
            "len(p) * p[index]",
            VERDICTS,
        ),
        (
            "adjusted p-values may fall",
            "statistics/verdict.py",
            "largest = max(largest, min(1.0, (len(p) - rank) * p[index]))",
            "largest = min(1.0, (len(p) - rank) * p[index])",
            VERDICTS,
        ),
        (
            "what is undecided is measured at 5 % each",
            "statistics/verdict.py",
            "LEVEL / undecided",
            "LEVEL",
            VERDICTS,
        ),
        (
            "looking is free",
            "statistics/sequential.py",
            "(n / self.max_seeds) ** (0.5 - SHAPE))",
            "(n == self.max_seeds) * 1.0)",
            COVERAGE,
        ),
        (
            "a later look takes the decision back",
            "statistics/sequential.py",
            "looks[np.abs(looks).argmax()]",
            "looks[-1]",
            VERDICTS,
        ),
        (
            "a decision goes by the mean of all seeds",
            "statistics/sequential.py",
            "        return self._farthest(differences)\n",
            "        return differences.mean\n",
            VERDICTS,
        ),
        (
            "a look that rules nothing out has an interval",
            "statistics/sequential.py",
            "return own if own > SMALLEST else 0.0",
            "return own",
            VERDICTS,
        ),
        (
            "images have an interval where seeds have no spread",
            "statistics/intervals.py",
            "    if not of_seeds.std(ddof=1) > RESOLUTION:",
            "    if False:",
            VERDICTS,
        ),
        (
            "a confidence at a bin's end is in the upper one",
            "statistics/calibration.py",
            "right=True",
            "right=False",
            VERDICTS,
        ),
        (
            "confidence and accuracy are compared image by image",
            "statistics/calibration.py",
            "np.abs(gaps).sum()",
            "np.abs(confidence - correct).sum()",
            VERDICTS,
        ),
        (
            "the published mean has no error",
            "statistics/agreement.py",
            "ours.std**2 / ours.n, std**2 / 2",
            "ours.std**2 / ours.n, 0.0",
            VERDICTS,
        ),
        (
            "seeds are paired by their place",
            "tables/comparisons.py",
            "(self.ours.by_seed[s], self.reference.by_seed[s]) for s in self.seeds",
            "(k, k) for k, _ in enumerate(self.seeds)",
            COMPARISONS,
        ),
        (
            "predictions of other images are compared",
            "tables/comparisons.py",
            "None in self._judged or not self.same_images",
            "None in self._judged",
            COMPARISONS,
        ),
        (
            "one decided comparison is enough for bold",
            "tables/collect.py",
            "all(c.winner() is result for c in own)",
            "any(c.winner() is result for c in own)",
            COMPARISONS,
        ),
        (
            "seeds are added to what is decided, too",
            "tables/until.py",
            "if not decided and not comparison",
            "if not comparison",
            "tests/test_until.py",
        ),
        (
            "seeds are added for the sake of a method that diverges",
            "tables/until.py",
            "not comparison.ours.diverged and not comparison.reference.diverged",
            "not comparison.ours.missing",
            "tests/test_until.py",
        ),
        (
            "a comparison whose seeds are to come is not in Holm's family",
            "tables/comparisons.py",
            "c.most_seeds >= rule.fewest",
            "c.differences.n >= rule.fewest",
            "tests/test_comparisons.py",
        ),
        (
            "seeds are added to a cell that lacks one",
            "tables/until.py",
            "if table.missing:  # they failed",
            "if not table.cells:  # they failed",
            "tests/test_until.py",
        ),
        (
            "until=decided goes by the test for fixed seeds",
            "tables/until.py",
            "self.rule = Sequential(how.min_seeds, how.max_seeds)",
            "self.rule = FIXED_SEEDS",
            "tests/test_until.py",
        ),
    ]
]

PREDICTIONS, EVALUATE = "tests/test_predictions.py", "tests/test_evaluation.py"
NOISE = "tests/test_label_noise.py"
EVIDENCE = [
    Mutant(name, file, old, new, tests)
    for name, file, old, new, tests in [
        (
            "predictions that are not their checksum's are believed",
            "gnp/tracking/predictions.py",
            "    if checksum_of(content) != checksum:",
            "    if False:",
            PREDICTIONS,
        ),
        (
            "predictions of another error are believed",
            "gnp/tracking/predictions.py",
            "    if predictions.error != error:",
            "    if False:",
            PREDICTIONS,
        ),
        (
            "the clock is in the predictions",
            "gnp/tracking/predictions.py",
            'zipfile.ZipInfo(f"{name}.npy")',
            'zipfile.ZipInfo(f"{name}.npy", (2026, 1, 1, 0, 0, 0))',
            PREDICTIONS,
        ),
        (
            "a run that went on evaluates once more",
            "gnp/training/run.py",
            "            self.predictions = from_state(state)\n",
            "",
            PREDICTIONS,
        ),
        (
            "predictions made again are taken whatever their error",
            "gnp/training/run.py",
            'if again.error != last[f"{self.data.evaluated}_error"]:',
            "if False:",
            PREDICTIONS,
        ),
        (
            "a record is not read again when its predictions change",
            "gnp/tracking/reading.py",
            "(SUMMARY, CONFIG, ENVIRONMENT, METRICS, PREDICTIONS):",
            "(SUMMARY, CONFIG, ENVIRONMENT, METRICS):",
            "tests/test_growth.py",
        ),
        (
            "predictions are written whatever their error",
            "gnp/training/evaluation.py",
            "        if predictions.error != recorded:",
            "        if False:",
            EVALUATE,
        ),
        (
            "mirror images upside down",
            "gnp/training/evaluation.py",
            "images.flip(3)",
            "images.flip(2)",
            EVALUATE,
        ),
        (
            "all corruptions are in the mean",
            "gnp/data/other_images.py",
            "return self.corruption in CORRUPTIONS",
            "return self.corruption is not None",
            EVALUATE,
        ),
        (
            "severities overlap",
            "gnp/data/other_images.py",
            "part = slice(severity * each,",
            "part = slice(severity * (each - 1),",
            EVALUATE,
        ),
        (
            "symmetric noise may draw the right label",
            "gnp/data/label_noise.py",
            "torch.randint(1, classes,",
            "torch.randint(0, classes,",
            NOISE,
        ),
        (
            "labels stay right",
            "gnp/data/dataset.py",
            "    train = replace(train, labels=noisy(train.labels, settings))\n",
            "",
            NOISE,
        ),
        (
            "a larger share makes other labels wrong",
            "gnp/data/label_noise.py",
            "torch.randint(1, classes, (len(images),), generator=generator)",
            "torch.randint(1, classes, (len(images) + int(9 * settings.label_noise),), "
            "generator=generator)",
            NOISE,
        ),
    ]
]

# ---------------------------------------------------------------------- pages

PAGES = [
    Mutant(name, file, old, new, "tests/test_report.py")
    for name, file, old, new in [
        (
            "what stands in a page is not escaped",
            "gnp/report/page.py",
            "autoescape=True",
            "autoescape=False",
        ),
        (
            "a row has no name where the one above has the same",
            "gnp/report/page.py",
            "[own or above for own, above in",
            "[own for own, above in",
        ),
        (
            "all links are as from the root",
            "gnp/report/runs.py",
            "os.path.relpath(folder, page)",
            "folder",
        ),
        (
            "files that are not there are linked",
            "gnp/report/runs.py",
            "for name, file in FILES.items() if file in there]",
            "for name, file in FILES.items()]",
        ),
        (
            "a log has its beginning",
            "gnp/report/runs.py",
            "[line for line in said if line][-LOG_LINES:]",
            "[line for line in said if line][:LOG_LINES]",
        ),
        (
            "a page knows no damage",
            "gnp/report/index.py",
            "unfinished(path, folder, damage)",
            "unfinished(path, folder)",
        ),
        (
            "seeds are in the order of their letters",
            "gnp/report/index.py",
            'return cell, int(seed.removeprefix("seed"))',
            'return cell, seed.removeprefix("seed")',
        ),
        (
            "a far end is drawn where it is",
            "gnp/report/scale.py",
            "inside = min(max(value, self.low), self.high)",
            "inside = value",
        ),
        (
            "an interval is drawn the other way round",
            "gnp/report/whiskers.py",
            '"cut_low": not scale.holds(low)',
            '"cut_low": not scale.holds(high)',
        ),
        (
            "settings that all methods share are shown",
            "gnp/report/differing.py",
            "if len(set(values)) > 1]",
            "if values]",
        ),
        (
            "an older record has no value where it names none",
            "gnp/report/differing.py",
            "[known | flatten(",
            "[flatten(",
        ),
        (
            "a name breaks in a number",
            "gnp/report/page.py",
            r"(?<=\.)(?=[a-z])",
            r"(?<=\.)",
        ),
        (
            "what breaks is not escaped",
            "gnp/report/page.py",
            'Markup("<wbr>").join(BREAKS.split(name))',
            'Markup("<wbr>".join(BREAKS.split(name)))',
        ),
        (
            "the values of a seed stand under another",
            "gnp/report/series_page.py",
            "seeds = sorted({seed for errors in own for seed in errors})",
            "seeds = sorted({seed for errors in own for seed in errors}, reverse=True)",
        ),
    ]
]

# ---------------------------------------------------------------------- why it works

PROBE = "tests/test_probe.py"
MEASURES = "tests/test_why_measures.py"
WHY_STUDIES = "tests/test_why.py"
STEP_LENGTH = f"{WHY_STUDIES}::test_the_note_on_r_finds_the_bottoms_and_both_slopes"
WHY = [
    Mutant(name, file, old, new, tests)
    for name, file, old, new, tests in [
        (
            "a probe leaves other buffers",
            "gnp/training/probe.py",
            "        stack.enter_context(kept_buffers(model))\n",
            "",
            f"{PROBE}::test_networks_buffers_modes_gradients_and_generators_are_left_as_they_were",
        ),
        (
            "a probe leaves other draws",
            "gnp/training/probe.py",
            "        stack.callback(state.put_back)\n",
            "",
            f"{PROBE}::test_draws_of_any_generator_are_put_back_also_by_an_exception",
        ),
        (
            "a probe's second pass has other draws",
            "gnp/training/probe.py",
            "            draws.put_back()\n",
            "",
            f"{PROBE}::test_both_gradients_have_the_same_draws",
        ),
        (
            "a snapshot comes after its checkpoint",
            "gnp/training/run.py",
            "                    self._keep_weights(epoch)\n",
            "",
            f"{PROBE}::test_snapshots_are_the_weights_of_their_epochs",
        ),
        (
            "a loss over batches is their sum",
            "gnp/studies/why/measuring/loss.py",
            "            loss += of_batch.item() / len(self._batches)",
            "            loss += of_batch.item()",
            MEASURES,
        ),
        (
            "the climb is r long in units of the gradient",
            "gnp/studies/why/measuring/step_length.py",
            "with moved(loss.params, first, r / norm(first)):",
            "with moved(loss.params, first, r):",
            MEASURES,
        ),
        (
            "sharpness by the wrong norm",
            "gnp/studies/why/measuring/sharpness.py",
            "return _scaled(twice, rho, norm(once))",
            "return _scaled(twice, rho, norm(twice))",
            MEASURES,
        ),
        (
            "the smallest eigenvalues",
            "gnp/studies/why/measuring/spectrum.py",
            'which="LA"',
            'which="SA"',
            MEASURES,
        ),
        (
            "signs are 0 and 1",
            "gnp/studies/why/measuring/spectrum.py",
            ".to(p.device, p.dtype) * 2 - 1",
            ".to(p.device, p.dtype)",
            MEASURES,
        ),
        (
            "whole layers are normalised",
            "gnp/studies/why/measuring/directions.py",
            "rows = drawn.flatten(1).norm(dim=1), weights.flatten(1).norm(dim=1)",
            "rows = drawn.norm().expand(len(drawn)), weights.norm().expand(len(drawn))",
            MEASURES,
        ),
        (
            "a record that was made anew is taken for the old one",
            "gnp/studies/why/store.py",
            'entry is not None and entry["of"] == of',
            "entry is not None",
            WHY_STUDIES,
        ),
        (
            "a barrier of the loss itself",
            "gnp/studies/why/landscape.py",
            "v - ((1 - t) * start + t * end)",
            "v",
            WHY_STUDIES,
        ),
        (
            "a finding is of the first weights",
            "gnp/studies/why/step_length.py",
            "[curve for curve in found if curve.epoch == found[-1].epoch]",
            "[curve for curve in found if curve.epoch == found[0].epoch]",
            STEP_LENGTH,
        ),
        (
            "a page says of all measurements what made the last one",
            "gnp/studies/why/result.py",
            'made = {measurement: entry["made"] for',
            'made = {measurement: entries[[*entries][-1]]["made"] for',
            WHY_STUDIES,
        ),
        (
            "the last bottom is the best one",
            "gnp/studies/why/step_length.py",
            "while index > 0 and self.errors[index - 1] < self.errors[index]:",
            "while index > self.best:",
            STEP_LENGTH,
        ),
    ]
]

TUNED = [
    Mutant(f"tuning: {name}", file, old, new, tests)
    for name, file, old, new, tests in [
        ("every trial is a finalist", "gnp/tuning/collect.py",
         "set(tried[: spec.finalists if over else 0])", "set(tried)", "tests/test_tuning.py"),
        ("there are finalists before all trials are there", "gnp/tuning/collect.py",
         "spec.finalists if over else 0", "spec.finalists", "tests/test_tuning.py"),
        ("a tuning chooses by other images than it says", "gnp/tuning/trials.py",
         "if sizes == self.sizes:", "if True:", "tests/test_tuning.py"),
        ("trials are the same, rounded", "gnp/tuning/trials.py",
         "< len(its):", "< 0:", "tests/test_tuning.py"),
        ("finalists are those that did best with all seeds", "gnp/tuning/collect.py",
         "tried.sort(key=lambda trial: merit(first[trial], spec.choose))",
         "tried.sort(key=lambda t: merit(_of_seeds(read[t], range(99)), spec.choose))",
         "tests/test_tuning.py"),
        ("a finalist is chosen by its first seeds", "gnp/tuning/collect.py",
         "merit(result if whole else result.first, self.spec.choose)",
         "merit(result.first, self.spec.choose)", "tests/test_tuning.py"),
        ("an unfinished finalist is chosen", "gnp/tuning/collect.py",
         "return self.final and self.whole", "return self.final", "tests/test_tuning.py"),
        ("the highest error is chosen", "gnp/tuning/collect.py",
         "pair = (result.error.mean,", "pair = (-result.error.mean,", "tests/test_tuning.py"),
        ("the second round begins while the first is at work", "gnp/tuning/rounds.py",
         "return list(spec.runs()) if tuning.first_round_missing else tuning.runs()",
         "return tuning.runs()", "tests/test_tuning.py"),
        ("the table has a seed of the finals", "gnp/tuning/recipe.py",
         "tuned_on = [*spec.seeds, *spec.final_seeds]", "tuned_on = spec.seeds",
         "tests/test_tuning.py"),
        ("a diverged trial is chosen from", "gnp/tuning/collect.py",
         "tried = [trial for trial in its if first[trial].whole]",
         "tried = [trial for trial in its if not first[trial].missing]",
         "tests/test_tuning.py::test_a_trial_that_diverged_is_no_missing_one_and_is_never_chosen"),
        ("what diverged is missing", "gnp/jobs/finished.py",
         "record = read_finished(folder) or read_diverged(folder)",
         "record = read_finished(folder)",
         "tests/test_tables.py::test_what_diverged_is_warned_of_and_no_missing_run"),
        ("a record of divergence is believed unread", "gnp/tracking/diverged.py",
         'prove_files(folder, outcome["files"], DIVERGED)', "pass",
         "tests/test_tables.py::test_what_diverged_is_warned_of_and_no_missing_run"),
        ("the record of divergence outlives it", "gnp/tracking/record.py",
         "(self.folder / DIVERGED).unlink(missing_ok=True)  # it is tried again", "pass",
         "tests/test_training.py::test_a_run_that_diverged_and_does_not_again_is_finished"),
        ("what diverged is work that is left", "gnp/jobs/plan.py",
         "left=Work() if state in DONE else", "left=Work() if state == FINISHED else",
         "tests/test_plan.py::test_what_is_there_is_told_apart"),
        ("epochs of an earlier start count for what is left", "gnp/jobs/progress.py",
         "worked = done - self._made_before", "worked = done", "tests/test_progress.py"),
    ]
]  # fmt: skip

AREAS = {
    "arithmetic": [*ARITHMETIC, *ARRIVAL_AND_BASES, *VARIANTS_OF_ONE_PASS],
    "loop": LOOP,
    "waiting for the device": WAITING,
    "benchmarks": MEASURED,
    "data": DATA,
    "networks": NETWORKS,
    "assembler": [*HANDED_ON, *MADE_BY_BUILD, *RUN, *EVALUATED],
    "summary": SUMMARY,
    "records": [*READING, *RECORD, *COMPARE, *CHECKPOINTS, *DIGEST],
    "evidence": EVIDENCE,
    "locks": LEASES,
    "jobs": [*FOUND, *JOBS, *AGAIN, *SIGNALS, *CHILDREN, *GROWTH, *KEPT],
    "plans": PLANS,
    "tunings": TUNED,
    "why it works": WHY,
    "statistics and tables": [*NUMBERS, *PRINTED, *DECIDED],
    "pages": PAGES,
}
MUTANTS = [mutant for mutants in AREAS.values() for mutant in mutants]
