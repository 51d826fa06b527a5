"""One measurement after the other."""

from collections.abc import Mapping, Sequence
from typing import Any

from gnp.jobs import FinishedRun, Wanted
from gnp.settings import RuntimeSettings
from gnp.studies.why.measuring import geometry, landscape, step_length
from gnp.studies.why.measuring.looked_at import Looks
from gnp.studies.why.spec import Measurement
from gnp.tracking import describe_environment
from gnp.training.device import device_name, prepare_device


class Measurer:
    """Args:
    device: as the setting.
    wanted: run → its config, with today's places of data.
    """

    def __init__(self, device: str, wanted: Wanted):
        self._looks, self._wanted = Looks(device), wanted
        named = device_name(prepare_device(RuntimeSettings(device=device)))
        whole = describe_environment(named)
        self.made: Mapping[str, Any] = {
            name: whole[name] for name in ("code", "packages", "processor", "device")
        }

    def __call__(self, measurement: Measurement, runs: Sequence[FinishedRun]) -> dict[str, Any]:
        """Raises:
        CheckpointError, ConfigMismatch, DataError: as ``Looks.looking``.
        """
        settings, epoch = dict(measurement.settings), measurement.epoch
        end = None
        if measurement.what == "line":
            with self._looking(runs[1], epoch) as look:
                end = [p.detach().clone() for p in look.loss([]).params]
        with self._looking(runs[0], epoch) as look:
            if measurement.what == "step_length":
                return step_length.measure(look, epoch, settings)
            if measurement.what == "directions":
                return landscape.measure_directions(look, settings)
            if end is not None:
                return landscape.measure_line(look, end, settings)
            return geometry.measure(look, epoch, settings)

    def _looking(self, run: FinishedRun, epoch: int):
        return self._looks.looking(run, self._wanted(run.run), epoch)
