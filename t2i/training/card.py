"""The model card beside tuned weights: what they are, how they are used, what was measured, under which terms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LICENSES = {
    "apache-2.0": "Apache License 2.0: use, change and pass it on, also commercially, with its notices kept",
    "bigscience-openrail-m": "BigScience Open RAIL-M: use and pass it on, also commercially, with its use restrictions",
    "creativeml-openrail-m": "CreativeML Open RAIL-M: use and pass it on, also commercially; its Attachment A forbids harmful "
    "uses, and binds whoever gets these weights too",
    "mit": "MIT License: use, change and pass it on, also commercially, with its notice kept",
    "openrail++": "CreativeML Open RAIL++-M: use and pass it on, also commercially; its Attachment A forbids harmful uses, and "
    "binds whoever gets these weights too",
    "other": "terms that are not named here: ask whoever made the base model",
}
"""By the hub's name."""
COCO_LICENSES = {
    "1": "CC BY-NC-SA 2.0 (attribution, not commercial, same terms)",
    "2": "CC BY-NC 2.0 (attribution, not commercial)",
    "3": "CC BY-NC-ND 2.0 (attribution, not commercial, no changes)",
    "4": "CC BY 2.0 (attribution)",
    "5": "CC BY-SA 2.0 (attribution, same terms)",
    "6": "CC BY-ND 2.0 (attribution, no changes)",
    "7": "no known copyright restrictions (Flickr Commons)",
    "8": "United States Government work",
}
"""COCO's numbers, as its annotation files explain them."""


@dataclass(frozen=True)
class Provenance:
    """What the card says of where the weights come from."""

    model: str
    source: str
    """The base model's id on the hub, or its name where it has none."""
    license: str
    model_digest: str
    dataset: str
    data_digest: str
    pictures: int
    licenses: Mapping[str, int]
    """Licence as the data's source names it, to the number of training pictures."""


@dataclass(frozen=True)
class Usage:
    """What the card's code has to know."""

    format: str
    """diffusers, single_file, kohya or peft."""
    base: str
    """Where the base model can be fetched."""
    name: str
    """Of the file or folder beside the card."""
    adapter: str = ""
    """A file with the adapter, beside a pipeline that was left without it."""
    resolution: int = 512
    steps: int = 25
    pipeline: str = "DiffusionPipeline"
    """The class of diffusers that reads it."""
    absent: tuple[str, ...] = ()
    """Parts of it whose absence it has to be told."""
    words: tuple[str, ...] = ()
    """Those that it was taught, which a prompt has to have."""


def licence_in_words(name: str) -> str:
    """The terms behind the hub's name of a licence."""
    return LICENSES.get(name, f"{name}: see the base model's page")


def on_hub(base: str) -> bool:
    """Whether a base model can be fetched by its name; a bundled one, and one without weights of its own, cannot."""
    return "/" in base


def usage_code(usage: Usage) -> str:
    """Python that draws a picture with plain diffusers; run in the card's folder."""
    told = "".join(f", {part}=None" for part in usage.absent)
    base = f'pipeline = {usage.pipeline}.from_pretrained("{usage.base}"{told})'
    if not on_hub(usage.base):
        base = f"{base}  # a folder that task=export model={usage.base} writes"
    lines = [f"from diffusers import {usage.pipeline}", ""]
    if usage.format == "diffusers":
        lines += [f'pipeline = {usage.pipeline}.from_pretrained("{usage.name}"{told})']
        lines += [f'pipeline.load_lora_weights(".", weight_name="{usage.adapter}")'] if usage.adapter else []
    elif usage.format == "single_file":
        lines += [f'pipeline = {usage.pipeline}.from_single_file("{usage.name}", config="{usage.base}")']
    elif usage.format == "kohya":
        lines += [base, f'pipeline.load_lora_weights(".", weight_name="{usage.name}")']
    elif usage.format == "weights":
        lines = [*lines[:1], "from safetensors.torch import load_file", "", base]
        lines += [
            f'for name, tensor in load_file("{usage.name}/weights.safetensors").items():',
            '    part, _, inner = name.partition(".")',
            "    getattr(pipeline, part).get_parameter(inner).data.copy_(tensor)",
        ]
    else:
        lines = ["from pathlib import Path", "", *lines[:1], "from peft import PeftModel", "", base]
        lines += [
            f'for part in Path("{usage.name}").iterdir():',
            "    network = PeftModel.from_pretrained(getattr(pipeline, part.name), part).merge_and_unload()",
            "    setattr(pipeline, part.name, network)",
        ]
    prompt = json.dumps(f"a photo of {' and '.join(usage.words)}" if usage.words else "a red bus on a street")
    lines += [
        f"picture = pipeline(prompt={prompt}, num_inference_steps={usage.steps}, height={usage.resolution}, "
        f"width={usage.resolution}).images[0]",
        'picture.save("picture.png")',
    ]
    return "\n".join(["```python", *lines, "```"])


def _header(source: str, license: str, adapter: bool) -> list[str]:
    header = {
        **({"base_model": source} if on_hub(source) else {}),
        "library_name": "diffusers",
        "license": license if license in LICENSES or license.islower() else "other",
        "pipeline_tag": "text-to-image",
        "tags": ["text-to-image", "stable-diffusion", "diffusers", *(["lora"] if adapter else [])],
    }
    return ["---", *(f"{key}: {json.dumps(value)}" for key, value in header.items()), "---"]  # JSON is YAML


def export_card(
    model: str, license: str, usage: Usage, verdict: str, facts: Mapping[str, str], training: str = ""
) -> str:
    """Markdown for exported weights. verdict: the sentence of the comparison with the base model. training: the cards that
    the trainings left, told again below.
    """
    adapter = usage.format in ("kohya", "peft") or bool(usage.adapter)
    lines = [
        *_header(usage.base, license, adapter),
        f"# {model}, as {usage.format}",
        "",
        verdict or "Whether it is better than its base model has not been measured (task=evaluate, task=compare).",
        "",
        "## Use",
        "",
        usage_code(usage),
        "",
        "## What this is",
        "",
        f"- base model: {usage.base}",
        *(f"- {name}: {value}" for name, value in facts.items()),
        f"- licence of the base model, and so of these weights: {licence_in_words(license)}",
    ]
    told = [part.split("---\n", 2)[-1] for part in [training] if part]
    body = [
        line.replace("# ", "## ", 1) if line.startswith("#") else line for part in told for line in part.splitlines()
    ]
    return "\n".join([*lines, *(["", *body] if body else [])]) + "\n"


def _licence(name: str) -> str:
    """Data in COCO's layout numbers its licences, each in a list of its own."""
    return f"licence {name} in the data's own list (`licenses` of its annotations)" if name.isdecimal() else name


def model_card(
    provenance: Provenance, settings: Mapping[str, Any], metrics: Mapping[str, float], usage: Usage | None = None
) -> str:
    """Markdown with the header that the Hugging Face hub reads; `settings` are flat JSON values."""
    kind = settings["strategy.kind"]
    licenses = [f"- {_licence(name)}: {count:,} pictures" for name, count in provenance.licenses.items()]
    lines = [
        *_header(provenance.source, provenance.license, kind == "lora"),
        f"# {provenance.model}, tuned on {provenance.dataset} ({kind})",
        "",
        f"{provenance.pictures:,} training pictures; {metrics['trainable_parameters']:,.0f} trained parameters; "
        f"{metrics['steps']:.0f} steps, of which step {metrics['exported_step']:.0f} is exported.",
        "",
        *(["## Use", "", usage_code(usage), ""] if usage else []),
        "## Measured",
        "",
        "| quantity | value |",
        "|---|---|",
        *(f"| {name} | {value:.6g} |" for name, value in metrics.items()),
        "",
        "The held-out loss uses fixed noise and timesteps. `reload_max_difference`: grey levels of 255 between a picture of",
        "the trained networks and of plain diffusers with the exported pipeline, same prompt and seed.",
        "",
        "## Made from",
        "",
        f"- base model: {provenance.source}, digest `{provenance.model_digest}`",
        f"- its terms, which are these weights' too: {licence_in_words(provenance.license)}",
        f"- data: {provenance.dataset}, digest `{provenance.data_digest}`",
        "",
        "## Licences of the training pictures",
        "",
        *(licenses or ["The source of the data names none."]),
        "",
        "## Settings",
        "",
        "```yaml",
        *(f"{key}: {json.dumps(value)}" for key, value in settings.items()),
        "```",
    ]
    return "\n".join(lines) + "\n"
