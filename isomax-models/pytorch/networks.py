"""The networks of isomax-models in PyTorch, with the same names of tensors.

What the tests and benchmarks beside this file compare with. `build("resnet-20", "isomax+", 10)`
takes the names that `isomax_models::Architecture` and `isomax_burn::HeadKind` take.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def conv(channels_in, channels_out, kernel, stride=1, bias=False):
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=bias)


class SoftMaxHead(nn.Module):
    entropic_scale = 1.0

    def __init__(self, num_features, num_classes):
        super().__init__()
        bound = 1 / math.sqrt(num_features)
        self.weights = nn.Parameter(torch.empty(num_classes, num_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x):
        return F.linear(x, self.weights, self.bias)


class IsoMaxHead(nn.Module):
    entropic_scale = 10.0

    def __init__(self, num_features, num_classes):
        super().__init__()
        self.prototypes = nn.Parameter(torch.zeros(num_classes, num_features))

    def forward(self, x):
        return -torch.cdist(x, self.prototypes, compute_mode="donot_use_mm_for_euclid_dist")


class IsoMaxPlusHead(nn.Module):
    entropic_scale = 10.0

    def __init__(self, num_features, num_classes):
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(num_classes, num_features))
        self.distance_scale = nn.Parameter(torch.ones(1))

    def distances(self, x):
        directions = F.normalize(x), F.normalize(self.prototypes)
        distances = torch.cdist(*directions, compute_mode="donot_use_mm_for_euclid_dist")
        return self.distance_scale.abs() * distances

    def forward(self, x):
        return -self.distances(x)


class DisMaxHead(IsoMaxPlusHead):
    def forward(self, x):
        distances = self.distances(x) / math.sqrt(2)
        return -(distances + distances.mean(dim=1, keepdim=True))


HEADS = {
    "softmax": SoftMaxHead,
    "isomax": IsoMaxHead,
    "isomax+": IsoMaxPlusHead,
    "dismax": DisMaxHead,
}


class Network(nn.Module):
    """Features are the global average of the last maps."""

    def initialize(self):
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x):
        return self.maps(x).mean(dim=(2, 3))

    def forward(self, x):
        return self.classifier(self.features(x))


class BasicBlock(nn.Module):
    """With a projection, or with the shortcut without parameters (option A)."""

    def __init__(self, channels_in, channels, stride, projected):
        super().__init__()
        self.conv1 = conv(channels_in, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.padding = stride, (channels - channels_in) // 2
        changes = stride != 1 or channels_in != channels
        self.shortcut = nn.Sequential()
        if projected and changes:
            self.shortcut = nn.Sequential(
                conv(channels_in, channels, 1, stride), nn.BatchNorm2d(channels)
            )
        self.option_a = not projected and changes

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.option_a:
            x = x[:, :, :: self.stride, :: self.stride]
            return F.relu(y + F.pad(x, (0, 0, 0, 0, self.padding, self.padding)))
        return F.relu(y + self.shortcut(x))


class BottleneckBlock(nn.Module):
    """With the stride in the 3 x 3 convolution, as in torchvision."""

    def __init__(self, channels_in, width, stride):
        super().__init__()
        channels = 4 * width
        self.conv1, self.bn1 = conv(channels_in, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, channels, 1), nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                conv(channels_in, channels, 1, stride), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + self.shortcut(x))


def stage(block, channels_in, channels, count, stride, expansion=1):
    strides = [stride] + [1] * (count - 1)
    inputs = [channels_in] + [expansion * channels] * (count - 1)
    return nn.Sequential(*(block(i, channels, s) for i, s in zip(inputs, strides)))


class CifarResNet(Network):
    def __init__(self, depth, num_classes, head):
        super().__init__()

        def block(i, o, s):
            return BasicBlock(i, o, s, projected=False)

        count = (depth - 2) // 6
        self.conv1, self.bn1 = conv(3, 16, 3), nn.BatchNorm2d(16)
        self.layer1 = stage(block, 16, 16, count, 1)
        self.layer2 = stage(block, 16, 32, count, 2)
        self.layer3 = stage(block, 32, 64, count, 2)
        self.classifier = HEADS[head](64, num_classes)
        self.initialize()

    def maps(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))


class ResNet(Network):
    def __init__(self, blocks, num_classes, head, imagenet=False, bottleneck=False):
        super().__init__()
        k = 4 if bottleneck else 1

        def block(i, o, s):
            return BottleneckBlock(i, o, s) if bottleneck else BasicBlock(i, o, s, projected=True)

        self.conv1 = conv(3, 64, 7, 2) if imagenet else conv(3, 64, 3)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        self.layer1 = stage(block, 64, 64, blocks[0], 1, k)
        self.layer2 = stage(block, 64 * k, 128, blocks[1], 2, k)
        self.layer3 = stage(block, 128 * k, 256, blocks[2], 2, k)
        self.layer4 = stage(block, 256 * k, 512, blocks[3], 2, k)
        self.classifier = HEADS[head](512 * k, num_classes)
        self.initialize()
        for module in self.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            if isinstance(module, BottleneckBlock):
                nn.init.zeros_(module.bn3.weight)

    def maps(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class PreactivatedBlock(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = conv(channels_in, channels, 3, bias=True)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3, stride, bias=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(conv(channels_in, channels, 1, stride, bias=True))

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        return self.conv2(F.relu(self.bn2(y))) + self.shortcut(x)


class WideResNet(Network):
    def __init__(self, depth, widen_factor, num_classes, head):
        super().__init__()
        count, k = (depth - 4) // 6, widen_factor
        self.conv1 = conv(3, 16, 3, bias=True)
        self.layer1 = stage(PreactivatedBlock, 16, 16 * k, count, 1)
        self.layer2 = stage(PreactivatedBlock, 16 * k, 32 * k, count, 2)
        self.layer3 = stage(PreactivatedBlock, 32 * k, 64 * k, count, 2)
        self.bn1 = nn.BatchNorm2d(64 * k, momentum=0.9)
        self.classifier = HEADS[head](64 * k, num_classes)
        self.initialize()

    def maps(self, x):
        return F.relu(self.bn1(self.layer3(self.layer2(self.layer1(self.conv1(x))))))


class BottleneckLayer(nn.Module):
    def __init__(self, channels, growth_rate):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = conv(channels, 4 * growth_rate, 1)
        self.bn2 = nn.BatchNorm2d(4 * growth_rate)
        self.conv2 = conv(4 * growth_rate, growth_rate, 3)

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(F.relu(self.bn2(y)))], 1)


class DenseBlock(nn.Module):
    def __init__(self, channels, growth_rate, count):
        super().__init__()
        layers = (BottleneckLayer(channels + i * growth_rate, growth_rate) for i in range(count))
        self.layer = nn.Sequential(*layers)

    def forward(self, x):
        return self.layer(x)


class Transition(nn.Module):
    def __init__(self, channels, kept):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = conv(channels, kept, 1)

    def forward(self, x):
        return F.avg_pool2d(self.conv1(F.relu(self.bn1(x))), 2)


class DenseNetBc(Network):
    def __init__(self, depth, num_classes, head, growth_rate=12, reduction=0.5):
        super().__init__()
        count, channels = (depth - 4) // 6, 2 * growth_rate
        self.conv1 = conv(3, channels, 3)
        for i in (1, 2, 3):
            setattr(self, f"block{i}", DenseBlock(channels, growth_rate, count))
            channels += count * growth_rate
            if i < 3:
                kept = math.floor(channels * reduction)
                setattr(self, f"trans{i}", Transition(channels, kept))
                channels = kept
        self.bn1 = nn.BatchNorm2d(channels)
        self.classifier = HEADS[head](channels, num_classes)
        self.initialize()

    def maps(self, x):
        x = self.trans1(self.block1(self.conv1(x)))
        x = self.block3(self.trans2(self.block2(x)))
        return F.relu(self.bn1(x))


class SameConv2d(nn.Conv2d):
    """Padded as in TensorFlow: the odd zero lies behind."""

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            needed = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [needed // 2, needed - needed // 2]
        return super().forward(F.pad(x, pads))


def lite_norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    def __init__(self, channels_in, channels, expansion, kernel, stride):
        super().__init__()
        wide = channels_in * expansion
        self.expands, self.is_same = expansion > 1, stride == 1 and channels_in == channels
        if self.expands:
            self.expand_conv, self.bn0 = conv(channels_in, wide, 1), lite_norm(wide)
        self.depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = lite_norm(wide)
        self.project_conv, self.bn2 = conv(wide, channels, 1), lite_norm(channels)

    def forward(self, x):
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.is_same else y


class EfficientNetLite0(Network):
    """Without dropout and drop-connect."""

    def __init__(self, num_classes, head):
        super().__init__()
        stages = [
            (1, 3, 1, 1, 16),
            (2, 3, 2, 6, 24),
            (2, 5, 2, 6, 40),
            (3, 3, 2, 6, 80),
            (3, 5, 1, 6, 112),
            (4, 5, 2, 6, 192),
            (1, 3, 1, 6, 320),
        ]
        self.conv_stem, self.bn0 = SameConv2d(3, 32, 3, 2, bias=False), lite_norm(32)
        blocks, before = [], 32
        for count, kernel, stride, expansion, channels in stages:
            for index in range(count):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(before, channels, expansion, kernel, step))
                before = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = conv(before, 1280, 1), lite_norm(1280)
        self.classifier = HEADS[head](1280, num_classes)
        self.initialize()

    def maps(self, x):
        x = self.blocks(F.relu6(self.bn0(self.conv_stem(x))))
        return F.relu6(self.bn1(self.conv_head(x)))


def image_size(name):
    """Height and width of the images that a network is made for."""
    return 224 if name.startswith("efficientnet") or name.endswith("imagenet") else 32


def build(name, head, num_classes):
    """The network of a name such as `densenet-bc-100`, `resnet-110`, `resnet-50`, `wrn-28-10`."""
    if name == "efficientnet-lite0":
        return EfficientNetLite0(num_classes, head)
    family, *numbers = name.removeprefix("densenet-").split("-")
    if family == "bc":
        return DenseNetBc(int(numbers[0]), num_classes, head)
    if family == "wrn":
        return WideResNet(int(numbers[0]), int(numbers[1]), num_classes, head)
    depth = numbers[0]
    blocks = {"18": [2, 2, 2, 2], "34": [3, 4, 6, 3], "50": [3, 4, 6, 3]}.get(depth)
    if blocks is None:
        return CifarResNet(int(depth), num_classes, head)
    imagenet = numbers[1:] == ["imagenet"]
    return ResNet(blocks, num_classes, head, imagenet, bottleneck=depth == "50")


def sgd(network):
    """The optimizer of the published recipe."""
    return torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )


def training_step(network, optimizer, images, targets):
    """One step of the published recipe; returns the loss."""
    logits = network(images) * network.classifier.entropic_scale
    loss = F.cross_entropy(logits, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
