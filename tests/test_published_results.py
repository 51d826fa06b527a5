"""What results/ and the READMEs print is what the records in results/runs say."""

import re
from pathlib import PurePath
from urllib.parse import unquote

import pytest
import yaml
from conftest import CONFIGS, ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pages import check, rows, table_of, tree

from gnp import studies, tables
from gnp import tuning as tunings
from gnp.jobs import WantedConfigs
from gnp.report.files import csv_text
from gnp.report.markdown import paragraph
from gnp.settings import unrecorded
from gnp.studies import text as study_text
from gnp.studies.why import outputs as why_outputs
from gnp.studies.why import result as why_result
from gnp.studies.why import spec as why_spec
from gnp.tables import text as table_text
from gnp.tables.comparison_text import comparisons_csv, verdict_in_words
from gnp.tables.html import differences_picture
from gnp.tracking.compare import VOLATILE, flatten, without
from gnp.tuning import text as tuning_text
from gnp.tuning.recipe import to_experiment, to_table

RESULTS = ROOT / "results"
NUMBER = re.compile(r"\d+\.\d\d(?: ± \d+\.\d\d)?")


def published(kind):
    return sorted(folder.name for folder in (RESULTS / kind).iterdir())


def spec(script, group, name, kind):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose(script, [f"{group}={name}"])
    return kind.from_config(OmegaConf.to_container(composed[group], resolve=True))


@pytest.mark.parametrize("name", published("tables"))
def test_a_table_is_whole_and_what_its_records_say(name):
    wanted = spec("reproduce_table", "table", name, tables.TableSpec)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        configs = WantedConfigs(wanted, str(RESULTS))
        table = tables.collect(wanted, RESULTS, wanted=configs, unrecorded=unrecorded())
    folder = RESULTS / "tables" / name
    assert not table.missing
    assert not table.warnings
    assert table_text.to_csv(table) == (folder / "table.csv").read_text()
    assert comparisons_csv(table) == (folder / "comparisons.csv").read_text()
    printed = (folder / "table.md").read_text()
    assert wanted.note in printed
    markdown = table_text.to_markdown(table)
    for line in printed.splitlines():
        if line.startswith("|"):
            assert line in markdown
    for line in verdict_in_words(table).splitlines():
        assert line in printed


@pytest.mark.parametrize("name", published("tunings"))
def test_a_tuning_is_whole_and_chose_what_its_records_say(name):
    wanted = spec("tune", "tuning", name, tunings.TuningSpec)
    command = f"python scripts/tune.py tuning={name} root=results"
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        configs = WantedConfigs(wanted, str(RESULTS))
        tuning = tunings.collect(wanted, RESULTS, command, configs, unrecorded())
    assert not tuning.missing
    assert not tuning.warnings
    folder = RESULTS / "tunings" / name
    assert tuning_text.to_csv(tuning) == (folder / "tuning.csv").read_text()
    printed = (folder / "tuning.md").read_text()
    for line in tuning_text.to_markdown(tuning).splitlines():
        if line.startswith("|"):
            assert line in printed
    for note in tuning_text.notes(tuning):
        assert paragraph(note) in printed
    experiment = to_experiment(tuning)
    assert experiment == (folder / f"configs/experiment/tuned/{name}.yaml").read_text()
    assert to_table(tuning) == (folder / f"configs/table/tuned/{name}.yaml").read_text()
    kept = CONFIGS / f"experiment/tuned/{name}.yaml"
    assert not kept.exists() or kept.read_text() == experiment


WHY = {file.stem for file in (CONFIGS / "why").glob("*.yaml")}


@pytest.mark.parametrize("name", sorted({*published("studies")} & WHY))
def test_a_study_of_why_it_works_is_whole_and_what_was_measured_of_its_records(name):
    file = CONFIGS / "why" / f"{name}.yaml"
    wanted = why_spec.spec_class(yaml.safe_load(file.read_text()))
    wanted = spec("why_it_works", "why", name, wanted)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        configs = WantedConfigs(wanted, str(RESULTS))
        study = why_result.collect(wanted, RESULTS, "", configs, unrecorded())
    assert not study.missing
    assert not study.warnings
    assert not study.unmeasured
    folder = RESULTS / "studies" / name
    columns, lines = why_outputs.SHOWS[wanted.measure].table(study)
    assert csv_text(columns, lines) == (folder / "study.csv").read_text()
    printed = (folder / "study.md").read_text()
    for note in why_outputs.notes(study):
        assert paragraph(note) in printed


@pytest.mark.parametrize("name", sorted({*published("studies")} - WHY))
def test_a_study_is_whole_and_what_its_records_say(name):
    wanted = spec("parameter_study", "study", name, studies.StudySpec)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        configs = WantedConfigs(wanted, str(RESULTS))
        study = studies.collect(wanted, RESULTS, wanted=configs, unrecorded=unrecorded())
    assert not study.missing
    assert not study.warnings
    assert study_text.to_csv(study) == (RESULTS / "studies" / name / "study.csv").read_text()


def pages():
    return [RESULTS / "index.html", *sorted(RESULTS.glob("*/*/report.html"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(RESULTS)))
def test_a_page_keeps_its_promises_and_leads_to_what_is_published(page):
    """To no log, for example: those stay where they were written."""
    check(page)


def test_published_pages_were_checked_in_a_browser_and_nothing_was_found():
    """Those that there were: see the commit."""
    said, views, *of_pages, counted = (RESULTS / "checks/pages.txt").read_text().splitlines()
    assert re.fullmatch(r"Chromium \S+, axe-core \S+, commit [0-9a-f]{40}", said)
    assert {*of_pages} <= {f"results/{page.relative_to(RESULTS)}: 0 found" for page in pages()}
    assert re.findall(r"\d+", counted) == [str(len(of_pages)), *"000000"]
    assert views.startswith(f"{len(of_pages)} pages in ")


def test_the_index_has_every_run_and_every_page():
    page = tree(RESULTS / "index.html")
    outcomes = [
        path.relative_to(RESULTS)
        for name in ("summary.json", "diverged.json")
        for path in RESULTS.glob(f"runs/**/{name}")
    ]
    links = {PurePath(unquote(a.attrib["href"])) for a in page.iter("a")}
    assert len(rows(table_of(page, "Runs"))) == len(outcomes)
    assert {*outcomes} <= links
    assert {page.relative_to(RESULTS) for page in pages()[1:]} <= links


@pytest.mark.parametrize("name", published("tables"))
def test_a_published_figure_of_differences_is_what_its_records_say(name):
    table = tables.collect(spec("reproduce_table", "table", name, tables.TableSpec), RESULTS)
    drawn = differences_picture(table, alone=True)
    assert drawn == (RESULTS / "tables" / name / "differences.svg").read_text()


@pytest.mark.parametrize(("readme", "fewest"), [("README.md", 6), ("results/README.md", 18)])
def test_a_mean_in_a_readme_stands_in_a_published_table(readme, fewest):
    """Or in a tuning: every "12.34 ± 0.56", so that none outlives its records; those of the
    quickstart in what it printed."""
    files = [*RESULTS.glob("tables/*/table.md"), *RESULTS.glob("tunings/*/tuning.md")]
    files.append(RESULTS / "checks/quickstart.txt")
    known = " ".join(file.read_text() for file in files)
    means = [m for m in NUMBER.findall((ROOT / readme).read_text()) if "±" in m]
    assert len(means) >= fewest
    assert [m for m in means if m not in known] == []


def test_a_row_of_the_results_readme_has_the_numbers_of_its_model():
    """…and not those of another one."""
    rows = {}
    for file in (RESULTS / "tables").glob("*/table.md"):
        for model, numbers in _models(file.read_text()):
            rows.setdefault(model, set()).update(numbers)
    checked = 0
    for model, numbers in _models((RESULTS / "README.md").read_text()):
        if model in rows:
            assert set(numbers) <= rows[model], (model, numbers)
            checked += len(numbers)
    assert checked >= 18


def _models(markdown):
    """(model, numbers) of each table line; an empty first column continues the model above."""
    model = ""
    for line in markdown.splitlines():
        if line.startswith("|"):
            first, *others = (entry.strip() for entry in line.strip("|").split("|"))
            model = first or model
            yield model, NUMBER.findall(" ".join(others))


# The settings that some published record does not name, and what it was made with.
UNNAMED = {
    "fidelity": "paper",
    "training.evaluate_every": 1,
    "training.ema": None,
    "optimizer.penalty_start": 0.0,
    "optimizer.probability": 1.0,
    "optimizer.climb_only_norms": False,
    "optimizer.climb_along": "gradient",
    "dataset.label_noise": 0.0,
    "dataset.noise_kind": "symmetric",
    "dataset.noise_seed": 0,
    "augmentation.autoaugment": False,
    "augmentation.autoaugment_fill": 128,
    "augmentation.autoaugment_policy": "cifar10",
    "augmentation.autoaugment_translate": "cifar",
    "augmentation.box_area": 1.0,
    "augmentation.box_aspect": 4 / 3,
    "augmentation.mixing": None,
    "augmentation.mixing_alpha": 1.0,
    "augmentation.mixing_dominant": False,
    "augmentation.mixing_partner": "permutation",
    "augmentation.mixing_scope": "image",
    "augmentation.rotation": 0.0,
    "optimizer.adaptive": False,
    "optimizer.adaptive_eta": 0.01,
    "optimizer.batch_statistics": "first",
    "optimizer.decay_norms_and_biases": True,
    "optimizer.direction_every": 1,
    "optimizer.epsilon": 0.0,
    "optimizer.normalize_reference": False,
    "optimizer.penalty_warmup": "none",
    "optimizer.penalty_warmup_epochs": 0,
    "optimizer.reference_fraction": 1.0,
    "optimizer.replay_draws": True,
    "optimizer.true_gradient": False,
    "optimizer.weight_decay_in": "update",
    "training.drop_last": True,
    "training.lr_warmup_epochs": 0,
    "training.probe_every": 0,
    "training.schedule_every": "step",
    "training.sharpness_batch": None,
    "training.snapshot_every": 0,
    "training.train_metrics": "first",
}


def test_what_a_published_record_does_not_name_means_what_it_meant():
    """A default that is changed needs its old value as ``before`` in the setting's definition."""
    known = flatten(without(unrecorded(), VOLATILE))
    unnamed = set()
    for file in RESULTS.rglob("config.yaml"):
        unnamed |= known.keys() - flatten(yaml.safe_load(file.read_text())).keys()
    assert {name: known[name] for name in unnamed} == UNNAMED
