"""Gradients, curvature and sharpness of one epoch's weights."""

import statistics
from typing import Any

from gnp.studies.why.measuring.looked_at import LookedAt
from gnp.studies.why.measuring.loss import BatchLoss, cosine
from gnp.studies.why.measuring.sharpness import asam_step, rise, sam_step
from gnp.studies.why.measuring.spectrum import top_eigenvalues, trace
from gnp.training.vectors import difference, moved, norm


def measure(look: LookedAt, epoch: int, settings: dict[str, Any]) -> dict[str, Any]:
    """All values of an epoch; eigenvalues and trace where the settings have them."""
    values = {**of_all_images(look, settings), **of_batches(look, epoch, settings)}
    if "eigenvalues" in settings:
        values |= curvature(look, settings)
    return values


def of_all_images(look: LookedAt, settings: dict[str, Any]) -> dict[str, float]:
    """Of the loss over the training images as they are."""
    loss = look.loss(look.fixed(look.data.train))
    average, grad = loss.average(), loss.gradient()
    adaptive = asam_step(grad, loss.params, settings["adaptive_rho"], settings["adaptive_eta"])
    return {
        "train_loss": average.loss,
        "train_error": average.error,
        "gradient_norm": norm(grad).item(),
        "weight_norm": norm(loss.params).item(),
        "sam_sharpness": rise(loss, sam_step(grad, settings["rho"]), average.loss),
        "asam_sharpness": rise(loss, adaptive, average.loss),
    }


def of_batches(look: LookedAt, epoch: int, settings: dict[str, Any]) -> dict[str, float]:
    """Of single batches, augmented as in training: means over them."""
    losses = look.loss(look.drawn("geometry", epoch, settings["batches"]))
    rows = [of_batch(losses.only(i), settings["r"], settings["rho"]) for i in range(len(losses))]
    return {f"batch_{name}": statistics.fmean(row[name] for row in rows) for name in rows[0]}


def of_batch(loss: BatchLoss, r: float, rho: float) -> dict[str, float]:
    """g1, g2 and H v along v = g1/‖g1‖, exactly and by the difference."""
    g1 = loss.gradient()
    length = norm(g1)
    unit = [(g / length).to(g.dtype) for g in g1]
    with moved(loss.params, unit, r):
        g2 = loss.gradient()
    return {
        "g1_norm": length.item(),
        "g2_norm": norm(g2).item(),
        "g1_g2_cosine": cosine(g1, g2),
        "hv_norm": norm(loss.hessian_product(unit)).item(),
        "hv_norm_by_difference": norm(difference(g2, g1)).item() / r,
        "sam_sharpness": rise(loss, sam_step(g1, rho), loss.value()),
    }


def curvature(look: LookedAt, settings: dict[str, Any]) -> dict[str, Any]:
    """Of the Hessian over some training images as they are."""
    loss = look.loss(look.fixed(look.data.train, settings["curvature_images"]))
    product, like = loss.hessian_product, loss.params
    estimate, error = trace(product, like, settings["trace_probes"])
    return {
        "eigenvalues": top_eigenvalues(product, like, settings["eigenvalues"]),
        "trace": estimate,
        "trace_standard_error": error,
    }
