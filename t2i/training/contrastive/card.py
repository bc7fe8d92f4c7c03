"""The model card beside a tuned CLIP: what it was made from, how, and how far its loss fell."""

import json
from collections.abc import Mapping
from typing import Any


def clip_card(
    source: str,
    dataset: str,
    pictures: int,
    licenses: Mapping[str, int],
    settings: Mapping[str, Any],
    losses: list[Any],
) -> str:
    """Markdown with the header that the Hugging Face hub reads.

    licenses: of the training pictures, as their source names them. settings: flat JSON values. losses: [step, held-out
    loss], the first before any step.
    """
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: zero-shot-image-classification",
        f"base_model: {json.dumps(source)}",  # JSON is YAML
        "---",
        f"# A CLIP tuned on {dataset}",
        "",
        f"Started from {source}; {pictures:,} training pictures; held-out contrastive loss {losses[0][1]:.4g} before and "
        f"{losses[-1][1]:.4g} after {losses[-1][0]:,} steps. Its terms are those of what it started from.",
        "",
        "Its text tower can be the text encoder of a pipeline (`weights=<this folder>`), and it measures by "
        "`eval.extractor=clip eval.clip=<this folder>` - not the pictures of its own text tower.",
        "",
        "## Licences of the training pictures",
        "",
        *(
            [f"- {name}: {count:,} pictures" for name, count in licenses.items()]
            or ["The source of the data names none."]
        ),
        "",
        "## Settings",
        "",
        "```yaml",
        *(f"{key}: {json.dumps(value)}" for key, value in settings.items()),
        "```",
    ]
    return "\n".join(lines) + "\n"
