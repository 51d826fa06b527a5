"""The recipe of an experiment: what ``configs/optimizer`` makes each method's settings from.

It is not part of a run's config: its values are recorded and checked as the optimizer's.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gnp.settings.messages import suggest
from gnp.settings.section import Section, section_of, setting, shown


class BaseRecipe(Section):
    lr: float = setting(help="in place of recipe.lr")
    weight_decay: float = setting(help="in place of recipe.weight_decay")


class SamRecipe(BaseRecipe):
    r: float = setting(help="the experiment's own")


class GnpRecipe(SamRecipe):
    alpha: float = setting(help="the experiment's own")


class Recipe(Section):
    base: dict[str, Any] = setting(help="what sam and gnp wrap: configs/base")
    official_weight_decay_in: Literal["update", "loss"] = setting(
        help="where the official code decays with this base"
    )
    official_2022_max_grad_norm: float = setting(
        help="what fidelity=official_2022 clips the gradient to with this base"
    )
    official_2022_sharpness_batch: int = setting(
        help="images that climb together with fidelity=official_2022"
    )
    lr: float = setting(help="of each method that has none of its own")
    weight_decay: float = setting(help="of each method that has none of its own")
    sgd: BaseRecipe = setting(help="with optimizer=sgd")
    adamw: BaseRecipe = setting(help="with optimizer=adamw")
    sam: SamRecipe = setting(help="with optimizer=sam")
    gnp: GnpRecipe = setting(help="with optimizer=gnp")


def unread_names(
    values: Mapping[str, Any], section: type[Section] = Recipe, prefix: str = "recipe"
) -> Iterator[str]:
    """A complaint for each name that ``configs/optimizer`` does not read: it is misspelt."""
    for key, value in values.items():
        name, field = f"{prefix}.{key}", section.model_fields.get(key)
        if field is None:
            yield f"there is no setting {name!r}.{suggest(key, section.model_fields)}"
        elif (own := section_of(field.annotation)) is not None:
            if isinstance(value, Mapping):
                yield from unread_names(value, own, name)
            else:
                yield f"{name} is {shown(value)}; expected settings of its own, such as {name}.lr"
