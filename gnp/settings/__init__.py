"""One definition of each setting: name, type, range or choices, default, one line of help.

The ground that everything else takes its settings from. Imports no torch.
"""

from gnp.settings.messages import ConfigError, checked, suggest
from gnp.settings.section import Section, setting

__all__ = ["ConfigError", "Section", "checked", "setting", "suggest"]
