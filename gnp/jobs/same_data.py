"""Whether finished runs were trained on the images and labels that are loaded now."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from gnp.errors import UserError

COMMAND = (sys.executable, "-m", "gnp.data")


class DataUnknown(UserError):
    """The digests of the data could not be computed."""


class DataDigests:
    """The digests of data sets as they are now. They are computed while this process does other
    things, in a process of its own: what reads records needs no torch.

    A context; what is not finished at its end is given up.

    Args:
        datasets: settings of data sets, resolved; each may come several times.
    """

    def __init__(self, datasets: Iterable[Mapping[str, Any]]):
        self._names = list(dict.fromkeys(json.dumps(dataset) for dataset in datasets))
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "DataDigests":
        if self._names:
            self._process = subprocess.Popen(
                [*COMMAND, f"[{','.join(self._names)}]"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def of(self, dataset: Mapping[str, Any]) -> str | None:
        """The digest of one of them; None where its files are not there: they cannot be compared,
        and a record does not need them to be shown. None for others, too: of a run that another
        process finished meanwhile.

        Raises:
            DataUnknown: says why.
        """
        return self._computed.get(json.dumps(dataset))

    @cached_property
    def _computed(self) -> dict[str, str | None]:
        if self._process is None:
            return {}
        printed, complaints = self._process.communicate()
        if self._process.returncode != 0:
            reason = (complaints.strip() or "it printed nothing").splitlines()[-1]
            raise DataUnknown(f"the data cannot be compared with those of the records: {reason}")
        return dict(zip(self._names, json.loads(printed), strict=True))
