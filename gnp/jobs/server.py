"""What the server does before children are forked from it: Python's ``forkserver`` imports this
module, there and nowhere else.

Nothing here may start threads or touch a GPU: neither survives a fork.
"""

import gc
import importlib
import os

from gnp.jobs.child import PRELOAD_VARIABLE, end_with_parent

end_with_parent()  # the children end with the server, and it with the pool, however that ends
for name in os.environ.pop(PRELOAD_VARIABLE, "").split():
    try:
        importlib.import_module(name)
    except Exception:  # the child that needs it meets the error, and says it in its log
        continue
gc.freeze()  # else each child's collector visits what they share, and thereby copies its memory
