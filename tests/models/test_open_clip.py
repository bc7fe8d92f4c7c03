"""A CLIP in open_clip's layout becomes transformers' CLIPModel: the same features as torch's own attention gives."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPModel

from t2i.errors import UserError
from t2i.models import open_clip

WIDTH, SEEN, JOINT, WORDS, TOKENS, SIDE, PATCH = 64, 128, 24, 40, 12, 32, 8


class Block(nn.Module):
    """A residual block as open_clip names its parts, on torch's MultiheadAttention with its fused projection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 2 * width), "c_proj": nn.Linear(2 * width, width)})

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        own = self.ln_1(x)
        x = x + self.attn(own, own, own, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp["c_proj"](nn.functional.gelu(self.mlp["c_fc"](self.ln_2(x))))


def _tower(width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"resblocks": nn.ModuleList([Block(width), Block(width)])})


class Picture(nn.Module):
    """The picture tower."""

    def __init__(self) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(SEEN))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, SEEN))
        self.conv1 = nn.Conv2d(3, SEEN, PATCH, PATCH, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(SEEN), nn.LayerNorm(SEEN)
        self.transformer = _tower(SEEN)
        self.proj = nn.Parameter(torch.randn(SEEN, JOINT))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(pixels), 1, -1), patches], 1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer["resblocks"]:  # type: ignore[union-attr]
            x = block(x, None)
        return self.ln_post(x[:, 0]) @ self.proj


class Clip(nn.Module):
    """As open_clip's class: the text tower lies beside the picture tower."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Picture()
        self.transformer = _tower(WIDTH)
        self.token_embedding = nn.Embedding(WORDS, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.randn(WIDTH, JOINT))
        self.logit_scale = nn.Parameter(torch.tensor(4.2))

    def text(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = torch.full((tokens.shape[1],) * 2, float("-inf")).triu(1)
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block in self.transformer["resblocks"]:  # type: ignore[union-attr]
            x = block(x, mask)
        return self.ln_final(x)[torch.arange(len(tokens)), tokens.argmax(-1)] @ self.text_projection


@pytest.fixture(scope="module")
def original() -> Clip:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Clip()
        for parameter in model.parameters():  # biases and norms too: what starts at 0 or 1 would hide an exchange
            if parameter.ndim == 1:
                nn.init.normal_(parameter, 0.3, 0.4)
        return model.eval()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_features_are_those_of_the_original(original: Clip, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"HPS_v2.1_compressed{suffix}"
    state = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    if suffix == ".pt":
        torch.save({"state_dict": state | {"attn_mask": torch.zeros(2, 2)}}, path)
    else:
        save_file(state, path)
    model = open_clip.load(path)
    assert type(model) is CLIPModel and not any(own.is_meta for own in (*model.parameters(), *model.buffers()))
    pixels = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[38, 4, 9, 39, 39, 39], [38, 7, 7, 1, 2, 39], [38, 39, 39, 39, 39, 39]])
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        read = model.text_projection(model.text_model(input_ids=tokens).pooler_output)
        torch.testing.assert_close(seen, original.visual(pixels), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(read, original.text(tokens), rtol=1e-4, atol=1e-4)
    assert float(model.logit_scale) == pytest.approx(4.2)


def test_half_precision_becomes_float32(original: Clip) -> None:
    model = open_clip.convert({name: own.half() for name, own in original.state_dict().items()}, "here")
    assert {own.dtype for own in model.parameters()} == {torch.float32}


def test_query_and_key_exchanged_would_be_seen(original: Clip) -> None:
    state = dict(original.state_dict())
    name = "visual.transformer.resblocks.0.attn.in_proj_weight"
    q, k, v = state[name].chunk(3)
    model = open_clip.convert(state | {name: torch.cat([k, v, q])}, "here")
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        assert (seen - original.visual(pixels)).abs().max() > 0.01


def test_nothing_is_left_or_made_up(original: Clip, tmp_path: Path) -> None:
    state = dict(original.state_dict())
    with pytest.raises(UserError, match="here holds score_predictor.weight, which is no part of a CLIP"):
        open_clip.convert(state | {"score_predictor.weight": torch.zeros(2)}, "here")
    without = {name: own for name, own in state.items() if name != "ln_final.bias"}
    with pytest.raises(UserError, match=r"here lacks 1 tensors of a CLIP, text_model\.final_layer_norm\.bias"):
        open_clip.convert(without, "here")
    with pytest.raises(UserError, match="here lacks text_projection"):
        open_clip.convert({name: own for name, own in state.items() if name != "text_projection"}, "here")
    with pytest.raises(UserError, match=r"pre_layrnorm.bias of shape \(7,\); expected \(128,\)"):
        open_clip.convert(state | {"visual.ln_pre.bias": torch.zeros(7)}, "here")
    (tmp_path / "broken.pt").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read as a file of weights"):
        open_clip.load(tmp_path / "broken.pt")


def test_the_full_size_has_the_published_shapes() -> None:
    """ViT-H/14: 986,109,441 parameters."""
    config = open_clip.config_of(_full_size())
    with torch.device("meta"):
        assert sum(own.numel() for own in CLIPModel(config).parameters()) == 986_109_441
    assert (config.vision_config.num_attention_heads, config.text_config.num_attention_heads) == (16, 16)
    assert config.vision_config.image_size == 224


def _full_size() -> dict[str, torch.Tensor]:
    """The shapes that sizes are read from, of no memory."""

    def empty(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    state = {
        "token_embedding.weight": empty(49408, 1024), "positional_embedding": empty(77, 1024),
        "text_projection": empty(1024, 1024), "visual.positional_embedding": empty(257, 1280),
        "visual.conv1.weight": empty(1280, 3, 14, 14),
    }  # fmt: skip
    for tower, width, count in (("", 1024, 24), ("visual.", 1280, 32)):
        for layer in range(count):
            state[f"{tower}transformer.resblocks.{layer}.mlp.c_fc.weight"] = empty(4 * width, width)
    return state
