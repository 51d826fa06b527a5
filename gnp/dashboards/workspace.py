"""The workspace and the report that show a root's runs in wandb, as code: ``wandb-workspaces``
makes the JSON that wandb keeps of them. Needs no key and no network."""

import json
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.expr import And, Metric

from gnp.dashboards.seen import Place, Seen

NUMBERS = ["best_epoch", "published_error", "difference_to_published", "fit_error", "parameters"]
ROWS = 24  # units of a panel grid are 24 to a row


def workspace(entity: str, project: str, name: str, seen: Seen) -> ws.Workspace:
    """All runs, grouped by cell: a line is the mean over seeds, its band their standard deviation.
    The sections are errors, other metrics, r × α, pictures, and what tables and studies made."""
    curves = [*seen.errors, "train_error", "train_loss"]
    sections = [
        ws.Section(
            name="Error and loss by epoch, mean over seeds ± standard deviation",
            panels=[by_epoch(metric, "Group") for metric in curves],
            is_open=True,
        ),
        ws.Section(
            name="Error after the last epoch",
            panels=[last_error(error, "Group") for error in seen.errors],
            is_open=True,
        ),
    ]
    if seen.further:
        panels = [by_epoch(metric, "Group") for metric in seen.further]
        sections.append(ws.Section(name="Further metrics", panels=panels, is_open=True))
    if grids := [place for place in seen.places if place.has_grid]:
        panels = [r_by_alpha(error) for error in sorted({place.error for place in grids})]
        sections.append(ws.Section(name="r × α", panels=panels, is_open=True))
    pictures = [wr.MediaBrowser(title="Augmentations", media_keys=["augmentation"], num_columns=2)]
    sections.append(ws.Section(name="Pictures and tables", panels=[*pictures, *of_series(seen)]))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group")],
            pinned_columns=[f"summary:{number}" for number in [*seen.errors, *NUMBERS]],
        ),
    )


def report(entity: str, project: str, name: str, seen: Seen, note: str) -> wr.Report:
    """A part for each place, in which its methods are compared, with a table of its runs below."""
    blocks: list[Any] = [wr.TableOfContents(), wr.P(note)]
    for place in seen.places:
        blocks += [wr.H2(place.title), _grid(place, seen)]
    if seen.series:
        of_kinds = And(Metric("JobType").isin(seen.kinds))
        made = wr.Runset(name=", ".join(seen.kinds), filters=of_kinds)
        grid = wr.PanelGrid(runsets=[made], panels=of_series(seen))
        blocks += [wr.H2("Tables and studies"), grid]
    return wr.Report(entity=entity, project=project, title=name, blocks=blocks, width="fluid")


def _grid(place: Place, seen: Seen) -> wr.PanelGrid:
    error = place.error
    of_place = wr.Runset(  # of the report's own project: another's would be asked for on the server
        name=place.title,
        filters=And(Metric("Group").isin(place.groups)),
        groupby=["config.method"],
        pinned_columns=[f"summary:{number}" for number in [error, f"best_{error}", *NUMBERS]],
    )
    metrics = [error, "train_error", *seen.further]
    panels = [by_epoch(metric, wr.Config("method")) for metric in metrics]
    panels.append(last_error(error, wr.Config("method")))
    if place.has_grid:
        panels.append(r_by_alpha(error))
    for number, panel in enumerate(panels):
        x, y = number % 2 * (ROWS // 2), number // 2 * 8
        panel.layout = wr.Layout(x=x, y=y, w=ROWS // 2, h=8)
    return wr.PanelGrid(runsets=[of_place], panels=panels)


def by_epoch(metric: str, group: Any) -> wr.LinePlot:
    return wr.LinePlot(
        title=f"{_words(metric)} by epoch",
        x="epoch",
        y=[metric],
        title_x="epoch",
        title_y=_words(metric),
        groupby=group,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        aggregate=True,
        smoothing_type="none",
        max_runs_to_show=100,
    )


def last_error(error: str, group: Any) -> wr.BarPlot:
    return wr.BarPlot(
        title=f"{_words(error)} after the last epoch, mean ± standard deviation",
        metrics=[error],
        groupby=group,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_bars_to_show=100,
    )


def r_by_alpha(error: str) -> wr.ScatterPlot:
    """A run a point: r across, α up, its error by colour."""
    return wr.ScatterPlot(
        title=f"{_words(error)} over r and α",
        x=wr.Config("optimizer.r"),
        y=wr.Config("optimizer.alpha"),
        z=wr.SummaryMetric(error),
        log_x=True,
        gradient=[
            wr.GradientPoint(color="#0072B2", offset=0),
            wr.GradientPoint(color="#D55E00", offset=100),
        ],
    )


def of_series(seen: Seen) -> list[Any]:
    """What the runs of tables, studies and tunings have: tables, pages and pictures."""
    shown: list[Any] = []
    for kind, table in (("tables", "table"), ("studies", "study"), ("tunings", "tuning")):
        if kind in seen.kinds:
            shown.append(wr.WeavePanelSummaryTable(table_name=table))
    if "tables" in seen.kinds:
        shown.append(wr.WeavePanelSummaryTable(table_name="comparisons"))
    if seen.kinds:
        keys = ["report", "differences", "curves", "heatmap", "figure", "trials"]
        shown.append(wr.MediaBrowser(title="Pages and figures", media_keys=keys, num_columns=1))
    return shown


def as_json(view: Any) -> Any:
    """What wandb would be sent of a workspace or a report, as plain containers."""
    return json.loads(view._to_model().model_dump_json(by_alias=True, exclude_none=True))


def _words(metric: str) -> str:
    return metric.replace("_", " ") + (" (%)" if metric.endswith("_error") else "")
