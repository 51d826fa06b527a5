"""What the settings of a table and of a study have in common."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from gnp.errors import UserError
from gnp.settings.messages import checked
from gnp.settings.overrides import wrong_in
from gnp.settings.section import Section, setting
from gnp.settings.texts import FolderName, Label, Text

S = TypeVar("S", bound="Series")


class Series(Section):
    """Runs that are trained and shown together, as a file of ``configs/<kind>`` says.

    A subclass sets ``kind``, which also stands before the names in messages, and ``error``, which a
    wrong one raises.
    """

    kind: ClassVar[str]
    error: ClassVar[type[UserError]]

    name: FolderName = setting(help="its folder among the results")
    title: Label = setting(help="printed above it")
    note: Text = setting(help="printed with it: what the numbers are and are not")
    seeds: list[int] = setting([], "of the runs", expected="at least one integer")
    overrides: list[str] = setting([], "settings that every run gets", expected="a list of texts")

    @field_validator("overrides")
    @classmethod
    def _can_be_read(cls, values: list[str]) -> list[str]:
        """The method's optimizer and the seed are the series' to say; other changes of the place
        are noticed when the configs are composed."""
        if (wrong := wrong_in(values, ["optimizer", "seed"])) is not None:
            raise PydanticCustomError("custom", "{what}", {"what": wrong})
        return values

    def with_overrides(self: S, further: Sequence[str]) -> S:
        """The series with overrides after its own, which are checked like them."""
        plain = {**self.model_dump(), "overrides": [*self.overrides, *further]}
        return checked(type(self), plain, prefix=self.kind, error=self.error)

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
        return PydanticCustomError("custom", "{what}", {"what": f"{self.kind} {self.name}: {what}"})

    def _refuse_empty_or_twice(self, name: str, values: Sequence[Hashable]) -> None:
        """A value that is listed twice is named if it is a text or an integer."""
        if not values:
            raise self._wrong(f"{name} is empty; list at least one value")
        for value in values:
            if values.count(value) > 1:
                what = value if isinstance(value, str | int) else "something"
                raise self._wrong(f"{name} lists {what} twice; list it once")
