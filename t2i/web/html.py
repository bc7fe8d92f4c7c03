"""The parts of the page that Gradio has no component for, as HTML. Whatever a person typed is escaped."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from t2i.evaluation.metrics.registry import METRICS, NUMBERS_OF, higher_is_better
from t2i.reporting.numbers import parts
from t2i.sampling.recipe import read_recipe
from t2i.web.order import Order
from t2i.web.painter import Picture

NAMES = {"base": "Base", "tuned": "Tuned"}
LABELS = {
    "loss": "Loss on held-out data",
    "fid": "FID",
    "fid_infinity": "FID at infinitely many pictures",
    "kid": "KID",
    "cmmd": "CMMD",
    "cmmd_biased": "CMMD, biased",
    "fd_dinov2": "FD-DINOv2",
    "mifid": "MIFID",
    "clip_score": "CLIP score",
    "ref_clip_score": "RefCLIPScore",
    "inception_score_10": "Inception score, mean of ten parts",
    "inception_score_10_std": "Inception score, deviation of ten parts",
    "pickscore": "PickScore",
    "hpsv2": "HPSv2",
    "vqa_score": "VQA score",
    "vqa_score_answered": "VQA answers that are yes or no",
    "agreement": "Pictures of the asked class",
    "memorisation_distance": "Distance to training pictures",
}
"""Metrics whose name is not the words of their key."""
DIRECTIONS = {True: "higher is better", False: "lower is better", None: ""}
NUMBER = re.compile(r"([a-z0-9_@]+)(?:\[([^\]]+)\])?")
"""A metric's key, with the network whose features it is of; its ends and notes have a dot behind that."""


@dataclass(frozen=True)
class Shown:
    """A picture on the page: where it is, and what is said about it."""

    name: str
    title: str
    recipe: Mapping[str, str]

    @classmethod
    def of(cls, picture: Picture, title: str) -> "Shown":
        """A finished picture under a title."""
        return cls(picture.path.name, title, recipe_of(picture.order, picture.seed))

    @classmethod
    def read(cls, path: Path) -> "Shown":
        """A picture that was made before, by the recipe inside it; UserError when it holds none."""
        made = read_recipe(path)
        order = Order(
            prompt=made["prompt"],
            negative_prompt=made["cfg"]["negative_prompt"] or "",
            scheduler=made["scheduler"]["name"],
            steps=made["scheduler"]["steps"],
            guidance=made["cfg"]["scale"],
            width=made["resolution"],
            height=made.get("height", made["resolution"]),
            seed=made["seed"],
            count=1,
            model="base" if made["weights"] is None else "tuned",
            prompt_weights=made["cfg"].get("prompt_weights", False),
            image=Path(made["image"]["path"]).name if "image" in made else "",
            mask=Path(made["mask"]["path"]).name if "mask" in made else "",
            strength=made.get("strength", 0.0),
        )
        scales = made["weights"].get("scale", []) if made["weights"] else []
        return cls(path.name, "", recipe_of(order, order.seed, scales))


def recipe_of(order: Order, seed: int, scales: Sequence[float] = ()) -> dict[str, str]:
    """What a reader needs to know to make a picture again; the PNG carries all of it. scales: of adapters."""
    begun = f"strength {order.strength:g}{', where the mask is white' if order.mask else ''}"
    recipe = {
        "Prompt": order.prompt,
        "Negative prompt": order.negative_prompt,
        "Brackets": "weights of words" if order.prompt_weights else "",
        "From a picture": begun if order.image else "",
        "Model": NAMES[order.model],
        "Adapters": ", ".join(f"{scale:g}" for scale in scales or order.scales) if order.model == "tuned" else "",
        "Scheduler": f"{order.scheduler}, {order.steps} steps",
        "Guidance": f"{order.guidance:g}",
        "Size": f"{order.width} x {order.height}",
        "Seed": str(seed),
    }
    return {key: value for key, value in recipe.items() if value}


def header(model: str, tuned: str, device: str) -> str:
    """The title line: what is loaded, and where it computes."""
    chips = [f'<span class="chip">model {escape(model)}</span>', f'<span class="chip">{escape(device)}</span>']
    if tuned:
        chips.insert(1, f'<span class="chip accent">tuned: {escape(tuned)}</span>')
    return f'<header class="t2i-header"><h1>t2i</h1><div class="chips">{"".join(chips)}</div></header>'


def welcome() -> str:
    """The stage before anything was asked."""
    return (
        '<div class="stage-empty"><div class="frame"></div>'
        "<p>Describe a picture and press <b>Make pictures</b>.</p></div>"
    )


def notice(text: str, kind: str = "error") -> str:
    """One sentence, as an error or as news."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="notice {kind}" role="{role}">{escape(text)}</p>'


def progress(share: float, text: str) -> str:
    """A bar with a line of text; share: 0 to 1."""
    percent = round(100 * share)
    return (
        f'<div class="progress" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-label="{escape(text)}"><div class="bar"><i style="width:{percent}%"></i></div>'
        f"<span>{escape(text)}</span></div>"
    )


def pictures(groups: Sequence[Sequence[Shown]], titles: Sequence[str], making: str = "", pending: int = 0) -> str:
    """Columns of pictures, one for each title; the picture in the making and places for those to come at the end."""
    columns = []
    for number, title in enumerate(titles):
        cards = "".join(card(shown) for shown in groups[number]) if number < len(groups) else ""
        if number == len(groups) and pending:
            image = f'<img src="{making}" alt="preview">' if making else ""
            cards = f'<figure class="card making"><div class="frame">{image}</div></figure>'
        elif number > len(groups) and pending:
            cards = '<figure class="card making waits"><div class="frame"></div></figure>'
        label = f"<h2>{escape(title)}</h2>" if title else ""
        many = " many" if number < len(groups) and len(groups[number]) > 1 else ""
        columns.append(f'<section class="column{many}">{label}<div class="cards">{cards}</div></section>')
    return f'<div class="columns n{len(titles)}">{"".join(columns)}</div>'


def card(shown: Shown) -> str:
    """A picture with its download and its recipe."""
    source = f"/v1/images/{shown.name}"
    alt = escape(shown.recipe["Prompt"])
    return (
        f'<figure class="card"><a href="{source}" target="_blank" rel="noopener"><img src="{source}" alt="{alt}"></a>'
        f"<figcaption><span>seed {shown.recipe['Seed']}</span>"
        f'<span class="tools">{_begin_from(shown)}'
        f'<a class="download" href="{source}?download=true" download="{shown.name}">PNG</a></span></figcaption>'
        f"<details><summary>Recipe</summary>{_recipe(shown)}</details></figure>"
    )


def _begin_from(shown: Shown) -> str:
    return f'<button type="button" class="begin-from" data-name="{shown.name}">Begin from this</button>'


def begin() -> str:
    """A picture to begin from: chosen, painted over where it is to be drawn anew, or left out. `begin.js` drives it."""
    return (
        '<details class="begin"><summary>Begin from a picture</summary><div class="begin-inside">'
        '<label class="begin-pick">Picture <input type="file" id="begin-file" accept="image/*"></label>'
        '<p id="begin-note" role="status">None: drawing begins from noise.</p>'
        '<div id="begin-board" hidden><canvas id="begin-canvas" role="img" '
        'aria-label="The picture; what is painted over is drawn anew"></canvas>'
        '<label>Strength <output id="begin-share">0.75</output>'
        '<input type="range" id="begin-strength" min="0.05" max="1" step="0.05" value="0.75"></label>'
        '<p class="hint">Paint over what is to be drawn anew; unpainted, all of it is.</p>'
        '<div class="tools"><button type="button" id="begin-clear">Clear the painting</button>'
        '<button type="button" id="begin-leave">Leave the picture out</button></div>'
        '<label class="begin-pick">Mask from a file <input type="file" id="begin-mask" accept="image/*"></label>'
        "</div></div></details>"
    )


def table(caption: str, rows: Sequence[str], columns: Sequence[str], done: Sequence[Shown], making: str) -> str:
    """The grid: schedulers down, guidance across, cells in the order in which they are made."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = []
    for i, row in enumerate(rows):
        cells = []
        for j in range(len(columns)):
            number = i * len(columns) + j
            if number < len(done):
                source = f"/v1/images/{done[number].name}"
                label = escape(f"{row}, guidance {columns[j]}")
                content = f'<a href="{source}" target="_blank" rel="noopener"><img src="{source}" alt="{label}"></a>'
            elif number == len(done) and making:
                content = f'<img src="{making}" alt="preview">'
            else:
                content = '<div class="frame"></div>'
            cells.append(f"<td>{content}</td>")
        body.append(f'<tr><th scope="row">{escape(row)}</th>{"".join(cells)}</tr>')
    corner = '<th scope="col" class="corner">scheduler \\ guidance</th>'
    rows_html = f"<tr>{corner}{head}</tr>{''.join(body)}"
    return f'<div class="grid-scroll"><table class="grid"><caption>{escape(caption)}</caption>{rows_html}</table></div>'


def gallery(history: Sequence[Shown]) -> str:
    """What this page has made so far, the newest first."""
    if not history:
        return ""
    items = "".join(
        f'<details class="past" name="past"><summary><img src="/v1/images/{shown.name}" loading="lazy" '
        f'alt="{escape(shown.recipe["Prompt"])}"></summary><div class="sheet">{_recipe(shown)}'
        f'<a class="download" href="/v1/images/{shown.name}?download=true" download="{shown.name}">Download PNG</a> '
        f"{_begin_from(shown)}</div>"
        "</details>"
        for shown in history
    )
    return f'<section class="gallery"><h2>Your pictures</h2><div class="past-list">{items}</div></section>'


def measured(numbers: Mapping[str, float]) -> str:
    """metrics.json of the weights' run: base and tuned model beside each other, with intervals; empty where none are."""
    rows: dict[str, dict[str, str]] = {}
    for prefix in ("", "train/"):  # of task=train, and of the pipeline
        before, after = (numbers.get(f"{prefix}held_out_loss{end}") for end in ("_before", ""))
        if before is not None and after is not None:
            rows["loss"] = {"base": f"{before:.3f}", "tuned": f"{after:.3f}"}
    for key, value in numbers.items():
        model, _, name = key.partition("/")
        if model in NAMES and NUMBER.fullmatch(name):
            mean, interval = parts(value, numbers.get(f"{key}.low"), numbers.get(f"{key}.high"))
            rows.setdefault(name, {})[model] = f"{mean} <small>{interval}</small>"
    if not rows:
        return ""
    body = []
    for name, values in sorted(rows.items()):
        short, _, extractor = name.partition("[")
        label = LABELS.get(short, short.replace("_", " ").capitalize())
        direction = DIRECTIONS[_better(short)]
        source = f" <small>{escape(extractor.rstrip(']'))}</small>" if extractor else ""
        cells = "".join(f"<td>{values.get(model, '&ndash;')}</td>" for model in NAMES)
        body.append(f'<tr><th scope="row">{escape(label)}{source}<em>{direction}</em></th>{cells}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in NAMES.values())
    return f'<table class="measured"><tr><td></td>{head}</tr>{"".join(body)}</table>'


def _better(name: str) -> bool | None:
    """Whether higher is better; None where neither is, or nobody says."""
    if name == "loss":
        return False
    return higher_is_better(name) if name in METRICS or name in NUMBERS_OF else None


def _recipe(shown: Shown) -> str:
    facts = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in shown.recipe.items())
    return f"<dl>{facts}</dl>"
