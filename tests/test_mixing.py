"""Mixup and CutMix against the same done image by image."""

import pytest
import torch
from conftest import augmentation

from gnp.data.mixing import box_mask, cutmix, draw_weights, mix_labels, mixup

N, CLASSES = 7, 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch():
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    return torch.randn(N, 3, 32, 32, generator=seeded(3)), labels


PARTNER = torch.tensor([3, 1, 6, 0, 2, 5, 4])


def one_hot(label):
    return torch.eye(CLASSES)[label]


@pytest.mark.parametrize("draws", [1, N])
def test_mixup_is_the_weighted_mean_of_two_images_and_of_their_labels(draws):
    images, labels = batch()
    weights = torch.linspace(0, 1, N) if draws == N else torch.tensor([0.3])
    mixed = mixup(images, PARTNER, weights)
    targets = mix_labels(labels, PARTNER, weights, CLASSES)
    for i in range(N):
        w, j = weights[i % draws], PARTNER[i]
        torch.testing.assert_close(mixed[i], w * images[i] + (1 - w) * images[j])
        torch.testing.assert_close(
            targets[i], w * one_hot(labels[i]) + (1 - w) * one_hot(labels[j])
        )


@pytest.mark.parametrize("draws", [1, N])
def test_cutmix_pastes_a_box_and_weighs_labels_by_its_area_after_clipping(draws):
    images, _ = batch()
    weights = torch.tensor([0.0, 0.1, 0.5, 0.75, 0.99, 1.0, 0.4])[:draws]
    rows = torch.tensor([0, 31, 16, 5, 20, 8, 30])[:draws]
    columns = torch.tensor([0, 2, 16, 31, 12, 8, 1])[:draws]
    mixed, kept = cutmix(images, PARTNER, weights, rows, columns)
    assert kept.shape == (draws,)
    for i in range(N):
        k = i % draws
        half = int(0.5 * (1 - weights[k].item()) ** 0.5 * 32)
        expected, replaced = images[i].clone(), 0
        for y in range(max(0, rows[k] - half), min(32, rows[k] + half)):
            for x in range(max(0, columns[k] - half), min(32, columns[k] + half)):
                expected[:, y, x] = images[PARTNER[i], :, y, x]
                replaced += 1
        assert torch.equal(mixed[i], expected)
        assert kept[k].item() == pytest.approx(1 - replaced / 32**2)


def test_a_box_over_the_border_is_clipped():
    rows, columns = (
        (torch.tensor([-2]), torch.tensor([3])),
        (torch.tensor([30]), torch.tensor([40])),
    )
    mask = box_mask(rows, columns, 32, 32)
    assert mask.shape == (1, 1, 32, 32)
    assert mask.sum() == 3 * 2
    assert mask[0, 0, :3, 30:].all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("dominant", [False, True])
def test_weights_have_the_beta_distributions_mean_and_variance(alpha, dominant):
    weights = draw_weights(40_000, alpha, dominant, seeded())
    assert weights.dtype == torch.float32
    assert (weights.min() >= (0.5 if dominant else 0)) & (weights.max() <= 1)
    distance = (weights - 0.5).square().mean().item()  # the same for w and max(w, 1 − w)
    assert distance == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)
    if not dominant:
        assert weights.mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
@pytest.mark.parametrize("scope", ["image", "batch"])
@pytest.mark.parametrize("partner", ["permutation", "reversed"])
@pytest.mark.parametrize("dominant", [False, True])
def test_each_mixture_is_of_two_images_whose_labels_weigh_what_they_show(
    mixing, scope, partner, dominant
):
    n = 40
    labels = torch.arange(n)  # a class for each image, whose pixels are its number
    images = labels.float()[:, None, None, None].expand(n, 3, 32, 32)
    chosen = augmentation(
        mixing=mixing, mixing_scope=scope, mixing_partner=partner, mixing_dominant=dominant
    )
    mixed, targets = chosen.mix(images, labels, n, seeded())
    assert (targets.dtype, targets.shape) == (torch.float32, (n, n))
    torch.testing.assert_close(targets.sum(1), torch.ones(n))
    assert ((targets > 0).sum(1) <= 2).all()
    # The mean pixel is the mean label: the shares in the picture are those in the target.
    torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ labels.float())
    own = targets.diagonal()
    others = (targets - torch.diag(own)).argmax(1)
    blended = own < 1 - 1e-6
    if partner == "reversed":
        assert torch.equal(others[blended], (n - 1 - labels)[blended])
    weights = own[blended].unique() if mixing == "mixup" else own[blended]
    if mixing == "mixup":
        weights = (weights * 1e4).round().unique()
        assert len(weights) == 1 if scope == "batch" else len(weights) > n // 2
    if dominant:
        assert (own >= 0.5 - 1e-6).all()


def test_without_mixing_targets_are_the_labels_and_nothing_is_drawn():
    generator = seeded()
    before = generator.get_state()
    images, labels = batch()
    same, targets = augmentation().mix(images, labels, CLASSES, generator)
    assert same is images
    assert targets is labels
    assert torch.equal(generator.get_state(), before)
