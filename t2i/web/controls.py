"""What can be set on the page, and how an order is made of it."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from t2i.web import html
from t2i.web.head import FIELDS
from t2i.web.order import GRAIN, HIGHEST_GUIDANCE, HIGHEST_SCALE, LONGEST_PROMPT, MOST_STEPS, Offer

BEGUN = ("image", "mask", "strength")


def settings(offer: Offer) -> dict[str, Any]:
    """The components of the settings by the names that they have in an order; of each adapter one, `scale 1` and so on."""
    default = offer.defaults
    found: dict[str, Any] = {
        "guidance": _slider("Guidance", 0, HIGHEST_GUIDANCE, default.guidance, 0.5),
        "steps": _slider("Steps", 1, MOST_STEPS, default.steps, 1),
    }
    with gr.Row():
        found["scheduler"] = gr.Dropdown(
            list(offer.schedulers),
            value=default.scheduler,
            label="Scheduler",
            min_width=120,
            scale=3,
            elem_id="scheduler",
        )
        found["count"] = _number("Pictures", default.count)
    with gr.Row():
        found["width"] = _number("Width", default.width, GRAIN)
        found["height"] = _number("Height", default.height, GRAIN)
    with gr.Row(elem_classes="seeds"):
        found["seed"] = _number("Seed", default.seed)
        found["dice"] = gr.Button("New seed", size="sm", elem_id="dice", min_width=90, scale=0)
    found["negative_prompt"] = gr.Textbox(
        label="Negative prompt",
        placeholder="what the picture should not show",
        max_length=LONGEST_PROMPT,
        lines=1,
        elem_id="negative",
    )
    found["prompt_weights"] = gr.Checkbox(
        default.prompt_weights, label="(word)1.3 and word++ weigh words", elem_id="weights"
    )
    for number, (name, scale) in enumerate(zip(offer.adapters, default.scales, strict=True), 1):
        high = max([HIGHEST_SCALE, *default.scales])
        found[f"scale {number}"] = _slider(f"Adapter {name}", min(0.0, scale), high, scale, 0.05, f"scale{number}")
    return found


def begin() -> None:
    """A picture to begin from, and a mask that is painted over it."""
    gr.HTML(html.begin(), elem_id="begin", padding=False, apply_default_css=False)


def _slider(label: str, low: float, high: float, value: float, step: float, name: str = "") -> gr.Slider:
    return gr.Slider(low, high, value, step=step, label=label, buttons=[], elem_id=name or label.lower())


def _number(label: str, value: int, step: int = 1) -> gr.Number:
    """A field for a whole number; the order says what is wrong with it."""
    return gr.Number(value, label=label, precision=0, step=step, min_width=70, elem_id=label.lower())


def asked(offer: Offer, values: tuple[Any, ...], begun: Any) -> Mapping[str, Any]:
    """The inputs by their names in an order; an emptied field takes its default, a picture only what it has."""
    found = {name: value for name, value in zip(FIELDS, values, strict=False) if value is not None}
    if offer.adapters:
        shares = values[len(FIELDS) :]
        found["scales"] = [own if own is not None else 1.0 for own in shares]
    if isinstance(begun, dict) and begun.get("image"):
        found |= {name: begun[name] for name in BEGUN if name in begun}
    return found
