"""Writes the vocabulary of OpenAI's CLIP, which every Stable Diffusion 1.x shares, as transformers reads it.

python tools/clip_vocabulary.py bpe_simple_vocab_16e6.txt.gz        # from the CLIP repository, or the wheel of open_clip_torch
A single-file checkpoint holds no tokenizer: with this one it works offline.
"""

import argparse
import gzip
import json
from pathlib import Path

TARGET = Path("t2i/assets/clip_vocabulary")
MERGES = 49152 - 256 - 2
"""As many of the file's merges as CLIP uses (Radford et al. 2021): 49,152 words less the bytes and the two special ones."""


def byte_letters() -> list[str]:
    """A printable letter for each byte, in the order of GPT-2's table: printable ones first, as themselves."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in own]
    return [chr(byte) for byte in own] + [chr(256 + number) for number in range(len(rest))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    lines = gzip.decompress(parser.parse_args().file.read_bytes()).decode("utf-8").split("\n")
    merges = lines[1 : MERGES + 1]
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    TARGET.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: number for number, word in enumerate(words)}
    (TARGET / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (TARGET / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (TARGET / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
