"""Which runs a study of why it works has, and what is measured of their weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gnp.jobs import Wanted
from gnp.settings import snapshot_epochs
from gnp.settings.study import StudyError
from gnp.settings.why import GeometrySettings, LandscapeSettings, StepLengthSettings, WhySettings
from gnp.studies.grid import Point, Run

# What is said and drawn, but changes no measured number.
WORDS = {"name", "title", "note", "recipes", "overrides", "alpha", "epochs", "seeds", "line"}


@dataclass(frozen=True)
class Measurement:
    """What is measured at once: of a run's weights after an epoch, or of two runs'."""

    what: str
    runs: tuple[Run, ...]
    epoch: int
    settings: tuple[tuple[str, Any], ...] = ()  # of the study: all that its numbers depend on

    @property
    def name(self) -> str:
        methods = " to ".join(run.point.method for run in self.runs)
        return f"{self.what} of {methods}, seed {self.runs[0].seed}, after epoch {self.epoch}"


class WhySpec(WhySettings):
    """A study's settings, and what they make."""

    def points(self) -> list[Point]:
        return [Point(0.0 if alpha == 0 else self.r, alpha) for alpha in self.alpha]

    def run(self, point: Point, seed: int) -> Run:
        return Run(self.experiment, self.dataset, self.augmentation, point, seed)

    def runs(self) -> Iterator[Run]:
        """Seed by seed, so that a study that is stopped early has every α at least once."""
        for seed in self.seeds:
            for point in self.points():
                yield self.run(point, seed)

    def measurements(self) -> Iterator[Measurement]:
        for seed in self.seeds:
            for epoch in self.epochs:
                for point in self.points_at(epoch):
                    yield self.measurement(point, seed, epoch)

    def points_at(self, epoch: int) -> list[Point]:
        """At initialisation one stands for all: their weights are the seed's."""
        return self.points()[:1] if epoch == 0 else self.points()

    def measurement(self, point: Point, seed: int, epoch: int) -> Measurement:
        return self._measurement(self.measure, (self.run(point, seed),), epoch)

    def _measurement(
        self, what: str, runs: tuple[Run, ...], epoch: int, without: tuple[str, ...] = ()
    ) -> Measurement:
        left = set(type(self).model_fields) - WORDS - set(without)
        settings = sorted((name, value) for name, value in self.model_dump(include=left).items())
        return Measurement(what, runs, epoch, tuple((k, _hashable(v)) for k, v in settings))


class StepLengthSpec(StepLengthSettings, WhySpec):
    pass


class GeometrySpec(GeometrySettings, WhySpec):
    def measurement(self, point: Point, seed: int, epoch: int) -> Measurement:
        runs = (self.run(point, seed),)
        if seed in self.seeds[: self.curvature_seeds]:
            return self._measurement("geometry", runs, epoch, ("curvature_seeds",))
        curvature = ("curvature_seeds", "curvature_images", "eigenvalues", "trace_probes")
        return self._measurement("gradients", runs, epoch, curvature)


class LandscapeSpec(LandscapeSettings, WhySpec):
    of_line: ClassVar[tuple[str, ...]] = ("line_steps", "beyond", "test_images")
    of_directions: ClassVar[tuple[str, ...]] = ("directions", "reach", "steps")

    def measurements(self) -> Iterator[Measurement]:
        for seed in self.seeds:
            for point in self.points():
                yield self.measurement(point, seed, self.epochs[0])
            yield self.line_measurement(seed)

    def measurement(self, point: Point, seed: int, epoch: int) -> Measurement:
        return self._measurement("directions", (self.run(point, seed),), epoch, self.of_line)

    def line_measurement(self, seed: int) -> Measurement:
        ends = [Point(0.0 if alpha == 0 else self.r, alpha) for alpha in self.line]
        runs = tuple(self.run(point, seed) for point in ends)
        return self._measurement("line", runs, self.epochs[0], self.of_directions)


KINDS: dict[str, type[WhySpec]] = {
    "step_length": StepLengthSpec,
    "geometry": GeometrySpec,
    "landscape": LandscapeSpec,
}


def spec_class(composed: Any) -> type[WhySpec]:
    """The study that composed settings are of, by their ``measure``.

    Raises:
        StudyError: there is no such study.
    """
    measure = composed.get("measure") if isinstance(composed, Mapping) else None
    if not isinstance(measure, str) or measure not in KINDS:
        raise StudyError(f"why.measure={measure}: expected one of {', '.join(KINDS)}")
    return KINDS[measure]


def check_epochs(spec: WhySpec, wanted: Wanted) -> None:
    """Before anything is trained: will the runs keep the weights that are looked at?

    Raises:
        StudyError: they will not.
    """
    training = wanted(next(spec.runs()))["training"]
    kept = snapshot_epochs(training["epochs"], training["snapshot_every"])
    for epoch in spec.epochs:
        if epoch not in kept:
            has = ", ".join(map(str, kept)) or "none"
            raise StudyError(
                f"why {spec.name}: epochs has {epoch}, whose weights the runs do not keep (of "
                f"{training['epochs']} epochs they keep {has}); set training.snapshot_every in "
                f"why.overrides, or other epochs"
            )


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


__all__ = ["KINDS", "Measurement", "WhySpec", "check_epochs", "spec_class"]
