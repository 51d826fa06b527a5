"""Vision transformers for CIFAR (ViT-TI16, ViT-S16), built on timm's ``VisionTransformer``.

Paper: Dosovitskiy et al., *An Image is Worth 16×16 Words*, ICLR 2021 (arXiv 2010.11929). The GNP
paper trains ViT-Tiny and ViT-Small from scratch on CIFAR (its Table 2) and calls them TI16 and
S16, though its code cuts 32×32 images into 4×4 patches: 64 tokens and the class token.

Trainable parameters for 10 / 100 classes:

========  =========================================  ==========  ==========
ViT-TI16  width 192, 3 heads, 12 blocks, MLP 768      5,362,762   5,380,132
ViT-S16   width 384, 6 heads, 12 blocks, MLP 1536    21,342,346  21,376,996
========  =========================================  ==========  ==========

Deviations from timm's defaults (its ``vit_tiny_patch16_224`` and so on), all of them the GNP
paper's authors' code (https://github.com/zhaoyang-0204/gnp, after
https://github.com/google-research/vision_transformer):

- GELU in its tanh approximation.
- Dropout 0.1 on the embedded tokens, the attention weights, after the attention's projection, and
  twice in each MLP; no dropout before the head, no stochastic depth.
- Initialisation: see ``initialise``.

The parametrisation is timm's: q, k and v are one (3·width, width) matrix.
"""

from functools import partial

import torch
from timm.layers import lecun_normal_
from timm.models.vision_transformer import VisionTransformer
from torch import nn


def vit(
    width: int = 192,
    depth: int = 12,
    heads: int = 3,
    mlp_ratio: float = 4.0,
    patch_size: int = 4,
    image_size: int = 32,
    num_classes: int = 10,
    dropout: float = 0.1,
) -> VisionTransformer:
    """A pre-LN vision transformer with a class token; the defaults are ViT-TI16.

    Args:
        width: length of a token.
        depth: number of transformer blocks.
        heads: attention heads; divides ``width``.
        mlp_ratio: hidden units of an MLP in units of ``width``.
        patch_size: side of a patch in pixels; divides ``image_size``.
        image_size: side of an image in pixels.
        num_classes: number of logits.
        dropout: probability of each of the five dropouts.

    Raises:
        ValueError: ``heads`` does not divide ``width``, or ``patch_size`` not ``image_size``.

    Shape: images (N, 3, image_size, image_size) → logits (N, num_classes).
    """
    if width % heads:
        raise ValueError(f"width={width} is not a multiple of heads={heads}")
    if image_size % patch_size:
        raise ValueError(f"image_size={image_size} is not a multiple of patch_size={patch_size}")
    model = VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        num_classes=num_classes,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
        pos_drop_rate=dropout,
        attn_drop_rate=dropout,
        proj_drop_rate=dropout,  # after the attention's projection and both layers of the MLP
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        act_layer=partial(nn.GELU, approximate="tanh"),
        weight_init="skip",
    )
    initialise(model)
    return model


@torch.no_grad()
def initialise(model: VisionTransformer) -> None:
    """The authors' initialisation, in place of timm's truncated normal of std 0.02 throughout.

    Xavier-uniform for q, k, v (each width×width matrix by itself), the attention's projection and
    the MLP; biases 0, in the MLP N(0, 1e-6²); position table N(0, 0.02²); class token and head 0;
    patch embedding LeCun-normal with bias 0.
    """
    lecun_normal_(model.patch_embed.proj.weight)
    nn.init.zeros_(model.patch_embed.proj.bias)
    nn.init.zeros_(model.cls_token)
    nn.init.normal_(model.pos_embed, std=0.02)
    for block in model.blocks:
        # As one (3·width, width) matrix, Xavier's bound would be smaller by √2.
        for matrix in (*block.attn.qkv.weight.chunk(3), block.attn.proj.weight):
            nn.init.xavier_uniform_(matrix)
        nn.init.zeros_(block.attn.qkv.bias)
        nn.init.zeros_(block.attn.proj.bias)
        for layer in (block.mlp.fc1, block.mlp.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
