"""The head of the page: its style, its colours, and what it remembers in the browser."""

import json
from pathlib import Path

import gradio as gr

from t2i.web.order import (
    GRAIN,
    HIGHEST_GUIDANCE,
    HIGHEST_SCALE,
    HIGHEST_SEED,
    LARGEST,
    LONGEST_PROMPT,
    MOST_COUNT,
    MOST_STEPS,
    SMALLEST,
    Offer,
)

STYLE = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")
BEGIN = Path(__file__).with_name("begin.js")
"""The picture to begin from, and its mask."""
HISTORY = 24
"""Pictures that a page shows again."""
BOTH = "both"
FIELDS = (
    "prompt",
    "negative_prompt",
    "scheduler",
    "steps",
    "guidance",
    "width",
    "height",
    "seed",
    "count",
    "prompt_weights",
)


def fields_of(offer: Offer) -> list[str]:
    """The settings by name: those of every order, and a share of each adapter."""
    return [*FIELDS, *(f"scale {number}" for number in range(1, len(offer.adapters) + 1))]


def head(offer: Offer) -> str:
    """Style and script as HTML; as a style sheet of its own, Gradio would rewrite its selectors."""
    return f"<style>{STYLE.read_text(encoding='utf-8')}</style><script>{script(offer)}</script>"


def theme() -> gr.Theme:
    """Quiet colours and the fonts of the reader's machine: nothing is loaded from elsewhere."""
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    quiet: gr.Theme = gr.themes.Base(
        primary_hue="teal", neutral_hue="stone", radius_size="md", font=fonts, font_mono=["ui-monospace", "monospace"]
    )
    # Gradio's own are too light to be read with ease: contrast of 4.5 to 1 or more (WCAG 2.2, 1.4.3).
    return quiet.set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
    )


def script(offer: Offer) -> str:
    """What the page remembers in the browser: its settings in the address, the names of its pictures in the session."""
    default = offer.defaults
    facts = {
        "names": [*fields_of(offer), "model"],
        "defaults": [
            *(getattr(default, name) for name in FIELDS),
            *default.scales,
            BOTH if len(offer.models) > 1 else "base",
        ],
        "flags": ["prompt_weights"],
        "choices": {
            "scheduler": list(offer.schedulers),
            "model": [*offer.models, BOTH][: 3 if len(offer.models) > 1 else 1],
        },
        "limits": {
            "steps": [1, MOST_STEPS, 1],
            "guidance": [0, HIGHEST_GUIDANCE, 0],
            "width": [SMALLEST, LARGEST, GRAIN],
            "height": [SMALLEST, LARGEST, GRAIN],
            "seed": [0, HIGHEST_SEED, 1],
            "count": [1, MOST_COUNT, 1],
            **{name: [0, max([HIGHEST_SCALE, *default.scales]), 0] for name in fields_of(offer)[len(FIELDS) :]},
        },
        "longest": LONGEST_PROMPT,
        "history": HISTORY,
        "suits": {name: offer.suits(name) for name in offer.schedulers},
    }
    text = json.dumps(facts).replace("<", "\\u003c")  # a name must not end the script
    return SCRIPT.read_text(encoding="utf-8").replace("__FACTS__", text) + BEGIN.read_text(encoding="utf-8")
