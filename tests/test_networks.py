"""The networks are the paper's: parameter counts, shapes, shortcuts, padding, initialisation."""

import math
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import VGG, PyramidNet, ShakeShakeNet, WideResNet
from models.layers import SameConv2d, pool_and_pad
from models.pyramidnet import ShakeDrop
from models.resnet import Block, CIFARResNet, ResNet18
from models.shake_shake import TwoPathShortcut
from models.timm_model import timm_model
from models.vit import vit

PAPER_SCALE = {  # network → constructor, parameters for 10 and for 100 classes
    "VGG16": (VGG, 33_638_218, 34_006_948),
    "VGG16-BN": (partial(VGG, batch_norm=True), 33_646_666, 34_015_396),
    "WRN-28-10": (WideResNet, 36_220_634, 36_278_324),
    "WRN-16-4": (partial(WideResNet, depth=16, width=4), 2_706_906, 2_730_036),
    "WRN-SS 2x96": (ShakeShakeNet, 26_192_922, 26_227_572),
    "PyramidNet": (PyramidNet, 26_210_810, 26_288_660),
    "PyramidNet-SD": (partial(PyramidNet, shake_drop=True), 26_210_842, 26_288_692),
    "ResNet-8": (partial(CIFARResNet, 8), 75_290, 81_140),
    "ResNet-20": (CIFARResNet, 269_722, 275_572),
    "ResNet-32": (partial(CIFARResNet, 32), 464_154, 470_004),
    "ResNet-56": (partial(CIFARResNet, 56), 853_018, 858_868),
    "ResNet-18": (ResNet18, 11_173_962, 11_220_132),
    "ViT-TI16": (vit, 5_362_762, 5_380_132),
    "ViT-S16": (partial(vit, width=384, heads=6), 21_342_346, 21_376_996),
}

SMALL = {
    "wide_resnet": partial(WideResNet, depth=10, width=2, base_width=4),
    "shake_shake": partial(ShakeShakeNet, depth=8, width=4, stem_width=8),
    "pyramidnet": partial(PyramidNet, depth=11, alpha=6, base_width=4),
    "pyramidnet_sd": partial(PyramidNet, depth=11, alpha=6, base_width=4, shake_drop=True),
    "resnet_8": partial(CIFARResNet, depth=8, base_width=4),
    "resnet_18": partial(ResNet18, base_width=4),
    "vit": partial(vit, width=24, depth=2, heads=3),
}
CONVOLUTIONAL = ["wide_resnet", "shake_shake", "pyramidnet", "pyramidnet_sd"]  # the authors'


@pytest.mark.parametrize("name", PAPER_SCALE)
def test_parameter_counts_are_the_papers(name):
    build, for_10, for_100 = PAPER_SCALE[name]
    for num_classes, expected in ((10, for_10), (100, for_100)):
        with torch.device("meta"):
            model = build(num_classes=num_classes)
        assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", SMALL)
def test_forward_and_backward_reach_every_parameter(name, memory_format):
    model = SMALL[name](num_classes=7).to(memory_format=memory_format)
    logits = model(torch.randn(4, 3, 32, 32).contiguous(memory_format=memory_format))
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_double_precision_model_returns_double_precision(name):
    model = SMALL[name]().double()
    logits = model(torch.randn(4, 3, 32, 32, dtype=torch.float64))
    assert logits.dtype == torch.float64
    logits.sum().backward()


@pytest.mark.parametrize("name", SMALL)
def test_a_pickled_model_computes_the_same(name):
    model = SMALL[name]().eval()
    copy = pickle.loads(pickle.dumps(model))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(images), copy(images))


# ---------------------------------------------------------------------- what the CNNs share


def naive_pool_and_pad(x, channels, stride):
    n, c, h, w = x.shape
    out = torch.zeros(n, channels, h // stride, w // stride, dtype=x.dtype)
    for i in range(h // stride):
        for j in range(w // stride):
            window = x[:, :, i * stride : (i + 1) * stride, j * stride : (j + 1) * stride]
            out[:, :c, i, j] = window.mean(dim=(2, 3))
    return out


@pytest.mark.parametrize(("channels", "stride"), [(3, 1), (5, 1), (5, 2), (3, 2)])
def test_the_shortcut_averages_and_appends_zeros(channels, stride):
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = naive_pool_and_pad(x, channels, stride)
    torch.testing.assert_close(pool_and_pad(x, channels, stride), expected)


def test_the_shortcut_keeps_channels_last():
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert pool_and_pad(x, 5, 2).is_contiguous(memory_format=torch.channels_last)


def test_strided_convolutions_start_at_pixel_zero():
    """TensorFlow's "SAME": output (i, j) sees pixels 2i…2i+2, the last one zero."""
    conv = SameConv2d(2, 3, stride=2).double()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    out = conv(x)
    assert out.shape == (1, 3, 3, 3)
    padded = torch.zeros(1, 2, 7, 7, dtype=torch.float64)
    padded[:, :, :6, :6] = x
    for i in range(3):
        for j in range(3):
            window = padded[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected = (conv.weight * window).sum(dim=(1, 2, 3))
            torch.testing.assert_close(out[0, :, i, j], expected)


def test_convolutions_of_stride_1_pad_all_sides():
    conv = SameConv2d(2, 3)
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, padding=1))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_no_other_convolution_has_a_border_or_a_bias(name):
    """Padding is SameConv2d's alone; 1×1 convolutions need none."""
    for module in SMALL[name]().modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            assert isinstance(module, SameConv2d) or module.kernel_size == (1, 1)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.momentum, module.eps) == (0.1, 1e-5)


@pytest.mark.parametrize(
    "build",
    [
        partial(WideResNet, depth=10, width=4, num_classes=100),
        partial(ShakeShakeNet, depth=8, width=48, num_classes=100),
        partial(PyramidNet, depth=11, alpha=64, num_classes=100),
    ],
    ids=["wide_resnet", "shake_shake", "pyramidnet"],
)
def test_initialisation_is_the_authors(build):
    model = build()
    checked = 0
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5_000:
            fan_out = module.kernel_size[0] ** 2 * module.out_channels
            expected = math.sqrt(2 / fan_out)
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
            checked += 1
    assert checked >= 3
    assert model.head.weight.abs().max().item() == pytest.approx(1 / math.sqrt(100), rel=0.01)
    assert not model.head.bias.any()


# ---------------------------------------------------------------------- wide residual network


def test_only_the_first_block_of_a_wide_resnet_shortcuts_the_activated_tensor():
    model = WideResNet(depth=16, width=2, base_width=4)
    blocks = [block for stage in model.stages for block in stage]
    assert [b.activated_shortcut for b in blocks] == [True] + 5 * [False]
    for block in blocks[0], blocks[2]:
        block.eval()
        x = torch.randn(2, block.bn1.num_features, 8, 8)
        activated = torch.relu(block.bn1(x))
        branch = block.conv2(torch.relu(block.bn2(block.conv1(activated))))
        start = activated if block is blocks[0] else x
        expected = branch + naive_pool_and_pad(start, branch.shape[1], block.stride)
        torch.testing.assert_close(block(x), expected)


def test_a_wide_resnet_halves_the_image_twice():
    model = WideResNet(depth=16, width=2, base_width=4)
    strides = [block.stride for stage in model.stages for block in stage]
    assert strides == [1, 1, 2, 1, 2, 1]
    assert model.stages(model.stem(torch.zeros(1, 3, 32, 32))).shape == (1, 32, 8, 8)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_stem_of_stride_2_halves_the_image_once_more(name):
    model = SMALL[name](stem_stride=2)
    assert model.stem(torch.zeros(2, 3, 32, 32)).shape[-2:] == (16, 16)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises(ValueError, match="stride=4: expected 1 or 2"):
        SMALL[name](stem_stride=4)


# ---------------------------------------------------------------------- shake-shake


@pytest.mark.parametrize("stride", [1, 2])
def test_the_two_path_shortcut_is_a_subsample_and_a_shifted_subsample(stride):
    shortcut = TwoPathShortcut(3, 4, stride).double().eval()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    shifted = torch.zeros_like(x)
    shifted[:, :, :-1, :-1] = x[:, :, 1:, 1:]
    paths = [
        torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], image[:, :, ::stride, ::stride])
        for conv, image in ((shortcut.conv1, x), (shortcut.conv2, shifted))
    ]
    torch.testing.assert_close(shortcut(x), shortcut.bn(torch.cat(paths, dim=1)))


def test_each_stage_of_shake_shake_starts_with_a_two_path_shortcut():
    model = ShakeShakeNet(depth=14, width=8)
    for stage, stride in zip(model.stages, (1, 2, 2), strict=True):
        assert isinstance(stage[0].shortcut, TwoPathShortcut)
        assert stage[0].shortcut.stride == stride
        assert isinstance(stage[1].shortcut, nn.Identity)


def test_the_first_convolution_of_shake_shake_has_no_relu():
    model = ShakeShakeNet(depth=8, width=4).eval()
    assert [type(m) for m in model.stem] == [SameConv2d, nn.BatchNorm2d]
    assert model.stem(torch.randn(2, 3, 32, 32)).min() < 0


def test_a_shake_shake_block_is_its_formula():
    model = ShakeShakeNet(depth=8, width=4).eval()
    block = model.stages[1][0]
    x = torch.randn(2, 4, 8, 8)
    a, b = block.branch1(torch.relu(x)), block.branch2(torch.relu(x))
    kinds = [type(m) for m in block.branch1]
    assert kinds == [SameConv2d, nn.BatchNorm2d, nn.ReLU, SameConv2d, nn.BatchNorm2d]
    torch.testing.assert_close(block(x), block.shortcut(x) + (a + b) / 2)
    # the ReLUs that work in place must not reach the block's input
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


# ---------------------------------------------------------------------- pyramidnet


def test_pyramidnet_widths_grow_linearly():
    with torch.device("meta"):
        model = PyramidNet()
    inner = [block.conv1.out_channels for block in model.blocks]
    assert inner == [round(16 + 200 * k / 90) for k in range(1, 91)]
    assert (inner[0], inner[-1]) == (18, 216)
    assert [block.out_channels for block in model.blocks] == [4 * c for c in inner]
    assert [block.bn1.num_features for block in model.blocks] == [16] + [4 * c for c in inner[:-1]]
    assert [k for k, block in enumerate(model.blocks) if block.stride == 2] == [30, 60]


def test_a_bottleneck_is_its_formula():
    model = PyramidNet(depth=20, alpha=12, base_width=4).eval()
    block = model.blocks[2]
    assert block.stride == 2
    x = torch.randn(2, block.bn1.num_features, 8, 8)
    out = torch.relu(block.bn2(block.conv1(block.bn1(x))))
    out = torch.relu(block.bn3(block.conv2(out)))
    out = block.bn4(block.conv3(out))
    expected = out + naive_pool_and_pad(x, out.shape[1], 2)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("shake_drop", [False, True])
def test_only_the_pyramidnet_with_shakedrop_normalises_its_first_convolution(shake_drop):
    model = PyramidNet(depth=11, alpha=6, shake_drop=shake_drop)
    expected = [SameConv2d, nn.BatchNorm2d] if shake_drop else [SameConv2d]
    assert [type(m) for m in model.stem] == expected
    assert any(isinstance(m, ShakeDrop) for m in model.modules()) is shake_drop


# ---------------------------------------------------------------------- vision transformer


def test_vit_sees_64_patches_and_a_class_token():
    model = vit(width=24, depth=2, heads=3)
    assert model.pos_embed.shape == (1, 65, 24)
    assert model.patch_embed.proj.kernel_size == model.patch_embed.proj.stride == (4, 4)


def test_vit_has_pre_norms_of_eps_1e_6_and_the_tanh_gelu():
    model = vit(width=24, depth=2, heads=3)
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2 * 2 + 1
    assert {n.eps for n in norms} == {1e-6}
    x = torch.linspace(-3, 3, 50)
    for block in model.blocks:
        torch.testing.assert_close(block.mlp.act(x), F.gelu(x, approximate="tanh"))
        assert not torch.equal(block.mlp.act(x), F.gelu(x))


def test_vit_drops_in_its_five_places_and_nowhere_else():
    model = vit(width=24, depth=2, heads=3)
    places = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout) and m.p}
    inner = ("attn.attn_drop", "attn.proj_drop", "mlp.drop1", "mlp.drop2")
    expected = ["pos_drop", *(f"blocks.{k}.{name}" for k in range(2) for name in inner)]
    assert places == dict.fromkeys(expected, 0.1)
    assert not any("DropPath" in type(m).__name__ for m in model.modules())


def test_vit_initialisation_is_the_authors():
    width = 96
    model = vit(width=width, depth=2, heads=3)
    bound = math.sqrt(6 / (width + width))
    for block in model.blocks:
        for matrix in (*block.attn.qkv.weight.chunk(3), block.attn.proj.weight):
            assert matrix.abs().max().item() == pytest.approx(bound, rel=0.01)
            assert matrix.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
        for layer in (block.mlp.fc1, block.mlp.fc2):
            mlp_bound = math.sqrt(6 / (width + 4 * width))
            assert layer.weight.abs().max().item() == pytest.approx(mlp_bound, rel=0.01)
            assert layer.bias.std().item() == pytest.approx(1e-6, rel=0.4)
        assert not block.attn.qkv.bias.any()
        assert not block.attn.proj.bias.any()
    assert model.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)
    # LeCun-normal: variance 1/fan_in, cut off at two standard deviations of the uncut normal
    patch = model.patch_embed.proj.weight
    assert patch.std().item() == pytest.approx(1 / math.sqrt(48), rel=0.05)
    assert patch.abs().max().item() < 2.3 / math.sqrt(48)
    for zero in (model.cls_token, model.head.weight, model.head.bias, model.patch_embed.proj.bias):
        assert not zero.any()


# ---------------------------------------------------------------------- timm


def test_any_timm_network_can_be_built():
    assert timm_model("resnet10t", num_classes=7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_a_timm_network_of_fixed_size_is_built_for_small_images():
    model = timm_model("vit_tiny_patch16_224", num_classes=7, patch_size=8, depth=1)
    assert model.pos_embed.shape[1] == 17
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_an_unknown_timm_network_is_refused_with_similar_names():
    with pytest.raises(ValueError, match=r"no model 'resnet_18'; did you mean .*resnet18"):
        timm_model("resnet_18")


# ---------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WideResNet(depth=27), r"depth=27: expected 6n \+ 4"),
        (lambda: WideResNet(depth=10, width=0), "width=0"),
        (lambda: ShakeShakeNet(depth=28), r"depth=28: expected 6n \+ 2"),
        (lambda: ShakeShakeNet(depth=8, width=5), "width=5: expected an even number"),
        (lambda: PyramidNet(depth=270), r"depth=270: expected 9n \+ 2"),
        (lambda: PyramidNet(depth=11, drop_probability=1.5), "drop_probability=1.5"),
        (lambda: vit(width=50, heads=3), "width=50 is not a multiple of heads=3"),
        (lambda: vit(image_size=30), "image_size=30 is not a multiple of patch_size=4"),
    ],
)
def test_wrong_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ---------------------------------------------------------------------- ResNets


def test_resnet_18_is_torchvisions_but_for_the_stem():
    from torchvision.models import resnet18

    theirs = resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    ours = ResNet18()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    for model in (ours, theirs):
        model.train()
    torch.testing.assert_close(ours(images), theirs(images))
    for model in (ours, theirs):  # with the running statistics of that pass
        model.eval()
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("channels", [3, 4, 8, 12, 16])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_projections_gradients_are_their_formulas(channels, stride):
    # Strided 1×1 convolutions of few channels are what oneDNN gets wrong, or dies of.
    block = Block(channels, 2 * channels, stride, projection=True)
    conv, block.downsample[1] = block.downsample[0], nn.Identity()
    block.to(memory_format=torch.channels_last)
    for _ in range(20):
        images = torch.randn(4, channels, 32, 32).contiguous(memory_format=torch.channels_last)
        out = block._shortcut(images.requires_grad_())
        above = torch.randn_like(out)
        got = torch.autograd.grad(out, (conv.weight, images), above)
        seen, above = images[:, :, ::stride, ::stride].double(), above.double()
        weight = conv.weight[:, :, 0, 0].double()
        of_images = torch.zeros(images.shape, dtype=torch.float64)
        of_images[:, :, ::stride, ::stride] = torch.einsum("nohw,oc->nchw", above, weight)
        of_weight = torch.einsum("nohw,nchw->oc", above, seen)[:, :, None, None]
        expected = torch.einsum("nchw,oc->nohw", seen, weight)
        torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(got[0].double(), of_weight, rtol=0, atol=1e-3)
        torch.testing.assert_close(got[1].double(), of_images, rtol=0, atol=1e-5)


def test_a_cifar_resnet_is_its_formula():
    model = CIFARResNet(depth=8, base_width=4).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def convolved(x, conv, bn, stride=1):
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        y = F.conv2d(x, conv.weight, stride=stride, padding=1)
        return (y - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]

    x = convolved(images, model.conv1, model.bn1).relu()
    for stage, stride in ((model.layer1, 1), (model.layer2, 2), (model.layer3, 2)):
        (block,) = stage
        out = convolved(x, block.conv1, block.bn1, stride).relu()
        out = convolved(out, block.conv2, block.bn2)
        shortcut = torch.zeros_like(out)
        shortcut[:, : x.shape[1]] = x[:, :, ::stride, ::stride]
        x = (out + shortcut).relu()
    assert x.shape == (2, 16, 8, 8)
    torch.testing.assert_close(model(images), model.fc(x.mean(dim=(2, 3))))


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_a_cifar_resnet_has_as_many_layers_with_weights_as_its_name_says(depth):
    model = CIFARResNet(depth, base_width=2)
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth


@pytest.mark.parametrize("build", [CIFARResNet, partial(ResNet18, num_classes=100)])
def test_initialisation_of_resnets_is_hes(build):
    checked = 0
    for module in build().modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5_000:
            fan_out = module.kernel_size[0] ** 2 * module.out_channels
            expected = math.sqrt(2 / fan_out)
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
            checked += 1
    assert checked >= 3


def test_a_cifar_resnets_stem_of_stride_2_halves_the_image_once_more():
    model = CIFARResNet(depth=8, base_width=4, stem_stride=2)
    assert model.layer1(model.conv1(torch.zeros(2, 3, 32, 32))).shape[-2:] == (16, 16)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"depth": 18}, "depth=18: expected 6n \\+ 2"),
        ({"depth": 2}, "depth=2: expected 6n \\+ 2"),
        ({"base_width": 0}, "base_width=0: expected at least 1"),
        ({"stem_stride": 3}, "stem_stride=3: expected 1 or 2"),
    ],
)
def test_a_cifar_resnet_that_cannot_be_is_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        CIFARResNet(**settings)
    with pytest.raises(ValueError, match="base_width=0"):
        ResNet18(base_width=0)
