"""Writes run records as training would, so that tables can be tested without training."""

import json

import numpy as np
import yaml

from gnp.tables import TableSpec
from gnp.tracking.checksums import checksum_of, with_checksum
from gnp.tracking.diverged import DIVERGED, outcome_of
from gnp.tracking.predictions import Predictions, encode

SPEC = {
    "name": "small",
    "title": "A small table",
    "note": "Made up for a test.",
    "seeds": [0, 1, 2],
}
PART = {
    "rows": [{"label": "VGG16-BN ×1/8", "experiment": "e", "published": "VGG16-BN"}],
    "columns": [
        {"label": "basic", "dataset": "d", "augmentation": "basic", "published": "C10 basic"},
        {"label": "cutout", "dataset": "d", "augmentation": "cutout", "published": "C10 cutout"},
    ],
    "methods": [{"label": "SGD", "optimizer": "sgd"}, {"label": "GNP", "optimizer": "gnp"}],
    "published": "table1",
}


def spec(**changes):
    """A table of one part; ``changes`` go where a key of that name belongs."""
    part = {key: changes.pop(key, value) for key, value in PART.items()}
    part |= {"also_published": changes.pop("also_published", None)}
    return TableSpec.from_config({**SPEC, "parts": {"cnn": part}, **changes})


def write_record(root, run, errors, evaluated="test", data=None, loss=None, **config):
    """``errors`` are the test errors of its epochs, None where there was no evaluation; ``loss`` is
    the last epoch's."""
    folder = run.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    *experiment, place, method, _ = run.path.parts
    dataset, augmentation = place.rsplit("-", 1)
    config = {
        "experiment": "/".join(experiment),
        "method": method,
        "seed": run.seed,
        "dataset": {"name": dataset},
        "augmentation": {"name": augmentation},
        "training": {"epochs": len(errors)},
        **config,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [
        {"epoch": i, "train_error": (e or 9) / 2, f"{evaluated}_error": e, "seconds": 1.0}
        for i, e in enumerate(errors, start=1)
    ]
    lines = [{k: v for k, v in line.items() if v is not None} for line in lines]
    losses = {} if loss is None else {f"{evaluated}_loss": loss}
    lines[-1] |= losses
    code = {"commit": "0123456789", "modified": run.seed == 1, "hash": "feedbeef"}
    start = {"code": code} if data is None else {"code": code, "data": data}
    (folder / "environment.json").write_text(json.dumps([start]))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    best = errors.index(min(e for e in errors if e is not None))
    summary = {
        "experiment": "/".join(experiment),
        "dataset": dataset,
        "augmentation": augmentation,
        "method": method,
        "seed": run.seed,
        "evaluated": evaluated,
        "epochs": len(errors),
        "final": {f"{evaluated}_error": errors[-1], "fit_error": 1.0, **losses},
        "best": {"epoch": best + 1, f"{evaluated}_error": errors[best]},
        "seconds": 10.0,
        "finished": "2026-01-02T03:04:05Z",
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def predictions(predicted, labels, nll, confidence, digest="0123456789abcdef"):
    columns = (("u4", predicted), ("u4", labels), ("f4", nll), ("f4", confidence))
    return Predictions(*(np.array(values, dtype=kind) for kind, values in columns), digest)


def add_predictions(folder, content):
    """Put them, or bytes in their place, into a record as its run would."""
    content = content if isinstance(content, bytes) else encode(content)
    (folder / "predictions.npz").write_bytes(content)
    summary = json.loads((folder / "summary.json").read_text())
    files = summary.get("files", {}) | {"predictions.npz": checksum_of(content)}
    (folder / "summary.json").write_text(json.dumps(with_checksum(summary | {"files": files})))


def write_diverged(root, run, errors=(9.0,), reason="the loss was NaN", **config):
    """The record of a run that diverged in the epoch after these."""
    folder = write_record(root, run, list(errors), **config)
    (folder / "summary.json").unlink()
    outcome = outcome_of(folder, len(errors) + 1, reason)
    (folder / DIVERGED).write_text(json.dumps(outcome))
    return folder
