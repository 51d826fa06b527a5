"""What a machine refuses (room, rights, memory), in one line that says what to do."""

import errno

WRITABLE = "make it writable, or take another place (root=…)"
UNABLE = "its file system cannot do that; take a place on another one (root=…)"
FOLDERS = (
    "what it lies in has to be a folder that exists; mend that, or take another place (root=…)"
)
CURES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close some of the machine's open files",
    errno.ENOMEM: "free some memory",
    errno.EAGAIN: "end some processes, or raise the limit on them (ulimit -u)",
    errno.EROFS: WRITABLE,
    errno.EACCES: WRITABLE,
    errno.EPERM: WRITABLE,
    errno.ENAMETOOLONG: "take a shorter place (root=…) or name",
    errno.EISDIR: "a folder is where the file belongs; move it away",
    errno.ENOTDIR: FOLDERS,
    errno.ENOENT: FOLDERS,
    errno.EEXIST: FOLDERS,
    errno.ELOOP: FOLDERS,
    errno.ENOSYS: UNABLE,
    errno.EOPNOTSUPP: UNABLE,
}
GOES_ON = "; the same command then goes on from here"

# What torch says, in errors that have no class of their own or one that only torch can name.
NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "could not create a primitive",  # oneDNN
    "could not create a memory",
)
NO_THREAD = ("can't start new thread", "Resource temporarily unavailable")
NO_DESCRIPTOR = ("Too many open files", "shared object file: Error 24")


def cure(error: OSError) -> str:
    """What to do about it; where that is not another place, the command can then go on."""
    advice = CURES.get(error.errno or 0, "mend that")
    return advice if "root=" in advice else advice + GOES_ON


def refusal(error: BaseException) -> str | None:
    """One line that says what the machine refused and what to do; None if it is another error."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return (
            f"there is not enough memory ({text or type(error).__name__}): free some, or start "
            f"fewer runs at a time (jobs=1) or evaluate fewer images at a time "
            f"(runtime.eval_batch_size=…){GOES_ON}"
        )
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {error.filename}" if error.filename is not None else ""
        return f"cannot use{where or ' a file'} ({error.strerror}): {cure(error)}"
    for words, number in ((NO_THREAD, errno.EAGAIN), (NO_DESCRIPTOR, errno.EMFILE)):
        if any(word in text for word in words):
            return f"the machine refuses ({text}): {CURES[number]}{GOES_ON}"
    return None
