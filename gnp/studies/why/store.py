"""What was measured, on disk beside what shows it: measured once, shown as often as wanted."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gnp.files import storing, write_text
from gnp.jobs import FinishedRun
from gnp.settings.study import StudyError
from gnp.studies.why.spec import Measurement

FILE = "measured.jsonl"


class Store:
    """Measurements, a line each, by what they are of: the study's settings, the epoch, and the very
    records of the runs. One whose run was trained anew since is not found, and then replaced.

    Args:
        folder: the study's.

    Raises:
        StudyError: the file there is damaged.
    """

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self._known = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._path.exists():
            return {}
        try:
            with storing(self._path, "read"):
                lines = self._path.read_text(encoding="utf-8").split("\n")
                entries = [json.loads(line) for line in lines if line]
            return {_key(entry["of"]): entry for entry in entries}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StudyError(
                f"{self._path} cannot be read ({error}); delete it, and all is measured again"
            ) from error

    def find(self, measurement: Measurement, runs: Sequence[FinishedRun]) -> dict[str, Any] | None:
        """What was measured ("values"), by which code and on what ("made"); or None."""
        of = identity(measurement, runs)
        entry = self._known.get(_key(of))
        return entry if entry is not None and entry["of"] == of else None

    def add(
        self,
        measurement: Measurement,
        runs: Sequence[FinishedRun],
        values: Mapping[str, Any],
        made: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Returns the entry that ``find`` will find.

        Args:
            made: by which code, on what.
        """
        of = identity(measurement, runs)
        entry = {"of": of, "made": dict(made), "values": dict(values)}
        with suppress(StudyError):  # what another process has measured meanwhile stays
            self._known |= self._read()
        self._known[_key(of)] = entry
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in self._known.values()]
        write_text(self._path, "".join(lines))
        return entry


def identity(measurement: Measurement, runs: Sequence[FinishedRun]) -> dict[str, Any]:
    """All that the numbers depend on but the code."""
    return {
        "what": measurement.what,
        "epoch": measurement.epoch,
        "runs": {str(run.run.path): _record(run) for run in runs},
        "settings": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in measurement.settings
        },
    }


def _record(run: FinishedRun) -> str:
    """The summary's checksum, which covers the record's other files; of an older one its time."""
    return run.summary.get("sha256") or run.summary["finished"]


def _key(of: Mapping[str, Any]) -> str:
    return json.dumps({**of, "runs": list(of["runs"])}, sort_keys=True)
