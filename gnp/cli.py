"""What the scripts share: Hydra's entry with errors that a person can read."""

import ctypes
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from gnp.errors import UserError
from gnp.interruptions import raise_on_signals
from gnp.machine import refusal

FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130
PARENT_VARIABLE = "GNP_PARENT"  # process id of the table runner that started this process


def run_cli(
    main: Callable[[], None],
    setting_names: Callable[[], Iterable[str]],
    suggest: Callable[[str, Iterable[str]], str],
) -> int:
    """Call a ``@hydra.main`` function. Returns the exit status.

    Errors of the user (``UserError``, and what Hydra and OmegaConf refuse) and what the machine
    refuses (memory, files) are printed as one message; any other exception keeps its traceback.

    Args:
        main: the decorated function.
        setting_names: dotted names of the settings and config groups that exist.
        suggest: (name, candidates) → " Did you mean …?" or "".
    """
    die_with_parent()
    # Hydra then raises what it would otherwise print and turn into exit(1).
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.raiseExceptions = False  # a full disk behind stdout is no reason for tracebacks
    raise_on_signals()
    try:
        main()
    except UserError as error:
        return _complain(str(error), error.exit_status)
    except (HydraException, OmegaConfBaseException) as error:
        message = str(error).strip()
        if unknown := re.search(r"Could not override '([^']+)'", message):
            name = unknown[1]
            message = f"there is no setting {name!r}." + suggest(name, setting_names())
        elif isinstance(error, MissingConfigException) and error.missing_cfg_file:
            group, _, name = error.missing_cfg_file.partition("/")
            offered = [*(error.options or []), *_options_in_folders(group, message)]
            message = f"there is no {group} {name!r}; there are: {', '.join(offered)}."
            message += suggest(name, offered)
        return _complain(message, USAGE_ERROR)
    except KeyboardInterrupt:
        return _complain("stopped; the same command goes on from here", INTERRUPTED)
    except Exception as error:
        if (message := refusal(error)) is None:
            raise
        return _complain(message, FAILED)
    return 0


def command_line(script: str) -> str:
    """The command to be copied that gives ``script`` the settings of the Hydra job at work."""
    return shlex.join(["python", script, *HydraConfig.get().overrides.task])


def die_with_parent() -> None:
    """If a table runner started this process, end with it, however it ends (Linux).

    Without this, ``kill -9`` of the runner would leave its children training unwatched.
    """
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None or not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1  # <linux/prctl.h>
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def _options_in_folders(group: str, message: str) -> list[str]:
    """ "mini/vgg16" and the like: Hydra's own list has no choices that lie in folders.

    ``message`` is Hydra's, with the search path. A folder ``part`` holds pieces of choices.
    """
    names = []
    for root in re.findall(r"path=file://(.+)$", message, re.M):
        for file in sorted(Path(root, group).glob("*/*.yaml")):
            if file.parent.name != "part":
                names.append(f"{file.parent.name}/{file.stem}")
    return names


def _complain(message: str, status: int) -> int:
    # Where stdout or stderr is a full disk or a closed pipe, the exit status has to say it.
    for file, line in ((sys.stdout, ""), (sys.stderr, f"{_program()}: {message}\n")):
        try:
            file.write(line)
            file.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())  # for the flush at the end
    return status


def _program() -> str:
    return os.path.basename(sys.argv[0])
