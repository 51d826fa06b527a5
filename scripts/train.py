"""Train one run: ``python scripts/train.py experiment=vgg16_bn dataset=cifar100 optimizer=gnp``.

``--help`` lists the choices, ``--cfg job --resolve`` shows the config, ``-m`` sweeps.
"""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gnp.cli import leave, run_cli
from gnp.settings import Composed, setting_names, validate
from gnp.settings.help import offer_help
from gnp.sweep import check_sweeps


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(composed: DictConfig) -> float:
    """The error (%) of the evaluated images after the last epoch, which a sweeper minimises."""
    config = validate(composed)
    from gnp.training.run import run

    summary = run(config, tuple(HydraConfig.get().overrides.task))
    return summary["final"][f"{summary['evaluated']}_error"]


if __name__ == "__main__":
    offer_help(Composed)
    check_sweeps(validate)
    leave(run_cli(main, setting_names))
