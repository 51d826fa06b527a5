"""What the settings of a table and of a study have in common."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic_core import PydanticCustomError

from gnp.errors import UserError
from gnp.settings.messages import checked
from gnp.settings.section import Section, setting

S = TypeVar("S", bound="Series")


class Series(Section):
    """Runs that are trained and shown together, as a file of ``configs/<kind>`` says.

    A subclass sets ``kind``, which also stands before the names in messages, and ``error``, which a
    wrong one raises.
    """

    kind: ClassVar[str]
    error: ClassVar[type[UserError]]

    name: str = setting(help="its folder among the results")
    title: str = setting(help="printed above it")
    note: str = setting(help="printed with it: what the numbers are and are not")
    seeds: list[int] = setting([], "of the runs", expected="at least one integer")
    overrides: list[str] = setting([], "settings that every run gets", expected="a list of texts")

    @classmethod
    def from_config(cls: type[S], config: Mapping[str, Any]) -> S:
        """From what Hydra composed, or plain containers.

        Raises:
            cls.error: an entry that does not exist (with a suggestion), that is missing or of the
                wrong type, or what the subclass refuses.
        """
        try:
            composed = config if OmegaConf.is_config(config) else OmegaConf.create(dict(config))
            plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            name = str(getattr(error, "full_key", "")).removeprefix(f"{cls.kind}.")
            first_line = str(error).split("\n", 1)[0]
            raise cls.error(f"{cls.kind}.{name}: {first_line}") from error
        return checked(cls, plain, prefix=cls.kind, error=cls.error)

    def _wrong(self, what: str) -> PydanticCustomError:
        """For a subclass's validator to raise: "table cnn: seeds is empty"."""
        return PydanticCustomError("custom", f"{self.kind} {self.name}: {what}")

    def _refuse_empty_or_twice(self, name: str, values: Sequence[Hashable]) -> None:
        """A value that is listed twice is named if it is a text."""
        if not values:
            raise self._wrong(f"{name} is empty; list at least one value")
        for value in values:
            if values.count(value) > 1:
                what = value if isinstance(value, str) else "something"
                raise self._wrong(f"{name} lists {what} twice; list it once")
