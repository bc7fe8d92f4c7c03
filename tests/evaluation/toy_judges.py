"""Judges of the real classes at toy size, with random weights and vocabularies of a few words."""

import json
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
    "<unk>",
)  # fmt: skip
WORDS = (
    "Yes No yes no Does Is Are there a an the this figure show showing exactly three two red blue green kite dog and of left "
    "right to Please answer or user assistant bench ? . \" ' ,"
).split()
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {% for c in m.content %}{% if c.type == 'image' %}<|vision_start|>"
    "<|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


def qwen(folder: Path) -> Path:
    """A Qwen3VLForConditionalGeneration, as its published folders are laid out; pictures of 32 to 128 pixels."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLImageProcessorPil,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
    )

    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(SPECIAL[1:7]),
    )
    pictures = Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    )
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    width: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "initializer_range": 0.2}
    config = Qwen3VLConfig(
        text_config=width
        | {"vocab_size": len(vocabulary), "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        | {"head_dim": 16, "rope_parameters": rope},
        vision_config=width
        | {"depth": 2, "num_heads": 2, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}
        | {"out_hidden_size": 32, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    for part in (tokenizer, pictures):
        part.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    # As published: settings of the class that needs torchvision, and of videos, which nobody has here.
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    settings |= {"image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen3VLProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "video_preprocessor_config.json").write_text('{"video_processor_type": "Qwen3VLVideoProcessor"}')
    return folder


def blip(folder: Path) -> Path:
    """A BlipForQuestionAnswering with a BERT tokenizer; pictures of 32 pixels."""
    import torch
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForQuestionAnswering,
        BlipImageProcessorPil,
        BlipProcessor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    words = [*special, *dict.fromkeys(word.lower() for word in WORDS)]
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)}, model_max_length=24)
    width: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = BlipConfig(
        text_config=width
        | {"vocab_size": len(words), "encoder_hidden_size": 32, "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3}
        | {"pad_token_id": 0, "max_position_embeddings": 32, "initializer_range": 0.3},
        vision_config=width | {"image_size": 32, "patch_size": 8},
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BlipForQuestionAnswering(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    BlipProcessor(BlipImageProcessorPil(size=size), tokenizer).save_pretrained(folder)
    return folder


def clip(folder: Path, seed: int = 0, words: int = 49408) -> Path:
    """A CLIPModel with the words of CLIP and no tokenizer of its own, as PickScore's folder; pictures of 32 pixels."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    width: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config=width | {"vocab_size": words, "bos_token_id": words - 2, "eos_token_id": words - 1},
        vision_config=width | {"image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        CLIPModel(config).save_pretrained(folder)
    settings = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def hpsv2(file: Path, seed: int = 0) -> Path:
    """A file in open_clip's layout, of the tensors of a CLIPModel whose heads are 64 wide."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    from t2i.models import open_clip

    width: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    config = CLIPConfig(
        text_config=width | {"vocab_size": 49408, "hidden_act": "gelu"},
        vision_config=width | {"image_size": 32, "patch_size": 8, "hidden_act": "gelu"},
        projection_dim=12,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = CLIPModel(config).state_dict()
    back = {theirs: own for own, theirs in open_clip.PLAIN.items()}
    found = {own: state[theirs].T.contiguous() for own, theirs in open_clip.TRANSPOSED.items()}
    found |= {back[name]: tensor for name, tensor in state.items() if name in back}
    for tower, ours in open_clip.TOWERS.items():
        start, there = f"{ours}.encoder.layers.0", f"{tower}transformer.resblocks.0"
        for kind in ("weight", "bias"):
            parts = [state[f"{start}.self_attn.{own}_proj.{kind}"] for own in ("q", "k", "v")]
            found[f"{there}.attn.in_proj_{kind}"] = torch.cat(parts)
            for part, name in open_clip.OF_LAYER.items():
                found[f"{there}.{part}.{kind}"] = state[f"{start}.{name}.{kind}"]
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {name: tensor.half() for name, tensor in found.items()}}, file)
    return file
