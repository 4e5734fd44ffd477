import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pfvit.config.presets import ARCHITECTURES, NANO
from pfvit.model import SEPARATORS, Encoder, PFViTOutput, mask_patches
from pfvit.model.autoencoder import Autoencoder
from pfvit.model.leace_axes import leace_axes, leace_axes_of_sets
from pfvit.model.stems import ConvLayer, PatchEmbed
from pfvit.model.transformer import Attention, CrossAttention, patchify, positions, unpatchify
from pfvit.training.build import build_decoder, build_discriminator, build_encoder, build_pfvit

CONVOLUTIONAL = replace(NANO, patch_size=8, stem=(4, 8, 16), separator="subspace")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@given(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 4), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_unpatchify_undoes_patchify(batch, channels, side, size):
    face = torch.rand(batch, channels, side * size, side * size)
    assert torch.equal(unpatchify(patchify(face, size), size, channels), face)


def test_patches_come_in_reading_order():
    face = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert patchify(face, 2)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@given(st.integers(1, 3), st.integers(4, 40), st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=30)
def test_kept_and_hidden_patches_partition_the_face(batch, patches, ratio):
    mask = mask_patches(torch.rand(batch, patches), ratio)
    for kept, hidden in zip(mask.kept, mask.hidden, strict=True):
        assert sorted([*kept.tolist(), *hidden.nonzero().flatten().tolist()]) == list(range(patches))
    assert mask.kept.shape[1] == round(patches * (1 - ratio))


def test_restore_puts_tokens_back_where_they_were():
    mask = mask_patches(torch.rand(2, 9), 0.5)
    tokens = torch.arange(9.0).expand(2, 9)
    order = torch.cat([mask.kept, mask.hidden.float().argsort(dim=1, stable=True)[:, len(mask.kept[0]) :]], dim=1)
    kept_first = tokens.gather(1, mask.kept)
    back = torch.cat([kept_first, torch.full((2, 9 - kept_first.shape[1]), -1.0)], 1).gather(1, mask.restore)
    assert torch.equal(back[~mask.hidden], tokens[~mask.hidden])
    assert (back[mask.hidden] == -1).all()
    assert order.shape == (2, 9)


@pytest.mark.parametrize("sizes", [NANO, CONVOLUTIONAL])
def test_encoder_sees_kept_patches_only(sizes):
    encoder = build_encoder(sizes).eval()
    face = torch.rand(2, 1, 24, 24)
    mask = mask_patches(torch.rand(2, sizes.tokens), 0.5)
    patches = patchify(face, sizes.patch_size)
    patches[mask.hidden] = 7.0
    changed = unpatchify(patches, sizes.patch_size, 1)
    assert torch.equal(encoder(face, mask.kept), encoder(changed, mask.kept))
    assert not torch.allclose(encoder(face), encoder(changed))


def test_attention_equals_a_written_out_softmax():
    attention = Attention(12, heads=3)
    tokens = torch.randn(2, 5, 12)
    q, k, v = attention.qkv(tokens).chunk(3, dim=-1)
    heads = []
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4)).softmax(-1)
        heads.append(weights @ v[..., part])
    torch.testing.assert_close(attention(tokens), attention.proj(torch.cat(heads, -1)))


def test_cross_attention_equals_a_written_out_softmax():
    attention = CrossAttention(8, heads=2)
    tokens, other = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    q = attention.q(tokens)
    k, v = attention.kv(other).chunk(2, dim=-1)
    heads = [(q[..., p] @ k[..., p].transpose(1, 2) / 2).softmax(-1) @ v[..., p] for p in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(attention(tokens, other), attention.proj(torch.cat(heads, -1)))


def test_positions_follow_the_formula():
    table = positions(8, 3)
    assert table.shape == (1, 10, 8)
    assert (table[0, 0] == 0).all()
    row, column = 2, 1  # token 1 + 2 * 3 + 1; frequencies 1 and 1 / 100
    expected = [f(p * w) for p in (column, row) for f in (math.sin, math.cos) for w in (1, 0.01)]
    torch.testing.assert_close(table[0, 1 + 3 * row + column], torch.tensor(expected))


def test_a_stem_makes_a_token_for_each_patch_in_reading_order():
    encoder = build_encoder(CONVOLUTIONAL).eval()
    face = torch.zeros(1, 1, 24, 24)
    plain = encoder.patch_embed(face)
    assert plain.shape == (1, 9, 32)
    face[0, 0, 18:22, 2:6] = 1.0  # inside the patch of the last row, first column
    moved = (encoder.patch_embed(face) - plain).abs().sum(-1)[0]
    assert moved.argmax() == 6


def test_the_discriminator_keeps_the_statistics_of_its_stem():
    critic = build_discriminator(CONVOLUTIONAL)
    before = {name: value.clone() for name, value in critic.named_buffers()}
    critic(torch.rand(4, 1, 24, 24))
    assert any(name.endswith("running_mean") for name in before)
    assert all(torch.equal(before[name], value) for name, value in critic.named_buffers())


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_keep_channels_side_by_side_also_of_gray_faces(channels):
    sizes = replace(CONVOLUTIONAL, channels=channels)
    model, seen = build_pfvit(sizes), []
    for layer in (*model.encoder.patch_embed.layers, model.generator.refiner.conv2):
        layer.register_forward_hook(lambda layer, _, out: seen.append(out))
    model(torch.rand(2, channels, 24, 24))
    assert len(seen) > 4 and all(out.is_contiguous(memory_format=torch.channels_last) for out in seen)


def test_statistics_that_stay_go_into_the_convolution_s_weights():
    layer = ConvLayer(3, 5, stride=2).eval()
    for vector in (*layer.norm.parameters(), layer.norm.running_mean, layer.norm.running_var):
        nn.init.uniform_(vector, 0.5, 2)
    grid = torch.randn(2, 3, 8, 8, requires_grad=True)
    ours, plain = layer(grid), layer.norm(layer.conv(grid)).relu()
    torch.testing.assert_close(ours, plain)
    wanted = (grid, *layer.parameters())
    pairs = zip(*(torch.autograd.grad(out.square().sum(), wanted) for out in (ours, plain)), strict=True)
    for gradient, expected in pairs:
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)


def test_erased_axes_leave_nothing_that_a_linear_probe_could_read():
    tokens = torch.randn(600, 5, 16)
    label = torch.arange(600) % 3
    tokens[:, 0] += torch.eye(16)[label] * 2  # the class token tells the class along some axes, patches along others
    tokens[:, 1:] += torch.eye(16)[label + 6][:, None]
    target = torch.eye(3)[label]
    axes = leace_axes(zip(tokens.split(100), target.split(100), strict=True), rank=6)
    torch.testing.assert_close(axes.T @ axes, torch.eye(6))
    residue = tokens - tokens @ axes @ axes.T

    def apart(features):  # the largest difference of two classes' means
        means = torch.stack([features[label == k].mean(0) for k in range(3)])
        return float((means[:, None] - means).norm(dim=-1).max())

    for pool in (lambda z: z[:, 0], lambda z: z[:, 1:].mean(1)):
        assert apart(pool(tokens)) > 0.9 and apart(pool(residue)) < 1e-5
    with pytest.raises(ValueError, match="no faces"):
        leace_axes([], rank=6)


def test_axes_of_sets_hold_what_tells_classes_apart_in_each():
    label = torch.arange(300) % 3
    target = torch.eye(3)[label]
    sets = []
    for shift in (0, 6):  # the second set tells its classes along other axes
        tokens = torch.randn(300, 4, 16) * 0.1 + torch.eye(16)[label + shift][:, None] * 2 + shift
        sets.append([(part, kind) for part, kind in zip(tokens.split(100), target.split(100), strict=True)])
    axes = leace_axes_of_sets(sets, rank=8)
    torch.testing.assert_close(axes.T @ axes, torch.eye(8))
    for batches in sets:
        tokens = torch.cat([part for part, _ in batches]).mean(1)
        residue = tokens - tokens @ axes @ axes.T
        for features, least, most in ((tokens, 2.0, 9.9), (residue, 0.0, 1e-5)):
            means = torch.stack([features[label == k].mean(0) for k in range(3)])
            assert least <= float((means[0] - means[1]).norm()) <= most


def test_a_subspace_ready_for_export_separates_as_before():
    separator = SEPARATORS["subspace"](32)
    torch.nn.init.normal_(separator.basis)
    whole = torch.randn(2, 5, 32)
    before = separator(whole)
    separator.prepare_export()
    torch.testing.assert_close(separator(whole).emotion, before.emotion)


@pytest.mark.parametrize("kind", SEPARATORS)
def test_emotion_and_residue_add_up_to_the_whole(kind):
    whole = torch.randn(4, 17, 32)
    emotion, residue = SEPARATORS[kind](32)(whole)
    torch.testing.assert_close(emotion + residue, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["projection", "subspace"])
def test_emotion_and_residue_are_orthogonal_by_construction(kind):
    emotion, residue = SEPARATORS[kind](32)(torch.randn(4, 17, 32))
    assert emotion.norm() > 0.1
    assert (emotion * residue).sum(-1).abs().max() < 1e-4


def test_separation_survives_autocast():
    separator = SEPARATORS["projection"](32)
    whole = torch.randn(4, 17, 32)
    with torch.autocast("cpu", torch.bfloat16):
        emotion, residue = separator(whole)
    assert emotion.dtype == torch.float32
    assert (emotion * residue).sum(-1).abs().max() < 1e-4


def test_forward_gives_everything_and_at_first_both_faces_are_the_decoder_s():
    model = build_pfvit(NANO)
    face = torch.rand(3, 1, 24, 24)
    out = model(face)
    assert isinstance(out, PFViTOutput)
    assert out.representation.shape == out.emotion.shape == out.residue.shape == (3, 17, 32)
    assert out.logits.shape == (3, 8)
    assert out.reconstruction.shape == out.poker_face.shape == face.shape
    # Closed gates and a silent refiner: the generator starts as the pre-trained decoder.
    torch.testing.assert_close(out.reconstruction, out.poker_face)
    decoder = model.generator.decoder
    torch.testing.assert_close(out.poker_face, unpatchify(decoder(decoder.embed(out.residue)), 6, 1))
    torch.testing.assert_close(out.logits, model.recognise(face))


def test_the_poker_face_does_not_depend_on_the_emotion():
    generator = build_pfvit(NANO).generator
    for cross in generator.cross.values():
        torch.nn.init.ones_(cross.gate)
    torch.nn.init.normal_(generator.emotion_embed.weight)
    residue, emotion, other = torch.randn(3, 2, 17, 32)
    poker = torch.ones(2)
    assert torch.equal(generator(emotion, residue, poker), generator(other, residue, poker))
    half = torch.full((2,), 0.5)
    assert not torch.allclose(generator(emotion, residue, half), generator(other, residue, half))


def test_autoencoder_and_generator_share_the_decoder():
    decoder = build_decoder(NANO)
    autoencoder = Autoencoder(build_encoder(NANO), decoder)
    drawn = autoencoder(torch.rand(2, 1, 24, 24), mask_patches(torch.rand(2, 16), 0.75))
    assert drawn.shape == (2, 16, 36)
    names = build_pfvit(NANO).generator.decoder.state_dict().keys()
    assert names == decoder.state_dict().keys()


def test_penalty_is_the_squared_slope_of_realism():
    critic = build_discriminator(NANO)
    face = torch.rand(2, 1, 24, 24)
    penalty = critic(face, with_r1=True).r1
    leaf = face.clone().requires_grad_()
    verdict = critic(leaf)
    total = verdict.realism.sum() + verdict.patch_realism.mean(1).sum()
    (slope,) = torch.autograd.grad(total, leaf)
    torch.testing.assert_close(penalty, slope.square().sum((1, 2, 3)).mean())
    penalty.backward()
    assert critic.realism.weight.grad.abs().sum() > 0


def test_the_output_of_faces_together_is_split_as_they_were_joined():
    discriminator = build_discriminator(NANO).eval()
    one, other = torch.rand(2, 1, 24, 24), torch.rand(3, 1, 24, 24)
    for joined, alone in zip(
        discriminator(torch.cat([one, other])).split(2), map(discriminator, (one, other)), strict=True
    ):
        for ours, expected in zip(joined, alone, strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_patches_must_tile_the_face():
    with pytest.raises(ValueError, match="patches of 6 px do not tile a face of 50 px"):
        Encoder(PatchEmbed(6, 1, 32), 50, 32, 1, 2)


def test_presets_have_the_papers_sizes():
    from pfvit.training.cost import cost

    # docs/paper.md, section 1.2: ViT-Ti/S/B have 5.5, 21.7 and 85.8 M parameters with a 7-class head.
    for name, millions in (("paper-tiny", 5.5), ("paper-small", 21.7), ("paper-base", 85.8)):
        # The fixed positions (197 x width) are counted as parameters in the published figures.
        sizes = ARCHITECTURES[name]
        table = 197 * sizes.width + 7 * sizes.width
        assert (cost(name)["encoder"]["parameters"] + table) / 1e6 == pytest.approx(millions, rel=0.01)


def test_a_face_that_skips_every_layer_keeps_its_patches():
    encoder = build_encoder(NANO).eval()
    face = torch.rand(2, 1, 24, 24)
    everything = encoder(face, paths=torch.ones(2, NANO.depth, 2))
    torch.testing.assert_close(everything, encoder(face))
    nothing = encoder(face, paths=torch.zeros(2, NANO.depth, 2))
    bare = torch.cat([encoder.cls_token.expand(2, -1, -1), encoder.patch_embed(face)], dim=1) + encoder.pos_embed
    torch.testing.assert_close(nothing, encoder.norm(bare))
