"""The reference page's examples for Ignite and Hugging Face's Trainer, where they are installed."""

import re

import pytest
import torch
from conftest import ROOT
from torch import nn

from gnp.optim import GNP


def example(heading):
    """The first block of code below a heading of the reference page."""
    text = (ROOT / "gnp/optim/README.md").read_text()
    return re.search(rf"\*\*{heading}\.\*\*.*?```python\n(.*?)```", text, re.DOTALL)[1]


class Network(nn.Module):
    """Counts its passes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
        self.passes = 0

    def forward(self, x, labels=None):
        self.passes += 1
        logits = self.layers(x)
        if labels is None:
            return logits
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


X = torch.linspace(-1, 1, 64).reshape(16, 4)
Y = torch.arange(16) % 2


def by_hand(model, optimizer, schedule=None):
    """The weights after one epoch of batches of 4, in order."""
    model.train()
    for images, labels in zip(X.split(4), Y.split(4), strict=True):

        def closure(images=images, labels=labels):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            return loss.detach()

        optimizer.step(closure)
        if schedule is not None:
            schedule.step()
    return [p.detach().clone() for p in model.parameters()]


def parts():
    torch.manual_seed(0)
    model = Network()
    base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer = GNP(base, r=0.05, model=model)
    return model, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)


def test_ignites_process_function_is_the_loop_by_hand():
    pytest.importorskip("ignite")
    wanted = by_hand(*parts()[:2])
    model, optimizer, _ = parts()
    names = {"model": model, "optimizer": optimizer, "criterion": nn.functional.cross_entropy}
    exec(example("PyTorch Ignite"), names)
    names["trainer"].run(list(zip(X.split(4), Y.split(4), strict=True)), max_epochs=1)
    assert all(map(torch.equal, wanted, model.parameters()))


@pytest.mark.slow
def test_hugging_faces_trainer_is_the_loop_by_hand(tmp_path):
    transformers = pytest.importorskip("transformers")
    wanted = by_hand(*parts())
    model, optimizer, schedule = parts()
    names = {}
    exec(example("Hugging Face Trainer"), names)

    class InOrder(names["GNPTrainer"]):
        def _get_train_sampler(self, *_):
            return None  # torch's DataLoader then goes through the data in order

    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, num_train_epochs=1, max_grad_norm=0.0,
        use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    data = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    trainer = InOrder(
        model=model, args=arguments, train_dataset=data, optimizers=(optimizer, schedule)
    )
    trainer.train()
    assert model.passes == 8
    assert model.layers[1].num_batches_tracked == 4
    for ours, theirs in zip(wanted, model.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours)
