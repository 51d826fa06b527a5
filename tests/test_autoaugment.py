"""AutoAugment of many images at once against torchvision's own, image by image with one draw."""

import math

import pytest
import torch
from torchvision.transforms import AutoAugment as TorchvisionsAutoAugment
from torchvision.transforms import AutoAugmentPolicy
from torchvision.transforms import functional as single
from torchvision.transforms.v2 import functional as v2

from gnp.data.autoaugment import AutoAugment, Draws
from gnp.data.policies import POLICIES
from gnp.settings import AugmentationSettings
from gnp.settings.section import choices_of

SETTINGS = [("cifar10", "cifar"), ("cifar10_95", "cifar"), ("cifar10_95", "imagenet")]


def images(n=4):
    """Smooth, of differing contrast: what the operations are made for. The last is constant."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randint(256, (n, 3, 8, 8), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    scale = torch.linspace(1, 0, n)[:, None, None, None]
    return (40 + scale * (smooth - 40)).round().clamp(0, 255).to(torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def torchvisions():
    return TorchvisionsAutoAugment(AutoAugmentPolicy.CIFAR10, fill=[128.0] * 3)


def test_the_25_sub_policies_are_torchvisions():
    if not hasattr(torchvisions(), "policies"):
        pytest.skip("this torchvision keeps its sub-policies elsewhere")
    assert list(POLICIES["cifar10"]) == torchvisions().policies


def test_the_95_sub_policies_turn_12_percent_of_the_images_grey_in_imagenets_unit():
    policy = POLICIES["cifar10_95"]
    assert len(policy) == 95
    kept = [
        math.prod(1 - p for name, p, level in pair if name.startswith("Translate") and level)
        for pair in policy
    ]
    assert 1 - sum(kept) / 95 == pytest.approx(0.1136, abs=1e-4)
    draws = AutoAugment("cifar10_95").draw(torch.zeros(8000, 3, 32, 32), seeded())
    out = AutoAugment("cifar10_95", "imagenet").apply(images(2)[:1].expand(8000, -1, -1, -1), draws)
    # Of one colour, for a second operation may change the grey; the rest is the policy's Cutout.
    grey = (out == out[:, :, :1, :1]).flatten(1).all(1).float().mean().item()
    assert grey == pytest.approx(0.120, abs=0.006)


@pytest.mark.parametrize("applied", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("sign", [0, 1])
def test_every_sub_policy_is_torchvisions_given_the_same_draw(applied, sign, monkeypatch):
    batch, n = images(), len(POLICIES["cifar10"])
    uniform = torch.tensor([1e-6 if a else 1 - 1e-6 for a in applied])
    draws = Draws(
        sub_policy=torch.arange(n).repeat_interleave(len(batch)),
        uniform=uniform.expand(n * len(batch), 2),
        negative=torch.full((n * len(batch), 2), sign == 0),
        centre=torch.zeros(n * len(batch), 2, dtype=torch.int64),
    )
    got = AutoAugment().apply(batch.repeat(n, 1, 1, 1), draws)
    assert got.dtype == torch.uint8
    theirs = torchvisions()
    # Both with the functions of v2, which round otherwise than those before: what is left is
    # torchvision's float32 magnitude, which lets a product of 10 become 9.999. The next test
    # compares each operation with the functions before v2.
    monkeypatch.setattr("torchvision.transforms.autoaugment.F", v2)
    for i in range(len(got)):
        chosen = int(draws.sub_policy[i])
        monkeypatch.setattr(
            theirs, "get_params", lambda _, k=chosen: (k, uniform, torch.tensor([sign, sign]))
        )
        expected = theirs(batch[i % len(batch)])
        off = (got[i].int() - expected.int()).abs().max()
        assert off <= sum(applied), POLICIES["cifar10"][chosen]


def pairs(policy, translate):
    """Every (operation, argument) of a policy, with both signs."""
    augment = AutoAugment(policy, translate)
    names = {(name, level) for pair in POLICIES[policy] for name, _, level in pair}
    return sorted(
        {(name, augment.argument(name, lv, sign, 32)) for name, lv in names for sign in (0, 1)}
    )


def one_image(image, policy, operation, argument, centre):
    """The operation with torchvision's functions for single images (not v2), or written out."""
    affine = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    affine["fill"] = [128.0] * 3
    degrees = math.degrees(math.atan(argument))
    if operation == "Cutout":
        out = image.clone()
        top, left = (max(0, int(c) - argument) for c in centre)
        out[:, top : int(centre[0]) + argument, left : int(centre[1]) + argument] = 128
        return out
    if operation == "Contrast" and policy == "cifar10_95":
        return (4 + argument * (image.double() - 4)).clamp(0, 255).to(torch.uint8)
    return {
        "AutoContrast": lambda: single.autocontrast(image),
        "Equalize": lambda: single.equalize(image),
        "Invert": lambda: single.invert(image),
        "Posterize": lambda: single.posterize(image, argument),
        "Solarize": lambda: single.solarize(image, argument),
        "Color": lambda: single.adjust_saturation(image, argument),
        "Brightness": lambda: single.adjust_brightness(image, argument),
        "Contrast": lambda: single.adjust_contrast(image, argument),
        "Sharpness": lambda: single.adjust_sharpness(image, argument),
        "Rotate": lambda: single.rotate(image, argument, fill=affine["fill"]),
        "TranslateX": lambda: single.affine(image, **affine | {"translate": [argument, 0]}),
        "TranslateY": lambda: single.affine(image, **affine | {"translate": [0, argument]}),
        "ShearX": lambda: single.affine(
            image, **affine | {"shear": [degrees, 0.0], "center": [0, 0]}
        ),
        "ShearY": lambda: single.affine(
            image, **affine | {"shear": [0.0, degrees], "center": [0, 0]}
        ),
    }[operation]()


@pytest.mark.parametrize(("policy", "translate"), SETTINGS)
def test_each_operation_on_a_batch_is_that_on_each_image(policy, translate):
    batch, centre = images(), torch.tensor([[16, 16], [0, 3], [31, 20], [5, 31]])
    augment = AutoAugment(policy, translate)
    for operation, argument in pairs(policy, translate):
        got = augment.transform(batch, operation, argument, centre)
        assert (got.shape, got.dtype) == (batch.shape, torch.uint8)
        for i in range(len(batch)):
            expected = one_image(batch[i], policy, operation, argument, centre[i])
            off = (got[i].int() - expected.int()).abs().max()
            assert off <= 1, (operation, argument, int(off))


@pytest.mark.parametrize(
    ("operation", "level", "expected"),
    [  # worked out by hand from ds_pipeline/autoaugment/autoaugment.py of the authors' code
        ("ShearY", 8, 0.24),
        ("Rotate", 7, 21.0),
        ("TranslateX", 8, 200),
        ("TranslateY", 0, 0),
        ("Color", 0, 0.1),
        ("Sharpness", 9, 1.72),
        ("Posterize", 7, 2),
        ("Solarize", 5, 128),
        ("Solarize", 0, 0),
        ("Cutout", 3, 30),
        ("Equalize", None, 0),
    ],
)
def test_arguments_of_the_authors_code(operation, level, expected):
    augment = AutoAugment("cifar10_95", "imagenet")
    signed = operation.startswith(("Shear", "Rotate", "Translate"))
    for negative in (False, True):
        wanted = -expected if signed and negative else expected
        assert augment.argument(operation, level, negative, 32) == pytest.approx(wanted)


@pytest.mark.parametrize(("policy", "translate"), SETTINGS)
def test_grouping_does_not_mix_up_images(policy, translate, monkeypatch):
    batch = images(200)
    augment = AutoAugment(policy, translate)
    draws = augment.draw(batch, seeded())
    monkeypatch.setattr("gnp.data.autoaugment.CHUNK", 3)  # groups of more than one piece
    together, before = augment.apply(batch, draws), batch.clone()
    assert torch.equal(batch, before)
    for i in range(len(batch)):
        own = Draws(*(getattr(draws, name)[i : i + 1] for name in Draws.__dataclass_fields__))
        assert torch.equal(augment.apply(batch[i : i + 1], own)[0], together[i])


def test_draws_are_of_each_image_and_have_the_policys_probabilities():
    n = 50_000
    draws = AutoAugment().draw(torch.zeros(n, 3, 32, 32, dtype=torch.uint8), seeded())
    share = draws.sub_policy.bincount(minlength=25) / n
    assert share.min() > 0.035
    assert share.max() < 0.045
    assert (draws.uniform < 0.7).float().mean(0).tolist() == pytest.approx([0.7, 0.7], abs=0.01)
    assert draws.negative.float().mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert [*draws.centre.amin(0), *draws.centre.amax(0)] == [0, 0, 31, 31]


def test_it_is_a_function_of_the_generators_state():
    batch, before = images(50), torch.get_rng_state()
    first, again, other = (AutoAugment()(batch, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_settings_policies_are_those_that_there_are():
    assert choices_of(AugmentationSettings.model_fields["autoaugment_policy"]) == tuple(POLICIES)
