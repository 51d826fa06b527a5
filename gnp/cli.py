"""What the scripts share: Hydra's entry with errors that a person can read."""

import argparse
import atexit
import gc
import logging
import os
import shlex
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus

from gnp.errors import UserError
from gnp.interruptions import raise_on_signals
from gnp.machine import refusal as refusal_by_the_machine
from gnp.settings.overrides import inherited_search_path, parsed
from gnp.settings.refusals import Names, name_all_refused, refusal, refuse_dashes

# The last two are 128 + the signal, as shells have it.
FAILED, USAGE_ERROR, INTERRUPTED, READER_GONE = 1, 2, 130, 141


def run_cli(
    main: Callable[[], None],
    own: Callable[[], Iterable[str]],
    of_runs: Callable[[], Iterable[str]] = tuple,
    unread: Callable[[], Iterable[str]] = tuple,
) -> int:
    """Call a ``@hydra.main`` function. Returns the exit status.

    Errors of the user (``UserError``, and what Hydra, OmegaConf and YAML refuse) and what the
    machine refuses (memory, files) are printed as one message; any other exception keeps its
    traceback.

    Args:
        main: the decorated function.
        own, of_runs, unread: dotted names of settings and config groups, as ``Names`` has them.
    """
    # Hydra then raises what it would otherwise print and turn into exit(1).
    os.environ["HYDRA_FULL_ERROR"] = "1"
    JobReturn.return_value = property(_value_or_error, JobReturn.return_value.fset)
    name_all_refused()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.raiseExceptions = False  # a full disk behind stdout is no reason for tracebacks
    raise_on_signals()
    gc.freeze()  # what is imported stays: a collection need not look at it

    def names() -> Names:
        return Names(list(own()), list(of_runs()), list(unread()))

    def told() -> int:
        if any(argument.startswith("-") for argument in sys.argv[1:]):
            refuse_dashes(sys.argv[1:], names())
        try:
            main()
        except Exception as error:
            message = refusal(error, names())
            if message is None:
                raise
            return _complain(message, USAGE_ERROR)
        return 0

    return run_script(told)


def _value_or_error(job: JobReturn) -> Any:
    """What a job returned, or its error raised. Hydra's own, which this replaces, prints the whole
    command line before that."""
    if job.status is JobStatus.FAILED:
        raise job._return_value
    return job._return_value


def run_script(main: Callable[[], int]) -> int:
    """Call a script's function. Returns the exit status.

    An error of the user (``UserError``) or what the machine refuses is printed as one message;
    where the reader of the output is gone (``| head``), the script ends without one.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # what it holds already does not fit on a full disk
            stream.reconfigure(errors="backslashreplace")  # a terminal without ± shows \xb1
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _complain("stopped; the same command goes on from here", INTERRUPTED)
    except BrokenPipeError:
        _send_nowhere(sys.stdout)
        return READER_GONE
    except Exception as error:
        if (message := refusal_by_the_machine(error)) is None:
            raise
        return _complain(message, FAILED)
    return status


class _Paragraphs(argparse.HelpFormatter):
    """Prose in the terminal's width; what is indented, commands and lists, as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            part if part.startswith(" ") else textwrap.fill(part, width, break_on_hyphens=False)
            for part in text.strip("\n").split("\n\n")
        )


def argument_parser(about: str | None, usage: str | None = None) -> argparse.ArgumentParser:
    """Of a script that is not Hydra's; ``about`` is its docstring."""
    return argparse.ArgumentParser(description=about, usage=usage, formatter_class=_Paragraphs)


def add_root(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """The argument that names a results root, as ``results`` or as the other scripts have it,
    ``root=results``; with a default it may be left out."""
    parser.add_argument(
        "root",
        nargs=None if default is None else "?",
        default=default,
        metavar="root=FOLDER",
        help="a results root: the folder that has runs/ in it; root= may be left out"
        + (f" ({default})" if default else ""),
        type=lambda text: text.removeprefix("root="),
    )


def leave(status: int) -> NoReturn:
    """``sys.exit`` for a script that has imported torch, without taking everything apart first,
    which lasts up to a second: what is to be done at the end is done, and the rest goes with the
    process."""
    # As Python does: what pools registered to end their workers first (joblib's would be waited for
    # for ever), then the threads that are left.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a full disk, a closed pipe, a closed stream
            stream.flush()
    os._exit(status)


def command_line(script: str) -> str:
    """The command to be copied that gives ``script`` the settings of the Hydra job at work, and has
    it train what is missing, too."""
    given = [o for o in HydraConfig.get().overrides.task if not o.startswith("render_only=")]
    return shlex.join(["python", script, *given, *inherited_search_path()])


def same_command(without: Sequence[str], instead: Sequence[str]) -> list[str]:
    """The command line that is at work, with some settings replaced.

    Args:
        without: settings that are left out, and groups with all that is in them.
        instead: what comes in their place.
    """
    given = HydraConfig.get().overrides.task
    names = [one.key_or_group or "" for one in parsed(given)]
    kept = [o for o, name in zip(given, names, strict=True) if name.split(".")[0] not in without]
    script = str(Path(sys.argv[0]).resolve())
    return [sys.executable, script, *kept, *instead, *inherited_search_path()]


def _complain(message: str, status: int) -> int:
    # Where stdout or stderr is a full disk or a closed pipe, the exit status has to say it.
    for file, line in ((sys.stdout, ""), (sys.stderr, f"{_program()}: {message}\n")):
        try:
            file.write(line)
            file.flush()
        except OSError:
            _send_nowhere(file)
    return status


def _send_nowhere(file: IO[str]) -> None:
    """Python flushes once more when it ends; that must not meet the closed pipe or the full disk
    again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def _program() -> str:
    return os.path.basename(sys.argv[0])
