"""Trains a tiny contrastive CLIP on scenes: the text encoder that conditions the UNet, or the evaluator.

python tools/tiny/clip.py --role text --minutes 9         # tokenizer and build/tiny/clip_text.pt
python tools/tiny/clip.py --role evaluator --minutes 14   # build/tiny/clip_evaluator.pt

The two roles share the tokenizer and nothing else: other seeds, weights and scenes, so that the evaluator cannot
flatter the generator. The evaluator sees slightly blurred, noisy and shifted scenes (generated pictures are not
clean), never an output of the VAE or the UNet.
"""

import argparse
import json
import pydoc_data.topics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import (
    EVALUATOR,
    GENERATOR,
    HELD_OUT,
    WORK,
    WORLD_SEED,
    Average,
    Budget,
    Optimisers,
    batches,
    images,
    load_checkpoint,
    save_checkpoint,
    texts,
    to_tensor,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from t2i.data.sources.scenes import CATEGORIES, describe
from t2i.randomness import generator

TOKENS = 32
VOCABULARY = 3072
START, END = "<|startoftext|>", "<|endoftext|>"
ROLES = {"text": (GENERATOR, 11), "evaluator": (EVALUATOR, 29)}
TEMPLATES = ("a picture of {}", "a drawing of {}", "a photo of {}")
"""The prompts of a class; its embedding is the mean over them."""


def with_article(category: str) -> str:
    """`an apple`, `a cat`, `scissors`."""
    return category if category == "scissors" else f"{'an' if category[0] in 'aeiou' else 'a'} {category}"


def train_tokenizer(folder: Path) -> CLIPTokenizer:
    """Byte-level BPE with CLIP's word ending, from scenes' captions and the English of Python's own manual."""
    blank = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[])
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer, trained.pre_tokenizer = (
        blank.backend_tokenizer.normalizer,
        blank.backend_tokenizer.pre_tokenizer,
    )
    lines = [line for five in texts(range(GENERATOR.start, 4000)) for line in five]
    lines += [template.format(with_article(name)) for name in CATEGORIES for template in TEMPLATES] * 10
    lines += list(pydoc_data.topics.topics.values())
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - 258, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    # CLIP's order: bytes, bytes that end a word, merges, special tokens.
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    names = alphabet + [f"{byte}</w>" for byte in alphabet] + ["".join(pair) for pair in merges]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    vocabulary[START], vocabulary[END] = len(vocabulary), len(vocabulary) + 1
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)
    tokenizer.save_pretrained(folder)
    # Read by transformers before version 5, which has a slow tokenizer too.
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer: CLIPTokenizer, lines: Sequence[str]) -> Tensor:
    """Token numbers int64 (N, 32), exactly as `StableDiffusionPipeline` asks for them."""
    return tokenizer(
        list(lines), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


def build(role: str, tokenizer: CLIPTokenizer) -> CLIPModel:
    """Text towers of width 128; the vision tower of `text` only teaches its text tower and is kept cheap."""
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_attention_heads=4,
        num_hidden_layers=4 if role == "text" else 3,
        max_position_embeddings=TOKENS,
        projection_dim=128,
        hidden_act="gelu",
        pad_token_id=tokenizer.pad_token_id,
        **ends,
    )
    width, layers = (64, 3) if role == "text" else (96, 5)
    vision = CLIPVisionConfig(
        image_size=64,
        patch_size=8,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=width // 32,
        num_hidden_layers=layers,
        projection_dim=128,
        hidden_act="gelu",
    )
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=128))


def mean_std(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Per channel, on [0, 1], of every tenth picture."""
    sample = pixels[::10].astype(np.float32) / 255
    return sample.mean((0, 1, 2)).round(4).tolist(), sample.std((0, 1, 2)).round(4).tolist()


def normalise(pictures: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """[-1, 1] -> what the vision tower takes."""
    return ((pictures + 1) / 2 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def disturb(pictures: Tensor, rng: np.random.Generator, strong: bool) -> Tensor:
    """Shifts by up to 4 pixels; `strong` also blurs (half of the batch), adds noise and changes the contrast a little."""
    count = len(pictures)
    padded = F.pad(pictures, (4, 4, 4, 4), mode="replicate")
    moves = rng.integers(0, 9, (count, 2))
    out = torch.stack([padded[i, :, y : y + 64, x : x + 64] for i, (y, x) in enumerate(moves)])
    if strong:
        half = count // 2
        low = int(rng.integers(24, 60))
        small = F.interpolate(out[:half], size=(low, low), mode="bilinear", antialias=True)
        blurred = F.interpolate(small, size=(64, 64), mode="bicubic")
        out = torch.cat([blurred, out[half:]])
        level = torch.from_numpy(rng.uniform(0, 0.15, (count, 1, 1, 1))).float()
        out = out + level * torch.from_numpy(rng.standard_normal(out.shape, dtype=np.float32))
        gain = torch.from_numpy(rng.uniform(0.85, 1.15, (count, 1, 1, 1))).float()
        out = (out * gain).clamp(-1, 1)
    return out


def class_embeddings(model: CLIPModel, tokenizer: CLIPTokenizer) -> Tensor:
    """Unit vectors (30, 128): for each class the mean over `TEMPLATES`."""
    lines = [template.format(with_article(name)) for name in CATEGORIES for template in TEMPLATES]
    pooled = model.text_projection(model.text_model(encode(tokenizer, lines)).pooler_output)
    mean = F.normalize(pooled, dim=-1).view(len(CATEGORIES), len(TEMPLATES), -1).mean(1)
    return F.normalize(mean, dim=-1)


@torch.no_grad()
def read_classes(model: CLIPModel, tokenizer: CLIPTokenizer, normalised: Tensor) -> list[str]:
    """The class whose prompts are nearest to each picture."""
    embeddings = F.normalize(model.visual_projection(model.vision_model(normalised).pooler_output), dim=-1)
    return [CATEGORIES[number] for number in (embeddings @ class_embeddings(model, tokenizer).T).argmax(1).tolist()]


def classes(indices: range) -> list[set[str]]:
    """What is in each scene."""
    return [{thing.category for thing in describe(WORLD_SEED, index).things} for index in indices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=tuple(ROLES), required=True)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for caches and checkpoints")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()

    indices, seed = ROLES[args.role]
    torch.manual_seed(seed)
    folder = args.work / "tokenizer"
    tokenizer = CLIPTokenizer.from_pretrained(folder) if folder.exists() else train_tokenizer(folder)
    pixels, lines, named = images(args.work, indices), texts(indices), classes(indices)
    known = [set(five) for five in lines]
    mean, std = mean_std(images(args.work, GENERATOR if args.role == "text" else EVALUATOR))
    test = normalise(to_tensor(images(args.work, HELD_OUT)), mean, std)
    truth = classes(HELD_OUT)
    model = build(args.role, tokenizer)
    optimisers = Optimisers(model, args.lr, ("embedding", "embeddings", "logit_scale"), decay=0.02)
    average, budget = Average(model, 0.997), Budget(args.minutes, warmup=0.05)
    name = f"clip_{args.role}"
    path = args.work / f"{name}.pt"
    start = load_checkpoint(path, model, optimisers, average, budget)
    for step, rows in batches(len(pixels), args.batch, seed, name, start):
        share = budget.tick()
        rng = generator(seed, name, "disturb", step)
        # Beside its captions the batch has every class's prompt once, so that short prompts are understood too.
        chosen = [lines[row][int(rng.integers(5))] for row in rows]
        template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
        prompts = [template.format(with_article(category)) for category in CATEGORIES]
        # A caption is right for every picture of the batch that it describes, not just for its own.
        match = torch.tensor([[line in known[row] for line in chosen] for row in rows]).float()
        contains = torch.tensor([[category in named[row] for category in CATEGORIES] for row in rows]).float()
        tokens = encode(tokenizer, chosen + prompts)
        tokens = tokens[:, : int((tokens != tokenizer.eos_token_id).sum(1).max()) + 1]
        pictures = normalise(disturb(to_tensor(pixels[rows]), rng, args.role == "evaluator"), mean, std)
        logits = model(input_ids=tokens, pixel_values=pictures).logits_per_image
        matched, of_class = logits.split([len(rows), len(CATEGORIES)], 1)
        loss = -(match / match.sum(1, keepdim=True) * matched.log_softmax(1)).sum(1).mean() / 2
        loss = loss - (match / match.sum(0, keepdim=True) * matched.log_softmax(0)).sum(0).mean() / 2
        loss = loss - (contains / contains.sum(1, keepdim=True) * of_class.log_softmax(1)).sum(1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(average.live, 1.0)
        optimisers.step(budget.rate(share))
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6)
        average.update()
        if step % 50 == 0:
            print(json.dumps({"step": step, "minutes": round(budget.spent / 60, 2), "loss": round(loss.item(), 4)}))
        if (step and step % 200 == 0) or share >= 1:
            average.swap()
            model.eval()
            read = [value in answer for value, answer in zip(read_classes(model, tokenizer, test), truth, strict=True)]
            model.train()
            average.swap()
            print(json.dumps({"step": step, "class_accuracy": sum(read) / len(read)}), flush=True)
            save_checkpoint(path, step + 1, model, optimisers, average, budget)
        if share >= 1:
            break


if __name__ == "__main__":
    main()
