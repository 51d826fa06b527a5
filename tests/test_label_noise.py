"""Wrong training labels: how many, which ones, and nothing else."""

import pytest
import torch
from pydantic import ValidationError

from gnp.data import load_dataset
from gnp.data.label_noise import noisy
from gnp.data.sizes import sizes
from gnp.settings import ConfigError, DatasetSettings, validate
from gnp.training.run import folder_of, run

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CLASSES, EACH = 10, 200


def settings(**changes):
    given = {"name": "n", "source": "torchvision", "mean": [0.5] * 3, "std": [0.3] * 3}
    return DatasetSettings(**given | {"num_classes": CLASSES} | changes)


def labels(classes=CLASSES, each=EACH):
    every = torch.arange(classes).repeat(each)
    return every[torch.randperm(len(every), generator=torch.Generator().manual_seed(7))]


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8, 1.0])
def test_exactly_that_share_of_each_class_is_of_another_class(share):
    clean = labels()
    wrong = noisy(clean, settings(label_noise=share))
    for own in range(CLASSES):
        assert (wrong[clean == own] != own).sum() == share * EACH
    assert set(wrong.tolist()) == set(range(CLASSES))


def test_each_other_class_is_as_likely():
    clean = labels(each=9000)
    wrong = noisy(clean, settings(label_noise=0.5))
    for own in range(CLASSES):
        drawn = torch.bincount(wrong[clean == own], minlength=CLASSES)
        assert drawn[own] == 4500
        others = drawn[torch.arange(CLASSES) != own]
        # Of 4,500 draws 500 are expected of each, with a standard deviation of 21.
        assert (others - 500).abs().max() < 5 * 21


def test_pairs_are_those_of_the_literature_and_other_classes_stay_right():
    clean = labels()
    wrong = noisy(clean, settings(label_noise=0.3, noise_kind="pairs"))
    pairs = {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}
    for own, name in enumerate(CIFAR10):
        found = torch.bincount(wrong[clean == own], minlength=CLASSES)
        expected = torch.zeros(CLASSES, dtype=torch.int64)
        expected[own] = EACH
        if name in pairs:
            expected[own] -= 60
            expected[CIFAR10.index(pairs[name])] += 60
        assert found.tolist() == expected.tolist(), name


def test_the_seed_decides_which_and_a_larger_share_keeps_them():
    clean = labels()
    few, more = (noisy(clean, settings(label_noise=share)) for share in (0.2, 0.6))
    changed = few != clean
    assert torch.equal(more[changed], few[changed])
    torch.manual_seed(99)
    assert torch.equal(few, noisy(clean, settings(label_noise=0.2)))
    other = noisy(clean, settings(label_noise=0.2, noise_seed=1))
    assert not torch.equal(other != clean, changed)


def synthetic(**changes):
    given = {"source": "synthetic", "synthetic_train_per_class": 12}
    return settings(**given, synthetic_test_per_class=3, **changes)


def test_nothing_but_training_labels_changes():
    few = {"validation_per_class": 4, "train_per_class": 5}
    clean, wrong = (load_dataset(synthetic(label_noise=x, **few)) for x in (0.0, 0.4))
    assert torch.equal(clean.train.images, wrong.train.images)
    assert (clean.train.labels != wrong.train.labels).sum() == 20
    assert clean.evaluation.digest == wrong.evaluation.digest
    assert torch.equal(clean.evaluation.labels, wrong.evaluation.labels)
    test = load_dataset(synthetic(label_noise=0.4)).evaluation
    assert test.digest == load_dataset(synthetic()).evaluation.digest


def test_the_digest_is_of_the_labels_as_they_are_trained_on():
    digests = {
        load_dataset(synthetic(**changes)).digest
        for changes in ({}, {"label_noise": 0.4}, {"label_noise": 0.4, "noise_seed": 1})
    }
    assert len(digests) == 3
    assert load_dataset(synthetic(noise_seed=1)).digest in digests  # no noise, no difference


def test_images_are_counted_with_noise_too():
    assert sizes(settings(label_noise=0.4)) == (50_000, 10_000)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label_noise": 1.5}, "less than or equal to 1"),
        ({"label_noise": -0.1}, "greater than or equal to 0"),
        ({"label_noise": 0.4, "num_classes": 1}, "two classes at least"),
        (
            {"label_noise": 0.4, "noise_kind": "pairs", "num_classes": 100},
            "not of 100 classes; use",
        ),
        (
            {"label_noise": 0.4, "noise_kind": "pairs", "source": "synthetic"},
            "not of the synthetic ones; use",
        ),
    ],
)
def test_noise_that_cannot_be_is_refused(changes, reason):
    with pytest.raises(ValidationError, match=reason):
        settings(**changes)


def test_a_run_fits_its_wrong_labels_and_is_told_from_a_clean_one(tiny, tmp_path):
    here = [f"root={tmp_path}", "training.epochs=1"]
    noisy_config = tiny(*here, "dataset.label_noise=0.5")
    summary = run(noisy_config)
    assert (folder_of(noisy_config) / "config.yaml").read_text().count("label_noise: 0.5") == 1
    assert summary["evaluation_images"] == 40
    with pytest.raises(ValueError, match=r"dataset\.label_noise: 0\.5 recorded, 0\.0 wanted"):
        run(tiny(*here))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cifar10_noise40", "symmetric"),
        ("cifar10_10k_noise40", "symmetric"),
        ("cifar10_pairs40", "pairs"),
    ],
)
def test_noisy_data_sets_have_places_of_their_own(compose_train, name, kind):
    config = validate(compose_train([f"dataset={name}"]))
    assert (config.dataset.name, config.dataset.label_noise) == (name, 0.4)
    assert config.dataset.noise_kind == kind
    assert f"{name}-basic" in folder_of(config).parts


def test_a_misspelt_kind_is_refused_with_the_choices(compose_train):
    with pytest.raises(ConfigError, match="one of symmetric, pairs"):
        validate(compose_train(["dataset.noise_kind=asymmetric"]))
