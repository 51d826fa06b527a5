"""Training labels made wrong on purpose, to see what an optimizer makes of them.

Symmetric: an image's label becomes any *other* class, each as likely (the transition matrix of
Patrini et al., *Making Deep Neural Networks Robust to Label Noise*, CVPR 2017, arXiv 1609.03683,
and of Han et al., *Co-teaching*, NeurIPS 2018). Foret et al. (SAM, ICLR 2021, section 3.3) flip a
fraction of the labels at random. The literature has a second convention, in which the new label is
drawn from *all* classes: there a share of 0.4 leaves 0.36 of ten classes' labels wrong, which is
``dataset.label_noise=0.36`` here.

Pairs: only where classes are confused, truck → automobile, bird → airplane, deer → horse, cat ↔ dog
(Patrini et al., section 5): the share is of each of these five classes, so half as much of all.

Only what is trained on gets wrong labels. Held-out validation images keep the right ones: settings
are then chosen by what the test set measures, as is usual where noise is made and not found.
"""

import hashlib

import torch
from torch import Tensor

from gnp.settings import DatasetSettings

# CIFAR-10's classes by number, which is the order of their names: those of a folder, too.
AIRPLANE, AUTOMOBILE, BIRD, CAT, DEER, DOG, FROG, HORSE, SHIP, TRUCK = range(10)
PAIRS = {TRUCK: AUTOMOBILE, BIRD: AIRPLANE, DEER: HORSE, CAT: DOG, DOG: CAT}


def noisy(labels: Tensor, settings: DatasetSettings) -> Tensor:
    """Labels int64 (N,), of which ``settings.label_noise`` of each class (rounded to whole images)
    are wrong.

    Which ones depends on the labels and on ``noise_seed`` alone, and a larger share makes the same
    ones wrong, in the same way, and more.
    """
    if settings.label_noise == 0:
        return labels
    seed = hashlib.sha256(f"label noise {settings.noise_seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(seed[:7], "big"))
    wrong, classes = labels.clone(), settings.num_classes
    for own in range(classes):
        images = (labels == own).nonzero()[:, 0]
        order = torch.randperm(len(images), generator=generator)
        further = torch.randint(1, classes, (len(images),), generator=generator)
        chosen = order[: round(settings.label_noise * len(images))]
        if settings.noise_kind == "symmetric":
            wrong[images[chosen]] = (own + further[chosen]) % classes
        elif own in PAIRS:
            wrong[images[chosen]] = PAIRS[own]
    return wrong
