"""The digests of data sets: ``python -m gnp.data SETTINGS``.

SETTINGS is a JSON list of the settings of data sets. Prints a list with each one's digest, or null
where its files are not there: nothing is downloaded.
"""

import json
import sys

from gnp.data.dataset import load_dataset
from gnp.data.errors import DataError
from gnp.settings import DatasetSettings, checked


def main() -> None:
    digests: list[str | None] = []
    for settings in json.loads(sys.argv[1]):
        try:
            here = checked(DatasetSettings, settings).as_it_is_here()
            digests.append(load_dataset(here).digest)
        except DataError:
            digests.append(None)
    print(json.dumps(digests))


if __name__ == "__main__":
    main()
