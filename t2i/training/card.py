"""The model card beside tuned weights: what they are, what they were made from, what was measured, under which terms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """What the card says of where the weights come from."""

    model: str
    source: str
    license: str
    model_digest: str
    dataset: str
    data_digest: str
    pictures: int
    licenses: Mapping[str, int]
    """Licence as the data's source names it, to the number of training pictures."""


def model_card(provenance: Provenance, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """Markdown with the header that the Hugging Face hub reads; `settings` are flat JSON values."""
    kind = settings["strategy.kind"]
    header = {
        "base_model": provenance.source,
        "library_name": "diffusers",
        "license": provenance.license,
        "pipeline_tag": "text-to-image",
        "tags": ["text-to-image", "stable-diffusion", "diffusers", *(["lora"] if kind == "lora" else [])],
    }
    licenses = [f"- {name}: {count:,} pictures" for name, count in provenance.licenses.items()]
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in header.items()),  # JSON is YAML
        "---",
        f"# {provenance.model}, tuned on {provenance.dataset} ({kind})",
        "",
        f"{provenance.pictures:,} training pictures; {metrics['trainable_parameters']:,.0f} trained parameters; "
        f"{metrics['steps']:.0f} steps, of which step {metrics['exported_step']:.0f} is exported.",
        "",
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
        f"- base model: {provenance.source}, digest `{provenance.model_digest}`, licence {provenance.license}",
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
