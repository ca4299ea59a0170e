"""Segment Anything's networks: the keys of the published files, and what they compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")

# The exporter of torch warns about its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

from torch import Tensor, nn  # noqa: E402

from edgeapl.engines.ort import OrtEngine  # noqa: E402
from edgeapl.export.architectures.initialise import initialise  # noqa: E402
from edgeapl.export.architectures.segment_anything import (  # noqa: E402
    MOBILE,
    VIT_B,
    VIT_L,
    SegmentAnything,
    TinyVitSize,
    VitSize,
    size_of,
    vit,
)
from edgeapl.export.architectures.segment_anything.tiny_vit import (  # noqa: E402
    WindowAttention,
    WindowBlock,
)
from edgeapl.export.architectures.segment_anything.vit import Attention, Block  # noqa: E402
from edgeapl.export.graph import Graph  # noqa: E402
from edgeapl.export.onnx_file import onnx_bytes  # noqa: E402
from edgeapl.export.recipes.segment_anything import segment_anything  # noqa: E402

SMALL_VIT = VitSize(width=24, heads=3, windows=(3, None), side=128)
SMALL_TINY = TinyVitSize((8, 16, 20, 24), (1, 1, 2, 1), (2, 2, 3), (7, 14, 7), side=128)
BOX = [[20.0, 30.0, 2.0], [90.0, 100.0, 3.0]]
POINT = [[64.0, 10.0, 1.0], [0.0, 0.0, -1.0]]


def untrained(size: VitSize | TinyVitSize, seed: int = 0) -> SegmentAnything:
    model = SegmentAnything(size)
    initialise(model, seed)
    model.eval()
    return model


def shapes_of(size: VitSize | TinyVitSize) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = SegmentAnything(size)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def layers(
    prefix: str, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Weight and bias of layers: the shape is the weight's, a bias has its first size."""
    for name, shape in shapes.items():
        yield f"{prefix}{name}.weight", shape
        yield f"{prefix}{name}.bias", shape[:1]


def published_prompts_and_decoder() -> dict[str, tuple[int, ...]]:
    """The 137 tensors that all published files have, written down from their documented layout:
    segment_anything/modeling of facebookresearch/segment-anything (prompt_encoder.py,
    mask_decoder.py, transformer.py), whose build_sam.py loads them strictly."""
    w = 256
    found: dict[str, tuple[int, ...]] = {}
    prompt = "prompt_encoder."
    found[f"{prompt}pe_layer.positional_encoding_gaussian_matrix"] = (2, w // 2)
    for name in (*(f"point_embeddings.{n}" for n in range(4)), "not_a_point_embed"):
        found[f"{prompt}{name}.weight"] = (1, w)
    found[f"{prompt}no_mask_embed.weight"] = (1, w)
    down = {"0": (4, 1, 2, 2), "1": (4,), "3": (16, 4, 2, 2), "4": (16,), "6": (w, 16, 1, 1)}
    found.update(layers(f"{prompt}mask_downscaling.", down))
    attention = {"q_proj": (128, w), "k_proj": (128, w), "v_proj": (128, w), "out_proj": (w, 128)}
    whole = dict.fromkeys(attention, (w, w))
    decoder = "mask_decoder."
    for number in range(2):
        layer = f"{decoder}transformer.layers.{number}."
        found.update(layers(f"{layer}self_attn.", whole))
        found.update(layers(f"{layer}cross_attn_token_to_image.", attention))
        found.update(layers(f"{layer}cross_attn_image_to_token.", attention))
        found.update(layers(f"{layer}mlp.", {"lin1": (2048, w), "lin2": (w, 2048)}))
        found.update(layers(layer, {f"norm{n}": (w,) for n in range(1, 5)}))
    found.update(layers(f"{decoder}transformer.final_attn_token_to_image.", attention))
    found.update(layers(f"{decoder}transformer.", {"norm_final_attn": (w,)}))
    found[f"{decoder}iou_token.weight"] = (1, w)
    found[f"{decoder}mask_tokens.weight"] = (4, w)
    up = {"0": (w, 64, 2, 2), "1": (64,), "3": (64, 32, 2, 2)}
    for name, shape in layers(f"{decoder}output_upscaling.", up):
        found[name] = shape if name.endswith("weight") else (up[name.split(".")[-2]][1:2] or shape)
    for mask in range(4):
        three = {"0": (w, w), "1": (w, w), "2": (32, w)}
        found.update(layers(f"{decoder}output_hypernetworks_mlps.{mask}.layers.", three))
    quality = {"0": (w, w), "1": (w, w), "2": (4, w)}
    found.update(layers(f"{decoder}iou_prediction_head.layers.", quality))
    return found


def neck_of(width: int) -> dict[str, tuple[int, ...]]:
    found = dict(layers("image_encoder.neck.", {"1": (256,), "3": (256,)}))
    found["image_encoder.neck.0.weight"] = (256, width, 1, 1)
    found["image_encoder.neck.2.weight"] = (256, 256, 3, 3)
    return found


def published_vit(width: int, blocks: int, whole: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """As segment_anything/modeling/image_encoder.py and build_sam.py say."""
    encoder = "image_encoder."
    found = {f"{encoder}pos_embed": (1, 64, 64, width), **neck_of(width)}
    found.update(layers(f"{encoder}patch_embed.", {"proj": (width, 3, 16, 16)}))
    for number in range(blocks):
        block = f"{encoder}blocks.{number}."
        found.update(layers(block, {"norm1": (width,), "norm2": (width,)}))
        found.update(layers(f"{block}attn.", {"qkv": (3 * width, width), "proj": (width, width)}))
        found.update(
            layers(f"{block}mlp.", {"lin1": (4 * width, width), "lin2": (width, 4 * width)})
        )
        extent = 64 if number in whole else 14
        for axis in "hw":
            found[f"{block}attn.rel_pos_{axis}"] = (2 * extent - 1, 64)
    return found


def normed(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    found = {f"{name}.c.weight": shape, f"{name}.bn.num_batches_tracked": ()}
    statistics = ("weight", "bias", "running_mean", "running_var")
    return {**found, **{f"{name}.bn.{part}": shape[:1] for part in statistics}}


def published_tiny() -> dict[str, tuple[int, ...]]:
    """As mobile_sam/modeling/tiny_vit_sam.py and build_sam.py of MobileSAM say."""
    encoder = "image_encoder."
    found = neck_of(320)
    found.update(normed(f"{encoder}patch_embed.seq.0", (32, 3, 3, 3)))
    found.update(normed(f"{encoder}patch_embed.seq.2", (64, 32, 3, 3)))
    for number in range(2):
        block = f"{encoder}layers.0.blocks.{number}."
        found.update(normed(f"{block}conv1", (256, 64, 1, 1)))
        found.update(normed(f"{block}conv2", (256, 1, 3, 3)))
        found.update(normed(f"{block}conv3", (64, 256, 1, 1)))
    widths = (64, 128, 160, 320)
    for stage, (width, depth, heads, window) in enumerate(
        [(128, 2, 4, 7), (160, 6, 5, 14), (320, 2, 10, 7)], start=1
    ):
        for number in range(depth):
            block = f"{encoder}layers.{stage}.blocks.{number}."
            found[f"{block}attn.attention_biases"] = (heads, window * window)
            attention = {"norm": (width,), "qkv": (3 * width, width), "proj": (width, width)}
            found.update(layers(f"{block}attn.", attention))
            two = {"norm": (width,), "fc1": (4 * width, width), "fc2": (width, 4 * width)}
            found.update(layers(f"{block}mlp.", two))
            found.update(normed(f"{block}local_conv", (width, 1, 3, 3)))
    for stage in range(3):
        inside, outside = widths[stage : stage + 2]
        merging = f"{encoder}layers.{stage}.downsample."
        found.update(normed(f"{merging}conv1", (outside, inside, 1, 1)))
        found.update(normed(f"{merging}conv2", (outside, 1, 3, 3)))
        found.update(normed(f"{merging}conv3", (outside, outside, 1, 1)))
    found.update(layers(encoder, {"norm_head": (320,), "head": (1000, 320)}))
    return found


@pytest.mark.parametrize(
    ("size", "encoder", "count"),
    [
        (VIT_B, published_vit(768, 12, (2, 5, 8, 11)), 314),
        (VIT_L, published_vit(1024, 24, (5, 11, 17, 23)), 482),
        (MOBILE, published_tiny(), 439),
    ],
    ids=["sam_vit_b_01ec64.pth", "sam_vit_l_0b3195.pth", "mobile_sam.pt"],
)
def test_keys_and_shapes_are_those_of_the_published_file(
    size: VitSize | TinyVitSize, encoder: dict[str, tuple[int, ...]], count: int
) -> None:
    have = shapes_of(size)
    assert have == {**encoder, **published_prompts_and_decoder()}
    assert len(have) == count


@pytest.mark.parametrize("size", [VIT_B, VIT_L, MOBILE, SMALL_VIT], ids=str)
def test_a_checkpoint_tells_its_size(size: VitSize | TinyVitSize) -> None:
    assert size_of(shapes_of(size)) == size


@pytest.mark.parametrize(
    "shapes",
    [{}, {"image_encoder.trunk.0.weight": (3, 3)}, {"image_encoder.pos_embed": (1, 8, 8, 24)}],
)
def test_another_network_has_no_size(shapes: dict[str, tuple[int, ...]]) -> None:
    assert size_of(shapes) is None


def test_attention_adds_what_the_query_says_of_rows_and_columns_apart() -> None:
    extent, heads, width = 3, 2, 8
    attention = Attention(width, heads, extent).eval()
    initialise(attention, 1)
    x = torch.randn((1, extent, extent, width), generator=torch.Generator().manual_seed(2))
    each = width // heads
    qkv = attention.qkv(x).reshape(extent, extent, 3, heads, each)
    wanted = torch.zeros((extent, extent, heads, each))
    places = [(row, column) for row in range(extent) for column in range(extent)]
    for row, column in places:
        for head in range(heads):
            query = qkv[row, column, 0, head]
            logits = []
            for other_row, other_column in places:
                key = qkv[other_row, other_column, 1, head]
                of_row = attention.rel_pos_h[row - other_row + extent - 1]
                of_column = attention.rel_pos_w[column - other_column + extent - 1]
                logits.append(query @ key / each**0.5 + query @ (of_row + of_column))
            shares = torch.softmax(torch.stack(logits), dim=0)
            for share, (other_row, other_column) in zip(shares, places, strict=True):
                wanted[row, column, head] += share * qkv[other_row, other_column, 2, head]
    answer = attention.proj(wanted.reshape(1, extent, extent, width))
    torch.testing.assert_close(attention(x), answer, rtol=1e-5, atol=1e-5)


def test_heads_that_are_computed_one_by_one_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    attention = Attention(12, 3, 4).eval()
    initialise(attention, 1)
    x = torch.randn((2, 4, 4, 12), generator=torch.Generator().manual_seed(2))
    together = attention(x)
    monkeypatch.setattr(vit, "MOST_TOKENS", 15)
    torch.testing.assert_close(attention(x), together, rtol=1e-5, atol=1e-5)


def test_biases_of_small_windows_are_those_of_the_distance() -> None:
    window, heads, width = 3, 2, 8
    attention = WindowAttention(width, heads, window).eval()
    initialise(attention, 1)
    x = torch.randn((1, window, window, width), generator=torch.Generator().manual_seed(2))
    each = width // heads
    # Query, key and value of one head lie side by side.
    qkv = attention.qkv(attention.norm(x)).reshape(window * window, heads, 3, each)
    wanted = torch.zeros((window * window, heads, each))
    for place in range(window * window):
        for head in range(heads):
            logits = [
                qkv[place, head, 0] @ qkv[other, head, 1] / each**0.5
                + attention.attention_biases[
                    head,
                    abs(place // window - other // window) * window
                    + abs(place % window - other % window),
                ]
                for other in range(window * window)
            ]
            wanted[place, head] = torch.softmax(torch.stack(logits), dim=0) @ qkv[:, head, 2]
    answer = attention.proj(wanted.reshape(1, window, window, width))
    torch.testing.assert_close(attention(x), answer, rtol=1e-5, atol=1e-5)


def windows_of(x: Tensor, side: int) -> Iterator[tuple[int, int, Tensor]]:
    """Each window of (1, H, W, C) on its own, filled up with zeros."""
    _, height, width, _ = x.shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            part = x[:, top : top + side, left : left + side]
            missing = (0, 0, 0, side - part.shape[2], 0, side - part.shape[1])
            yield top, left, nn.functional.pad(part, missing)


def test_windows_that_reach_over_the_edge_are_filled_with_zeros_after_the_norm() -> None:
    block = Block(SMALL_VIT, 3).eval()
    initialise(block, 1)
    x = torch.randn((1, 8, 8, 24), generator=torch.Generator().manual_seed(2))
    seen = torch.zeros_like(x)
    for top, left, part in windows_of(block.norm1(x), 3):
        place = seen[:, top : top + 3, left : left + 3]
        place.copy_(block.attn(part)[:, : place.shape[1], : place.shape[2]])
    wanted = x + seen
    wanted = wanted + block.mlp(block.norm2(wanted))
    torch.testing.assert_close(block(x), wanted, rtol=1e-5, atol=1e-5)


def test_windows_of_the_small_encoder_are_filled_with_zeros_before_the_norm() -> None:
    block = WindowBlock(16, 2, 3).eval()
    initialise(block, 1)
    block.attn.norm.bias.fill_(0.5)  # so that a zero is no zero after the norm
    x = torch.randn((1, 16, 8, 8), generator=torch.Generator().manual_seed(2))
    tokens = x.permute(0, 2, 3, 1)
    seen = torch.zeros_like(tokens)
    for top, left, part in windows_of(tokens, 3):
        place = seen[:, top : top + 3, left : left + 3]
        place.copy_(block.attn(part)[:, : place.shape[1], : place.shape[2]])
    mixed = block.local_conv((tokens + seen).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    wanted = (mixed + block.mlp(mixed)).permute(0, 3, 1, 2)
    torch.testing.assert_close(block(x), wanted, rtol=1e-5, atol=1e-5)


def test_prompts_are_waves_of_their_place_and_their_kind() -> None:
    encoder = untrained(SMALL_VIT).prompt_encoder
    (box,) = encoder(torch.tensor([BOX]))
    matrix = encoder.pe_layer.positional_encoding_gaussian_matrix
    for row, (x, y, kind) in enumerate(BOX):
        place = torch.tensor([(x + 0.5) / 128, (y + 0.5) / 128])
        angles = 2 * torch.pi * ((2 * place - 1) @ matrix)
        waves = torch.cat([angles.sin(), angles.cos()])
        learned = encoder.point_embeddings[int(kind)].weight[0]
        torch.testing.assert_close(box[row], waves + learned, rtol=1e-4, atol=1e-4)
    (point,) = encoder(torch.tensor([POINT]))
    torch.testing.assert_close(point[1], encoder.not_a_point_embed.weight[0])
    assert not torch.equal(point[0], point[1])


def test_prompts_of_one_image_do_not_see_each_other() -> None:
    decoder = untrained(SMALL_VIT).decoder()
    embedding = torch.randn((1, 256, 8, 8), generator=torch.Generator().manual_seed(1))
    both = decoder(torch.tensor([BOX, POINT]), embedding)
    alone = decoder(torch.tensor([POINT]), embedding)
    for together, one in zip(both, alone, strict=True):
        torch.testing.assert_close(together[1:], one, rtol=1e-4, atol=1e-4)
    assert both[0].shape == (2, 4, 32, 32)
    assert both[1].shape == (2, 4)


TOLERANCE = 1e-5
"""Of the largest value of an output: float32 sums in another order."""


@pytest.mark.parametrize("size", [SMALL_VIT, SMALL_TINY], ids=["vit", "tiny vit"])
def test_encoders_answer_in_onnxruntime_as_in_torch(size: VitSize | TinyVitSize) -> None:
    encoder = untrained(size).image_encoder
    for part in encoder.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2)
    image = torch.randn((1, 3, 128, 128), generator=torch.Generator().manual_seed(1))
    data = onnx_bytes(encoder, image, "x", ["embedding"], batch=False)
    close(OrtEngine("encoder", data).run({"x": image.numpy()})["embedding"], encoder(image))


def test_the_decoder_answers_in_onnxruntime_as_in_torch() -> None:
    _, network = segment_anything(SMALL_VIT, side=128).networks
    graph = Graph(untrained(SMALL_VIT), network, explain=False)
    shared, names = ("embedding", *graph.shared_example()), graph.output_names
    data = onnx_bytes(graph, graph.example(), "prompts", names, batch=True, shared=shared)
    engine = OrtEngine("decoder", data)
    assert engine.inputs == {
        "prompts": ("float32", (None, 2, 3)),
        "embedding": ("float32", (1, 256, 8, 8)),
    }
    embedding = torch.randn((1, 256, 8, 8), generator=torch.Generator().manual_seed(1))
    prompts = torch.tensor([BOX, POINT, [POINT[0], BOX[0]]])
    for rows in (1, 3):
        answers = engine.run({"prompts": prompts[:rows].numpy(), "embedding": embedding.numpy()})
        wanted = graph(prompts[:rows], embedding)
        for name, want in zip(names, wanted, strict=True):
            close(answers[name], want)


def close(have: np.ndarray, want: Tensor) -> None:
    wanted = want.numpy()
    assert have.shape == wanted.shape
    assert np.isfinite(wanted).all()
    assert wanted.std() > 0, "it tells nothing apart"
    assert np.abs(have - wanted).max() < TOLERANCE * np.abs(wanted).max()


def test_random_weights_are_the_same_for_the_same_seed() -> None:
    one, same, other = (untrained(SMALL_TINY, seed).state_dict() for seed in (5, 5, 6))
    vit, again = (untrained(SMALL_VIT, 5).state_dict() for _ in range(2))
    for first, second in ((one, same), (vit, again)):
        for name, value in first.items():
            assert torch.equal(value, second[name]), name
    name = "image_encoder.layers.1.blocks.0.attn.attention_biases"
    assert not torch.equal(one[name], other[name])
