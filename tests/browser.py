"""Opens pages of reports in a headless browser, and says what is wrong with them.

pip install playwright && playwright install chromium && npm install axe-core
python tests/browser.py results/index.html results/tables/*/report.html --pictures /tmp/pictures
python tests/browser.py --write      all published pages, and results/checks/pages.txt

Widths of a phone, a tablet and a desk, light, dark and print. GNP_CHROMIUM names another Chromium
than playwright's, GNP_AXE the file axe.min.js of axe-core (without it: node_modules/axe-core). With
``--pictures`` each view is kept as a picture and the print as a PDF. Exit status 1: something is
wrong.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gnp.tracking import describe_environment

RESULTS = Path(__file__).resolve().parents[1] / "results"
OUTCOME = RESULTS / "checks/pages.txt"
# (name, width, colour scheme, medium); print has A4's width, landscape, less its margins.
VIEWS = (
    *((f"{width}-{scheme}", width, scheme, "screen") for width in (390, 768, 1280)
      for scheme in ("light", "dark")),
    ("print", 1030, "dark", "print"),
)  # fmt: skip
# What reaches beyond the paper or the window. A region that scrolls may be wider, but not in print.
TOO_WIDE = """(print) => {
  const width = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > width) found.push("the page");
  for (const box of document.querySelectorAll(".scroll, pre, figure"))
    if (print && box.scrollWidth > box.clientWidth + 1)
      found.push((box.getAttribute("aria-labelledby") || box.tagName) + " " + box.scrollWidth);
  return found;
}"""
# Text that runs out of what it stands in, or over other text. What a region that scrolls hides does
# not count. Lines have room between them: boxes of letters meet only where something is wrong.
OVERPRINTED = """() => {
  const found = new Set(), said = (text) => JSON.stringify(text.trim().slice(0, 60));
  for (const box of document.querySelectorAll("th, td, caption, p, h1, h2, h3, li, dt, dd, button"))
    if (box.clientWidth && box.scrollWidth > box.clientWidth + 1)
      found.add(`runs out of its ${box.tagName}: ${said(box.textContent)}`);
  const clips = new Map();
  const clip = (element) => {  // what is seen of the things in an element
    if (element === null) return [-Infinity, -Infinity, Infinity, Infinity];
    if (!clips.has(element)) {
      let [left, top, right, bottom] = clip(element.parentElement);
      if (getComputedStyle(element).overflow !== "visible") {
        const own = element.getBoundingClientRect();
        left = Math.max(left, own.left); right = Math.min(right, own.right);
        top = Math.max(top, own.top); bottom = Math.min(bottom, own.bottom);
      }
      clips.set(element, [left, top, right, bottom]);
    }
    return clips.get(element);
  };
  const boxes = [], range = document.createRange();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) {
    if (!text.data.trim()) continue;
    const [left, top, right, bottom] = clip(text.parentElement);
    range.selectNodeContents(text);
    for (const own of range.getClientRects()) {
      const box = { text, left: Math.max(left, own.left), right: Math.min(right, own.right),
                    top: Math.max(top, own.top), bottom: Math.min(bottom, own.bottom) };
      if (box.right - box.left > 1 && box.bottom - box.top > 1) boxes.push(box);
    }
  }
  boxes.sort((a, b) => a.top - b.top);
  boxes.forEach((a, i) => {
    for (let j = i + 1; j < boxes.length && boxes[j].top < a.bottom - 3; j++) {
      const b = boxes[j], width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      if (width > 2 && Math.min(a.bottom, b.bottom) - b.top > 3)
        found.add(`${said(a.text.data)} over ${said(b.text.data)}`);
    }
  });
  return [...found];
}"""
CHROMIUM = os.environ.get("GNP_CHROMIUM")
KINDS = {  # of what may be wrong → as it is counted
    "axe": "violations of axe-core's rules",
    "console": "console messages",
    "error": "errors of scripts",
    "request": "requests",
    "too wide": "things too wide",
    "overprinted": "texts over others or out of their boxes",
}


@dataclass(frozen=True)
class Complaint:
    file: Path
    view: str
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} ({self.view}): {self.kind}: {self.what}"


def axe() -> Path | None:
    """axe-core's script, if it is here."""
    file = Path(os.environ.get("GNP_AXE", "node_modules/axe-core/axe.min.js"))
    return file if file.is_file() else None


@contextmanager
def browser() -> Iterator:
    """Raises ImportError where playwright is not installed, and its Error without a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def opened(browser, file: Path, width: int = 1280, scheme: str = "light", script: bool = True):
    """(page, complaints) of a file: (kind, what) its console says, its errors, and what it asks
    for."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
    )
    page, complaints, own = context.new_page(), [], file.resolve().as_uri()
    page.on("console", lambda message: complaints.append(("console", message.text)))
    page.on("pageerror", lambda error: complaints.append(("error", str(error))))
    page.on("request", lambda request: request.url.startswith((own, "data:"))
            or complaints.append(("request", request.url)))  # fmt: skip
    page.goto(own)
    try:
        yield page, complaints
    finally:
        context.close()


def wrong_with(browser, file: Path, pictures: Path | None = None) -> list[Complaint]:
    """All that is wrong with a page, in any view."""
    found = []
    for name, width, scheme, medium in VIEWS:
        with opened(browser, file, width, scheme) as (page, complaints):
            page.emulate_media(media=medium, color_scheme=scheme)
            wide = page.evaluate(TOO_WIDE, medium == "print")
            complaints += [("too wide", what) for what in wide]
            complaints += [("overprinted", what) for what in page.evaluate(OVERPRINTED)]
            if (script := axe()) is not None:
                page.evaluate(script.read_text())
                violations = _violations(page.evaluate("axe.run()"))
                complaints += [("axe", what) for what in violations]
            if pictures is not None:
                _keep(page, pictures, f"{file.parent.name}-{file.stem}-{name}", medium)
            found += [Complaint(file, name, *complaint) for complaint in complaints]
    return found


def _violations(result: dict) -> Iterator[str]:
    for violation in result["violations"]:
        node = violation["nodes"][0]
        yield (
            f"{violation['id']}: {violation['help']} ({len(violation['nodes'])}×, such as "
            f"{node['html'][:200]}; {' '.join(node['failureSummary'].split())[:300]})"
        )


def _keep(page, pictures: Path, name: str, medium: str) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=pictures / f"{name}.png", full_page=True)
    if medium == "print":
        page.pdf(path=pictures / f"{name}.pdf", prefer_css_page_size=True)


def published() -> list[Path]:
    """The index and all reports, as paths from where the command is given."""
    pages = [RESULTS / "index.html", *sorted(RESULTS.glob("*/*/report.html"))]
    return [Path(os.path.relpath(page)) for page in pages]


def checked(browser, pages: Sequence[Path], pictures: Path | None) -> Iterator[str | Complaint]:
    """Lines as they come in: by what, each page, all that is wrong, and how much of each kind."""
    code = describe_environment("cpu")["code"]
    changes = " and changes" if code["modified"] else ""
    yield f"Chromium {browser.version}, {_axe_version(browser)}, commit {code['commit']}{changes}"
    views = ", ".join(name for name, *_ in VIEWS)
    yield f"{len(pages)} pages in {len(VIEWS)} views each (width and colour scheme): {views}"
    found: list[Complaint] = []
    for page in pages:
        found += (own := wrong_with(browser, page, pictures))
        yield f"{page}: {len(own)} found"
    yield from found
    counts = [sum(one.kind == kind for one in found) for kind in KINDS]
    counted = ", ".join(f"{n} {name}" for n, name in zip(counts, KINDS.values(), strict=True))
    yield f"{len(pages)} pages: {counted}"


def _axe_version(browser) -> str:
    if (script := axe()) is None:
        return "no axe.min.js: accessibility is not checked"
    page = browser.new_page()
    page.evaluate(script.read_text())
    version = page.evaluate("axe.version")
    page.close()
    return f"axe-core {version}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write {OUTCOME.name}")
    arguments = parser.parse_args()
    if bool(arguments.pages) == arguments.write:
        parser.error("name pages, or --write for all published ones")
    if arguments.write and axe() is None:
        parser.error("--write needs axe-core: GNP_AXE names its axe.min.js")
    lines = []
    with browser() as launched:
        pages = arguments.pages or published()
        for line in checked(launched, pages, arguments.pictures):
            lines.append(line)
            print(line, flush=True)
    if arguments.write:
        OUTCOME.write_text("".join(f"{line}\n" for line in lines))
    return int(any(isinstance(line, Complaint) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
