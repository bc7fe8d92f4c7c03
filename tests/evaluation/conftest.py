"""A CLIP of the real classes at toy size, with random weights and a tokenizer of single characters."""

import json
import string
from pathlib import Path

import numpy as np
import pytest

from t2i.randomness import generator

SIZE = 32


@pytest.fixture(scope="session")
def toy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a saved CLIPModel (image size 32, feature width 12), its tokenizer and preprocessor settings."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("toy") / "toy_clip"
    letters = string.ascii_lowercase + string.digits + ".,"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=16)
    width = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=width
        | {"vocab_size": len(words), "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1},
        vision_config=width | {"image_size": SIZE, "patch_size": 8},
        projection_dim=12,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def images() -> np.ndarray:
    """uint8 (10, 48, 40, 3)."""
    return generator("test images").integers(0, 256, (10, 48, 40, 3), dtype=np.uint8)
