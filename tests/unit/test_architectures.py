"""The published networks: right in size and names, right in what they compute, and exportable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from torch import Tensor, nn  # noqa: E402

from edgeapl.engines.ort import OrtEngine  # noqa: E402
from edgeapl.export.architectures.faster_rcnn import (  # noqa: E402
    BOX_HEAD_OUTPUTS,
    DETECTOR_OUTPUTS,
    FasterRcnnNetworks,
    FeaturePyramid,
    current_names,
)
from edgeapl.export.architectures.heads import RatioEnsemble  # noqa: E402
from edgeapl.export.architectures.initialise import initialise  # noqa: E402
from edgeapl.export.architectures.pmg import Pmg, PmgWithMap, pool  # noqa: E402
from edgeapl.export.architectures.resnet import resnet50, resnext50  # noqa: E402
from edgeapl.export.architectures.spatial_attention import SpatialAttention  # noqa: E402
from edgeapl.export.architectures.vgg19 import Millie, feature_length  # noqa: E402
from edgeapl.export.architectures.xception import Xception, XceptionBlock  # noqa: E402
from edgeapl.export.onnx_file import onnx_bytes  # noqa: E402


def untrained(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    module = build()
    initialise(module, seed)
    return module.eval()


def varied(module: nn.Module, seed: int) -> nn.Module:
    """Give every batch norm its own numbers, so that no factor of 1 hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if hasattr(part, "running_var"):
            part.running_var.uniform_(0.5, 2.0, generator=generator)
            part.running_mean.uniform_(-0.5, 0.5, generator=generator)
            part.weight.mul_(torch.empty_like(part.weight).uniform_(0.5, 1.5, generator=generator))
            part.bias.uniform_(-0.5, 0.5, generator=generator)
    return module


def images(rows: int, height: int, width: int | None = None, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((rows, 3, height, width or height), generator=generator) * 2 - 1


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


# Published: torchvision's model pages for ResNet-50, ResNeXt-50 and Faster R-CNN; VGG-19 without
# its fully connected layers and Xception from the papers' layouts, as Keras prints them.
PUBLISHED = [
    ("resnet50", lambda: resnet50(classes=1000), 25_557_032),
    ("resnext50", lambda: resnext50(classes=1000), 25_028_904),
    ("vgg19 convolutions", lambda: Millie().features, 20_024_384),
    ("xception with 1000 classes", lambda: Xception(outputs=1000), 22_855_952),
    ("xception with one logit", Xception, 20_806_952 + 2049),
    ("faster r-cnn with 91 classes", lambda: FasterRcnnNetworks(91), 41_755_286),
    ("faster r-cnn with 2 classes", FasterRcnnNetworks, 41_755_286 - 89 * 5 * 1025),
]


@pytest.mark.parametrize(
    ("build", "count"), [pytest.param(*row[1:], id=row[0]) for row in PUBLISHED]
)
def test_a_network_has_as_many_parameters_as_published(
    build: Callable[[], nn.Module], count: int
) -> None:
    with torch.device("meta"):
        assert sum(weights.numel() for weights in build().parameters()) == count


KEYS = [
    (
        lambda: Xception((256,)),
        (
            "conv1.weight bn2.bias block1.rep.0.conv1.weight block1.rep.0.pointwise.weight "
            "block1.rep.1.weight block1.skip.weight block1.skipbn.bias block2.rep.1.conv1.weight "
            "block4.rep.7.pointwise.weight block4.rep.8.bias block12.rep.4.pointwise.weight "
            "conv3.conv1.weight bn3.weight conv4.pointwise.weight bn4.bias fc.0.weight fc.3.bias"
        ),
    ),
    (Xception, "fc.weight fc.bias"),
    (Millie, "features.0.weight features.34.bias classifier.0.weight classifier.6.bias"),
    (
        lambda: Pmg(2),
        (
            "features.conv1.weight features.bn1.weight features.layer1.0.downsample.0.weight "
            "features.layer4.2.bn3.running_var features.fc.weight conv_block1.0.conv.weight "
            "conv_block3.1.bn.running_mean classifier1.0.running_mean classifier2.1.weight "
            "classifier3.4.bias classifier_concat.2.num_batches_tracked"
        ),
    ),
    (
        FasterRcnnNetworks,
        (
            "backbone.body.conv1.weight backbone.body.bn1.running_mean "
            "backbone.body.layer3.5.conv3.weight backbone.body.layer4.0.downsample.1.running_var "
            "backbone.fpn.inner_blocks.3.0.weight backbone.fpn.layer_blocks.0.0.bias "
            "rpn.head.conv.0.0.weight rpn.head.cls_logits.bias rpn.head.bbox_pred.weight "
            "roi_heads.box_head.fc6.weight roi_heads.box_head.fc7.bias "
            "roi_heads.box_predictor.cls_score.weight roi_heads.box_predictor.bbox_pred.bias"
        ),
    ),
    (SpatialAttention, "conv1.weight layer1.conv2.weight layer2.shortcut.1.weight fc.bias"),
    (RatioEnsemble, "aml.weight aml.bias healthy.weight healthy.bias"),
]


@pytest.mark.parametrize(("build", "keys"), KEYS)
def test_a_checkpoint_of_the_public_layout_finds_its_keys(
    build: Callable[[], nn.Module], keys: str
) -> None:
    with torch.device("meta"):
        names = set(build().state_dict())
    assert not set(keys.split()) - names


# A convolution without bias is one entry, a batch norm five (frozen four), other layers two.
ENTRIES = [
    (Xception, 74 + 40 * 5 + 2),
    (Millie, 16 * 2 + 3 * 2),
    (lambda: resnet50(classes=1000), 53 + 53 * 5 + 2),
    (lambda: Pmg(2), 53 + 53 * 5 + 2 + 6 + 6 * 5 + 4 * (2 * 5 + 2 * 2)),
    (FasterRcnnNetworks, 53 + 53 * 4 + 15 * 2),
    (SpatialAttention, 9 + 9 * 5 + 2 * 2),
    (RatioEnsemble, 2 * 2),
]


@pytest.mark.parametrize(("build", "count"), ENTRIES)
def test_a_checkpoint_has_no_entry_that_the_public_layout_lacks(
    build: Callable[[], nn.Module], count: int
) -> None:
    with torch.device("meta"):
        assert len(build().state_dict()) == count


def test_an_old_detector_checkpoint_gets_the_names_of_today() -> None:
    tensors = FasterRcnnNetworks().state_dict()
    old = {
        name.replace("rpn.head.conv.0.0", "rpn.head.conv").replace(".0.weight", ".weight")
        if "fpn" in name or "rpn.head.conv" in name
        else name: value
        for name, value in tensors.items()
    }
    old = {
        name.replace(".0.bias", ".bias") if "fpn" in name else name: v for name, v in old.items()
    }
    old["backbone.body.bn1.num_batches_tracked"] = torch.tensor(7)
    assert set(old) != set(tensors)
    for checkpoint in (old, tensors):
        renamed = current_names(checkpoint)
        assert list(renamed) == list(tensors)
        assert all(renamed[name] is value for name, value in tensors.items())


def test_a_head_can_have_one_to_three_fully_connected_layers() -> None:
    for hidden in ((), (64,), (64, 32)):
        network = untrained(partial(Xception, hidden, dropout=0.9))
        linear = [part for part in network.modules() if isinstance(part, nn.Linear)]
        assert len(linear) == len(hidden) + 1
        features, logit = network(images(2, 75))
        assert (features.shape, logit.shape) == ((2, 2048), (2,))
        assert torch.equal(network(images(2, 75))[1], logit), "dropout must be off"


def test_an_xception_block_adds_its_input_as_it_came() -> None:
    block = untrained(lambda: XceptionBlock((8,) * 4, halve=False))
    block.last_norm.weight.zero_()
    x = torch.linspace(-1, 1, 8 * 25).reshape(1, 8, 5, 5)
    before = x.clone()
    assert torch.equal(block(x), before), "the activation in front must not touch the shortcut"


def test_the_stages_of_a_trunk_have_their_strides_and_channels() -> None:
    for build in (resnet50, resnext50):
        shapes = [tuple(stage.shape[1:]) for stage in untrained(build)(images(1, 64, 96))]
        assert shapes == [(256, 16, 24), (512, 8, 12), (1024, 4, 6), (2048, 2, 3)]


def test_a_running_maximum_over_cells_gives_the_verdict_of_the_whole_bag() -> None:
    millie = untrained(lambda: Millie(64))
    encoder, head = millie.encoder().eval(), millie.head().eval()
    bag = images(5, 64)
    features = encoder(bag)
    assert features.shape == (5, feature_length(64)) == (5, 2048)
    assert feature_length(200) == 512 * 6 * 6
    running = torch.zeros_like(features[:1])
    for cell in bag:
        running = torch.maximum(running, encoder(cell[None]))
    torch.testing.assert_close(head(running)[0], millie(bag))
    torch.testing.assert_close(head(features[2:3])[0], millie(bag[2:3]))
    assert not torch.allclose(head(features), millie(bag).expand(5, -1))


def test_the_parts_of_a_checkpoint_share_its_weights() -> None:
    millie = untrained(lambda: Millie(64))
    networks = untrained(FasterRcnnNetworks)
    pairs = [
        (millie, (millie.encoder(), millie.head())),
        (networks, (networks.detector(), networks.box_head())),
    ]
    for whole, parts in pairs:
        shared = {weights.data_ptr() for part in parts for weights in part.parameters()}
        assert shared == {weights.data_ptr() for weights in whole.parameters()}


def test_the_pyramid_adds_each_level_to_the_finer_one() -> None:
    pyramid = untrained(FeaturePyramid)
    stages = [torch.zeros((1, 256 * scale, 32 // scale, 32 // scale)) for scale in (1, 2, 4, 8)]
    stages[3][0, 0, 1, 2] = 1.0
    finest = pyramid.inner_blocks[3](stages[3]).repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.testing.assert_close(pyramid(tuple(stages))[0], pyramid.layer_blocks[0](finest))


def test_the_detector_gives_maps_at_five_strides() -> None:
    networks = untrained(FasterRcnnNetworks)
    answers = dict(
        zip(DETECTOR_OUTPUTS, networks.detector().eval()(images(1, 96, 160)), strict=True)
    )
    for level, (h, w) in enumerate([(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]):
        assert answers[f"objectness_{level}"].shape == (1, 3, h, w)
        assert answers[f"deltas_{level}"].shape == (1, 12, h, w)
        if level < 4:
            assert answers[f"features_{level}"].shape == (1, 256, h, w)
    fifth, _ = networks.rpn["head"](answers["features_3"][:, :, ::2, ::2])
    torch.testing.assert_close(answers["objectness_4"], fifth)


def test_the_epsilon_of_the_detectors_trunk_can_be_that_of_its_checkpoint() -> None:
    kinds = [untrained(partial(FasterRcnnNetworks, frozen_eps=eps)) for eps in (0.0, 1.0)]
    stems = [kind.backbone.body.bn1(torch.ones((1, 64, 1, 1))) for kind in kinds]
    torch.testing.assert_close(stems[0], stems[1] * 2**0.5)


def test_the_attention_map_weighs_every_position() -> None:
    network = untrained(SpatialAttention)
    logits, attention = network(images(2, 64))
    assert (logits.shape, attention.shape) == ((2, 5), (2, 32, 32))
    assert 0 <= attention.min() < attention.max() <= 1
    network.attention.conv.bias.fill_(-1e4)
    blind, closed = network(images(2, 64))
    assert closed.max() == 0
    assert torch.equal(blind[0], blind[1]), "with no attention nothing of the image is left"


def grad_cam(pmg: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Grad-CAM as its paper defines it, with autograd."""
    with torch.enable_grad():
        maps = pmg.maps(x)
        logits = torch.stack(pmg.granularities(pool(maps))).sum(0)
        best = logits.max(1).values.sum()
        (gradient,) = torch.autograd.grad(best, maps[-1])
    weights = gradient.mean((2, 3), keepdim=True)
    return logits, torch.relu((weights * maps[-1]).sum(1))


def test_the_map_of_pmg_is_the_grad_cam_of_autograd() -> None:
    pmg = varied(untrained(lambda: Pmg(6, trunk_classes=None)), 2).double()
    x = images(6, 96).double()
    pmg.classifier_concat[4].bias.sub_(pmg(x).mean(0))  # or the same class would win everywhere
    logits, cam = PmgWithMap(pmg).eval()(x)
    wanted_logits, wanted = grad_cam(pmg, x)
    assert cam.shape == (6, 3, 3)
    assert len(set(logits.argmax(1).tolist())) > 1, "several classes must win"
    assert wanted.amax((1, 2)).min() > 0
    torch.testing.assert_close(logits, wanted_logits)
    torch.testing.assert_close(logits, pmg(x))
    torch.testing.assert_close(cam, wanted, rtol=1e-9, atol=0.0)


def test_random_weights_are_the_same_for_the_same_seed() -> None:
    state = torch.get_rng_state()
    one, same, other = (untrained(SpatialAttention, seed).state_dict() for seed in (5, 5, 6))
    for name, value in one.items():
        assert torch.equal(value, same[name]), name
    assert not torch.equal(one["fc.weight"], other["fc.weight"])
    initialise(RatioEnsemble(), 5)
    torch.set_rng_state(state)
    network = RatioEnsemble()
    torch.set_rng_state(state)
    initialise(network, 5)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is left alone"


EXPORTED = [
    ("xception", lambda: Xception((64,)), (3, 107, 107), ("features", "logit")),
    ("encoder", lambda: Millie(64).encoder(), (3, 64, 64), ("features",)),
    ("head", lambda: Millie(64).head(), (2048,), ("logits",)),
    ("pmg", lambda: Pmg(4), (3, 96, 96), ("logits",)),
    ("pmg with map", lambda: PmgWithMap(Pmg(4)), (3, 96, 96), ("logits", "map")),
    ("attention", SpatialAttention, (3, 64, 64), ("logits", "attention")),
    ("ratios", RatioEnsemble, (3,), ("aml", "healthy")),
    ("detector", lambda: FasterRcnnNetworks().detector(), (3, 96, 160), DETECTOR_OUTPUTS),
    ("box head", lambda: FasterRcnnNetworks().box_head(), (256, 7, 7), BOX_HEAD_OUTPUTS),
]
TOLERANCE = 1e-5
"""Of the largest value of an output: float32 sums in another order."""


@pytest.mark.parametrize(
    ("name", "build", "shape", "outputs"), EXPORTED, ids=[e[0] for e in EXPORTED]
)
def test_a_network_answers_in_onnxruntime_as_in_torch(
    name: str, build: Callable[[], nn.Module], shape: tuple[int, ...], outputs: tuple[str, ...]
) -> None:
    network = varied(untrained(build), 3)
    batch = name != "detector"
    data = onnx_bytes(network, torch.zeros((2 if batch else 1, *shape)), "x", outputs, batch=batch)
    assert_batch_norms_are_folded(onnx.load_from_string(data))
    engine = OrtEngine(name, data)
    for rows in (1, 3) if batch else (1,):
        x = torch.rand((rows, *shape), generator=torch.Generator().manual_seed(rows))
        wanted = network(x)
        answers = engine.run({"x": x.numpy()})
        for output, tensor in zip(outputs, wanted if len(outputs) > 1 else (wanted,), strict=True):
            want = tensor.numpy()
            assert answers[output].shape == want.shape
            assert np.isfinite(want).all()
            assert want.std() > 0 or want.size == 1, f"{output} tells nothing apart"
            assert np.abs(answers[output] - want).max() < TOLERANCE * np.abs(want).max(), output


def assert_batch_norms_are_folded(model: onnx.ModelProto) -> None:
    """Only those stay that follow no convolution: PMG's, behind a maximum."""
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert not [node.name for node in norms if makers.get(node.input[0]) == "Conv"]


def test_the_same_weights_give_the_same_file() -> None:
    files = [
        onnx_bytes(
            untrained(SpatialAttention), torch.zeros((2, 3, 64, 64)), "x", ["y", "map"], batch=True
        )
        for _ in range(2)
    ]
    assert files[0] == files[1]
