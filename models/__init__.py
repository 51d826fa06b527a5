"""The networks of the paper and ResNets, one architecture a file, built from plain arguments.

They know nothing of configs, data or the optimizer: ``VGG(width=0.125, num_classes=100)``. timm's
networks are apart, in ``models.vit`` and ``models.timm_model``: importing timm takes a second.
"""

from models.pyramidnet import PyramidNet
from models.resnet import CIFARResNet, ResNet18
from models.shake_shake import ShakeShakeNet
from models.vgg import VGG
from models.wide_resnet import WideResNet

__all__ = ["VGG", "CIFARResNet", "PyramidNet", "ResNet18", "ShakeShakeNet", "WideResNet"]
