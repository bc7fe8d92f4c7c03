"""What a PNG says inside of itself about the prompt and the seed it was made from.

Three tools are read: t2i (the recipe, JSON under `t2i`), AUTOMATIC1111's web UI and its descendants (`parameters`: the prompt,
a line "Negative prompt: ...", a last line "Steps: 20, ..., Seed: 1, ...") and ComfyUI (`prompt`: the graph of nodes as JSON,
in which the sampler's input `positive` leads to the text).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

OURS, A1111, COMFYUI = "t2i", "parameters", "prompt"
"""Keys of the text chunks."""
TOOLS = {OURS: "t2i's recipes", A1111: "A1111's parameters", COMFYUI: "ComfyUI's graphs"}
"""How each is called in a sentence."""
TEXTS = ("text", "string", "value", "text_g", "prompt")
"""Inputs of ComfyUI's nodes that hold a text."""


@dataclass(frozen=True)
class Inside:
    """What one picture says."""

    prompt: str
    seed: int | None
    tool: str
    """A key of TOOLS."""


def inside(path: Path) -> Inside | None:
    """What the PNG at `path` says of itself; None where it says nothing that is understood, and for other kinds of files."""
    if path.suffix.lower() != ".png":
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:
            chunks = {key: value for key, value in image.info.items() if isinstance(value, str)}
    except (OSError, ValueError, SyntaxError):  # a broken PNG is told where its pixels are read
        return None
    for key, reader in ((OURS, _ours), (A1111, _a1111), (COMFYUI, _comfyui)):
        if key in chunks and (found := reader(chunks[key])) is not None:
            return Inside(*found, key)
    return None


def _ours(text: str) -> tuple[str, int | None] | None:
    recipe = _json(text)
    prompt = recipe.get("prompt") if isinstance(recipe, Mapping) else None
    return (prompt, _seed(recipe.get("seed"))) if isinstance(prompt, str) else None


def _a1111(text: str) -> tuple[str, int | None] | None:
    lines = text.strip().splitlines()
    settings = lines[-1] if lines and re.match(r"Steps: \d+", lines[-1]) else ""
    own = lines[:-1] if settings else lines
    end = next((number for number, line in enumerate(own) if line.startswith("Negative prompt:")), len(own))
    seed = re.search(r"(?:^|, )Seed: (\d+)", settings)
    # Which adapters were loaded is no part of what was to be shown.
    prompt = re.sub(r"<(?:lora|lyco|hypernet):[^<>]*>", "", "\n".join(own[:end]))
    return re.sub(r"[ \t]{2,}", " ", prompt).strip(" ,\n"), int(seed[1]) if seed else None


def _comfyui(text: str) -> tuple[str, int | None] | None:
    graph = _json(text)
    if not isinstance(graph, Mapping):
        return None
    found: list[tuple[str, int | None]] = []
    for node in graph.values():
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        if isinstance(inputs, Mapping) and "positive" in inputs:
            prompt = _text_behind(graph, inputs["positive"], set())
            seed = _seed(_value(graph, inputs.get("seed", inputs.get("noise_seed"))))
            found += [] if prompt is None else [(prompt, seed)]
    prompts = dict.fromkeys(prompt for prompt, _ in found)
    if len(prompts) != 1:  # of two samplers with two texts nobody can say which one made the picture
        return None
    return next(iter(prompts)), next((seed for _, seed in found if seed is not None), None)


def _text_behind(graph: Mapping[str, Any], link: Any, seen: set[str]) -> str | None:
    """The text that a link `[node, output]` leads back to, through any nodes between."""
    if isinstance(link, str):
        return link
    if not (isinstance(link, list) and link and str(link[0]) not in seen):
        return None
    seen.add(str(link[0]))
    node = graph.get(str(link[0]))
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    if not isinstance(inputs, Mapping):
        return None
    links = [inputs[name] for name in (*TEXTS, "conditioning", "positive") if name in inputs]
    found = [text for own in links if (text := _text_behind(graph, own, seen)) is not None]
    return found[0] if found else None


def _value(graph: Mapping[str, Any], value: Any) -> Any:
    """A number, or that of the node that a link leads to."""
    if isinstance(value, list) and value:
        node = graph.get(str(value[0]))
        inputs = node.get("inputs", {}) if isinstance(node, Mapping) else {}
        return inputs.get("seed", inputs.get("value")) if isinstance(inputs, Mapping) else None
    return value


def _seed(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
