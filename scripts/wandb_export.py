"""Make wandb runs of all finished records below a root, whether they were mirrored or not.

    python scripts/wandb_export.py outputs
    python scripts/wandb_export.py results --project gnp-paper --mode online

Each run has its epochs, the summary (last and best epoch, published value, parameters), tables of
its epochs and classes, a picture of its augmentation, and its predictions as an artifact; tables,
studies and tunings of the root are runs of their own. All lie in ROOT/wandb: `wandb leet
ROOT/wandb` shows them in the terminal, `wandb sync ROOT/wandb` sends them. Ids follow from the
records, so that the same command again replaces what it made. wandb's variables (WANDB_PROJECT,
WANDB_ENTITY, WANDB_MODE, …) count where an option is not given.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import track

from gnp.cli import add_root, argument_parser, run_script
from gnp.dashboards.export import Export, folders_of_series
from gnp.dashboards.known import Known, known_cells
from gnp.settings import DatasetSettings, WandbSettings
from gnp.settings.messages import ConfigError, checked
from gnp.tables import TableSpec
from gnp.tracking.ahead import read_ahead
from gnp.tracking.reading import DamagedRecord, read_finished
from gnp.tracking.wandb_names import folder_of_runs

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def main() -> int:
    arguments = parse_arguments()
    names = ("mode", "project", "entity", "group", "notes")
    given = {name: getattr(arguments, name) for name in names}
    settings = checked(WandbSettings, {**given, "tags": arguments.tags})
    folders = [file.parent for file in sorted(Path(arguments.root, "runs").glob("**/summary.json"))]
    if not folders:
        print(f"wandb_export.py: no finished runs below {arguments.root}/runs", file=sys.stderr)
        return 2
    export = Export(Path(arguments.root), settings)  # refuses before anything is read
    read_ahead(folders)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        export.known = known_in_tables()
        pictures = None if arguments.no_pictures else pictures_of_data()
        if pictures is not None:
            export.picture_of = pictures
        make(export, folders)
    missing = pictures.failed if pictures is not None else {}
    for name, reason in missing.items():
        print(f"no pictures of {name}: {reason}", file=sys.stderr)
    for complaint in export.complaints:
        print(f"wandb_export.py: {complaint}", file=sys.stderr)
    print(f"{len(export.done)} runs, {export.mode}: {folder_of_runs(arguments.root)}")
    if export.mode == "offline":
        print(f"look at them: wandb leet {folder_of_runs(arguments.root)}")
        print(f"send them:    wandb sync {folder_of_runs(arguments.root)}")
    return 1 if export.complaints else 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_root(parser)
    parser.add_argument(
        "--mode",
        choices=["offline", "online"],
        help="where they are made: here or on the server (default WANDB_MODE, else offline)",
    )
    parser.add_argument("--project", help="that they belong to (default WANDB_PROJECT, else gnp)")
    parser.add_argument("--entity", help="user or team (default WANDB_ENTITY, else your own)")
    parser.add_argument(
        "--group", help="of all runs (default WANDB_RUN_GROUP, else each run's place less its seed)"
    )
    parser.add_argument("--notes", help="a text that each run has (default WANDB_NOTES)")
    parser.add_argument(
        "--tags",
        nargs="+",
        default=[],
        help="further ones, beside the tables' names (default WANDB_TAGS)",
    )
    parser.add_argument(
        "--no-pictures",
        action="store_true",
        help="none of augmentations: needs neither data nor torch",
    )
    return parser.parse_args()


def make(export: Export, folders: list[Path]) -> None:
    console = Console()
    bar = {"console": console, "disable": not console.is_terminal, "transient": True}
    for folder in track(folders, "records", **bar):
        try:
            record = read_finished(folder)
        except DamagedRecord as error:
            export.complaints.append(f"{error}; it is left out")
            continue
        if record is not None:
            export.record(record)
    for folder in folders_of_series(export.root):
        export.series(folder)


def known_in_tables() -> dict[str, Known]:
    specs = []
    for file in sorted((CONFIGS / "table").rglob("*.yaml")):
        choice = file.relative_to(CONFIGS / "table").with_suffix("").as_posix()
        if choice.startswith("part/"):  # of tables, which compose them
            continue
        composed = compose("reproduce_table", [f"table={choice}"])
        specs.append(TableSpec.from_config(composed["table"]))
    return known_cells(specs, [file.stem for file in (CONFIGS / "fidelity").glob("*.yaml")])


def pictures_of_data() -> Any:
    """Of the data sets of configs/dataset, in the places that these name."""
    from gnp.dashboards.pictures import Pictures

    return Pictures(dataset_settings)


def dataset_settings(name: str) -> DatasetSettings:
    """Raises:
    ConfigError: no file of configs/dataset has this name.
    """
    if not (CONFIGS / "dataset" / f"{name}.yaml").exists():
        raise ConfigError(f"there is no configs/dataset/{name}.yaml that says where its images are")
    composed = compose("train", [f"dataset={name}"])
    plain = OmegaConf.to_container(composed["dataset"], resolve=True)
    return checked(DatasetSettings, plain).as_it_is_here()


if __name__ == "__main__":
    sys.exit(run_script(main))
