"""What the scripts share: Hydra's entry with errors that a person can read."""

import atexit
import gc
import logging
import os
import re
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gnp.errors import UserError
from gnp.interruptions import raise_on_signals
from gnp.machine import refusal as refusal_by_the_machine
from gnp.settings.dataset import no_such
from gnp.settings.overrides import inherited_search_path, parsed

# The last two are 128 + the signal, as shells have it.
FAILED, USAGE_ERROR, INTERRUPTED, READER_GONE = 1, 2, 130, 141
COMPOSING = ("hydra", "omegaconf", "antlr4", "yaml")  # packages that read what the user wrote


def run_cli(
    main: Callable[[], None],
    setting_names: Callable[[], Iterable[str]],
    suggest: Callable[[str, Iterable[str]], str],
) -> int:
    """Call a ``@hydra.main`` function. Returns the exit status.

    Errors of the user (``UserError``, and what Hydra, OmegaConf and YAML refuse) and what the
    machine refuses (memory, files) are printed as one message; any other exception keeps its
    traceback.

    Args:
        main: the decorated function.
        setting_names: dotted names of the settings and config groups that exist.
        suggest: (name, candidates) → " Did you mean …?" or "".
    """
    # Hydra then raises what it would otherwise print and turn into exit(1).
    os.environ["HYDRA_FULL_ERROR"] = "1"
    JobReturn.return_value = property(_value_or_error, JobReturn.return_value.fset)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.raiseExceptions = False  # a full disk behind stdout is no reason for tracebacks
    raise_on_signals()
    gc.freeze()  # what is imported stays: a collection need not look at it

    def told() -> int:
        _refuse_dashes(setting_names, suggest)
        try:
            main()
        except Exception as error:
            message = refusal(error, setting_names, suggest)
            if message is None:
                raise
            return _complain(message, USAGE_ERROR)
        return 0

    return run_script(told)


def _refuse_dashes(
    setting_names: Callable[[], Iterable[str]], suggest: Callable[[str, Iterable[str]], str]
) -> None:
    """``--epochs 3`` is no option of Hydra's; its own words for that are its usage.

    Raises:
        UserError: there is such an argument; says how the setting is written.
    """
    given = sys.argv[1:]
    _, unknown = get_args_parser().parse_known_args(given)
    if not (options := [one for one in unknown if one.startswith("-")]):
        return
    name, has_value, value = options[0].lstrip("-").replace("-", "_").partition("=")
    after = given[given.index(options[0]) + 1 :][:1]
    if not has_value and after and "=" not in after[0] and not after[0].startswith("-"):
        value = after[0]
    known = list(setting_names())
    ending = [setting for setting in known if setting.split(".")[-1] == name]
    if name in known or len(ending) == 1:
        meant = f"{name if name in known else ending[0]}={value or '…'}"
        raise WrongOption(f"{options[0]}: settings have no dashes; write {meant}")
    raise WrongOption(
        f"there is no option {options[0]}, and settings have no dashes: name=value; --help lists "
        f"them.{suggest(name, known)}"
    )


class WrongOption(UserError):
    """An argument with a dash that no script has."""


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


def refusal(
    error: Exception,
    setting_names: Callable[[], Iterable[str]],
    suggest: Callable[[str, Iterable[str]], str],
) -> str | None:
    """What Hydra, OmegaConf or YAML refuse, as one message; None for another error."""
    message = str(error).strip()
    if unknown := re.search(r"Could not override '([^']+)'", message):
        # A name that has a quote in it ends there in the message, but not in its cause; the cause
        # in turn ends where the config does.
        name = max(unknown[1], str(getattr(error.__cause__, "full_key", "")), key=len)
        return _unknown(name, error, setting_names, suggest)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_choice(error.missing_cfg_file, message, error.options or [], suggest)
    if isinstance(error, OverrideParseException):
        reason = " ".join(message.split("\nSee ")[0].split())
        return f"{error.override}: Hydra cannot read this setting ({reason}); {_in_quotes(error)}"
    if isinstance(error, HydraException | OmegaConfBaseException | YAMLError):
        return message
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [frame.f_globals.get("__name__", "").split(".")[0] for frame in frames]
    known = [package for package in packages if package in (*COMPOSING, "gnp", "__main__")]
    if not known or known[-1] not in COMPOSING:
        return None
    # Their own ValueError and the like do not say which setting it was; their frames do.
    overrides = [
        frame.f_locals["override"].input_line
        for frame in frames
        if hasattr(frame.f_locals.get("override"), "input_line")
    ]
    if overrides and "Config group override must be" in message:
        name = overrides[-1].partition("=")[0]
        message = f"{name} is one of the choices that --help lists; leave it out for the default"
    return f"{overrides[-1]}: {message}" if overrides else message


def _in_quotes(error: OverrideParseException) -> str:
    """How a list of settings, or another value that Hydra cannot read, is written."""
    name, _, value = error.override.partition("=")
    if value.startswith("[") and value.endswith("]") and "=" in value and "'" not in value:
        entries = ",".join(f"'{entry.strip()}'" for entry in value[1:-1].split(","))
        return f'each entry takes quotes, and the whole those of the shell: "{name}=[{entries}]"'
    return "put quotes round its value, inside those of the shell: 'name=\"value\"'"


def _no_choice(
    missing: str, message: str, listed: Sequence[str], suggest: Callable[[str, Iterable[str]], str]
) -> str:
    """A choice may lie in a folder of its group (experiment/mini/vgg16), as may a group."""
    parts = missing.split("/")
    for length in range(1, len(parts)):
        group, name = "/".join(parts[:length]), "/".join(parts[length:])
        if known := _options(group, message, listed if length == len(parts) - 1 else []):
            choices = f"there are: {', '.join(known)}."
            return f"there is no {group} {name!r}; {choices}{suggest(name, known)}"
    return f"there is no config {missing!r}"


def _unknown(
    name: str,
    error: Exception,
    setting_names: Callable[[], Iterable[str]],
    suggest: Callable[[str, Iterable[str]], str],
) -> str:
    known = list(setting_names())
    section, _, key = name.rpartition(".")
    if name not in known:
        return f"there is no setting {name!r}.{suggest(name, known)}"
    # It is a setting, but not one of what is composed here.
    node = getattr(error.__cause__, "parent_node", None)
    if section == "dataset" and node is not None:
        return no_such(node.get("source"), key)
    return f"{name!r} is not in this config; add it with a plus sign: +{name}=…"


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


def _options(group: str, message: str, listed: Iterable[str]) -> list[str]:
    """The choices of a group, with "mini/vgg16" and the like: Hydra's own list has none that lie in
    folders. A folder ``part`` holds pieces of choices.

    Args:
        message: Hydra's, with the search path.
        listed: those that Hydra lists.
    """
    names = list(listed)
    for root in re.findall(r"path=file://(.+)$", message, re.M):
        folder = Path(root, group)
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]):
            name = str(file.relative_to(folder).with_suffix(""))
            if file.parent.name != "part" and name not in names:
                names.append(name)
    return names


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
