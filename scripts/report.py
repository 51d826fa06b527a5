"""Write a results root's index.html: every table, study, tuning and run, and links to its files.

    python scripts/report.py root=results

Reads what is there, trains and renders nothing; scripts/render_table.py and, with render_only=true,
parameter_study.py and tune.py render what the page leads to. Needs no torch.
"""

import sys
from pathlib import Path

from gnp.cli import add_root, argument_parser, run_script
from gnp.files import write_text
from gnp.report.index import index_page
from gnp.report.page import to_html
from gnp.report.series_page import INDEX


def main() -> int:
    parser = argument_parser(__doc__)
    add_root(parser, "outputs")
    root = Path(parser.parse_args().root)
    page = index_page(root)
    write_text(root / INDEX, to_html(page))
    print(page.summary)
    print(f"written: {root / INDEX}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
