"""Make the workspace and the report that show a root's runs in wandb.

    python scripts/wandb_dashboard.py outputs > dashboard.json
    python scripts/wandb_dashboard.py outputs --entity me --project gnp --save

Prints them as JSON; with --save they are made on the server (a new workspace view and a new report
each time), for which wandb's key is needed, and runs that `scripts/wandb_export.py` or a mirror has
brought there. Which panels there are follows from the records. Needs wandb-workspaces:
pip install -e '.[dashboard]'.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from gnp.cli import add_root, argument_parser, run_script
from gnp.dashboards.seen import seen_in
from gnp.errors import UserError
from gnp.tracking.ahead import read_ahead
from gnp.tracking.reading import DamagedRecord, read_finished
from gnp.tracking.wandb_names import PROJECT, has_key

NOTE = (
    "Mean over seeds, bands ± one standard deviation; errors in %. Which of the differences are "
    "decided is said by the table's report, not by these curves."
)


class NoWorkspaces(UserError):
    """The optional package is not installed, or there is no key to save with."""


def main() -> int:
    arguments = parse_arguments()
    try:
        from gnp.dashboards.workspace import as_json, report, workspace
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "wandb_workspaces":
            raise
        raise NoWorkspaces("wandb-workspaces is missing: pip install -e '.[dashboard]'") from error
    if arguments.save and not has_key():
        raise NoWorkspaces(
            "there is no API key to save with: run `wandb login` or set WANDB_API_KEY, or leave "
            "--save out for the JSON"
        )
    records, complaints = [], []
    folders = [file.parent for file in sorted(Path(arguments.root, "runs").glob("**/summary.json"))]
    read_ahead(folders)
    for folder in folders:
        try:
            records.append(read_finished(folder))
        except DamagedRecord as error:
            complaints.append(f"{error}; it is left out")
    for complaint in complaints:
        print(f"wandb_dashboard.py: {complaint}", file=sys.stderr)
    seen = seen_in([record for record in records if record is not None], Path(arguments.root))
    if not seen.places:
        print(f"wandb_dashboard.py: no finished runs below {arguments.root}/runs", file=sys.stderr)
        return 2
    entity, project = arguments.entity or "", arguments.project
    views = {
        "workspace": workspace(entity, project, arguments.name, seen),
        "report": report(entity, project, arguments.name, seen, NOTE),
    }
    if arguments.save:
        for kind, view in views.items():
            print(f"{kind}: {view.save().url}")
    else:
        print(json.dumps({k: as_json(view) for k, view in views.items()}, indent=2))
    return 1 if complaints else 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    given = os.environ.get
    add_root(parser)
    parser.add_argument(
        "--entity", default=given("WANDB_ENTITY"), help="user or team (default WANDB_ENTITY)"
    )
    parser.add_argument(
        "--project",
        default=given("WANDB_PROJECT") or PROJECT,
        help="where the runs are (default WANDB_PROJECT, else gnp)",
    )
    parser.add_argument("--name", default="GNP", help="of the workspace and the report")
    parser.add_argument("--save", action="store_true", help="make them on the server")
    arguments = parser.parse_args()
    if arguments.save and not arguments.entity:
        parser.error("--save needs --entity, or the variable WANDB_ENTITY")
    return arguments


if __name__ == "__main__":
    sys.exit(run_script(main))
