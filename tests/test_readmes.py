"""Every link of a page in Markdown leads somewhere, and every script has its place there."""

import re
import subprocess

import pytest
from conftest import ROOT

PAGES = [
    line
    for line in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if not re.match(r"results/(tables|studies|tunings)/", line)  # made, and tested where they are
]


def headings(text):
    """As GitHub names them."""
    found = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text())
    for link in links:
        if re.match(r"https?:", link):
            continue
        place, _, heading = link.partition("#")
        target = (ROOT / page).parent / place if place else ROOT / page
        assert target.exists(), link
        if heading:
            assert heading in headings(target.read_text()), link


def test_the_readme_leads_to_a_page_beside_each_thing_it_describes():
    readme = (ROOT / "README.md").read_text()
    for room in ("scripts", "configs", "gnp", "gnp/optim", "results"):
        assert f"({room}/README.md" in readme
        assert f"{room}/README.md" in PAGES


def test_every_script_and_every_group_of_configs_is_named():
    scripts = (ROOT / "scripts/README.md").read_text()
    assert [f.name for f in (ROOT / "scripts").glob("*.py") if f.name not in scripts] == []
    configs = (ROOT / "configs/README.md").read_text()
    groups = [folder.name for folder in (ROOT / "configs").iterdir() if folder.is_dir()]
    assert [group for group in groups if f"`{group}" not in configs and group not in scripts] == []
