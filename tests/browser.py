"""Opens pages of reports in a headless browser, and says what is wrong with them.

pip install playwright && playwright install chromium && npm install axe-core
python tests/browser.py results/index.html results/tables/*/report.html --pictures /tmp/pictures

Widths of a phone and of a desk, light, dark and print. GNP_CHROMIUM names another Chromium than
playwright's, GNP_AXE the file axe.min.js of axe-core (without it: node_modules/axe-core). With
``--pictures`` each view is kept as a picture and the print as a PDF. Exit status 1: something is
wrong.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# (name, width, colour scheme, medium); print has A4's width, landscape, less its margins.
VIEWS = (
    *((f"{width}-{scheme}", width, scheme, "screen") for width in (390, 1280)
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
    """(page, complaints) of a file: what its console says, its errors, and what it asks for."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
    )
    page, complaints, own = context.new_page(), [], file.resolve().as_uri()
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("request", lambda request: request.url.startswith((own, "data:"))
            or complaints.append(f"request: {request.url}"))  # fmt: skip
    page.goto(own)
    try:
        yield page, complaints
    finally:
        context.close()


def wrong_with(browser, file: Path, pictures: Path | None = None) -> list[str]:
    """A line for each thing that is wrong with a page, in any view."""
    found = []
    for name, width, scheme, medium in VIEWS:
        with opened(browser, file, width, scheme) as (page, complaints):
            page.emulate_media(media=medium, color_scheme=scheme)
            wide = page.evaluate(TOO_WIDE, medium == "print")
            complaints += [f"too wide: {what}" for what in wide]
            complaints += [f"overprinted: {what}" for what in page.evaluate(OVERPRINTED)]
            if (script := axe()) is not None:
                page.evaluate(script.read_text())
                complaints += _violations(page.evaluate("axe.run()"))
            if pictures is not None:
                _keep(page, pictures, f"{file.parent.name}-{file.stem}-{name}", medium)
            found += [f"{file} ({name}): {complaint}" for complaint in complaints]
    return found


def _violations(result: dict) -> Iterator[str]:
    for violation in result["violations"]:
        node = violation["nodes"][0]
        yield (
            f"axe: {violation['id']}: {violation['help']} ({len(violation['nodes'])}×, such as "
            f"{node['html'][:200]}; {' '.join(node['failureSummary'].split())[:300]})"
        )


def _keep(page, pictures: Path, name: str, medium: str) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=pictures / f"{name}.png", full_page=True)
    if medium == "print":
        page.pdf(path=pictures / f"{name}.pdf", prefer_css_page_size=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    if axe() is None:
        print("browser.py: no axe.min.js: accessibility is not checked", file=sys.stderr)
    with browser() as launched:
        found = []
        for page in arguments.pages:
            found += (own := wrong_with(launched, page, arguments.pictures))
            print(f"{page}: {len(own)} found in {len(VIEWS)} views")
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
