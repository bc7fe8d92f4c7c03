"""The page: a Gradio layout whose every request goes through the same order and queue as the endpoint's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from t2i.errors import UserError
from t2i.web import html
from t2i.web.head import BOTH, FIELDS, HISTORY
from t2i.web.html import Shown
from t2i.web.order import (
    GRAIN,
    HIGHEST_GUIDANCE,
    HIGHEST_SEED,
    LONGEST_PROMPT,
    MOST_CELLS,
    MOST_STEPS,
    Offer,
    Order,
    Refused,
)
from t2i.web.studio import Cancelled, Job, Studio

FRAME_SECONDS = 0.3
Frame = tuple[str, str, list[Shown]]
"""What a step of the work shows: the stage, the gallery, and the pictures behind the gallery."""


def build(studio: Studio, offer: Offer, facts: Mapping[str, str], numbers: Mapping[str, float]) -> gr.Blocks:
    """The layout and what its buttons do. facts: model, tuned, device. numbers: what was measured of the run's weights."""
    default = offer.defaults
    compares = len(offer.models) > 1
    with gr.Blocks(title="t2i", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(html.header(facts["model"], facts["tuned"], facts["device"]), padding=False, apply_default_css=False)
        history = gr.State([])
        kept = gr.JSON(visible=False)
        with gr.Column(elem_classes="layout"):
            with gr.Column(elem_classes="ask"):
                prompt = gr.Textbox(
                    label="Prompt",
                    placeholder="a red cat on a beach",
                    lines=2,
                    max_lines=5,
                    max_length=LONGEST_PROMPT,
                    submit_btn=False,
                    elem_id="prompt",
                    autofocus=True,
                )
                choices = [("Base", "base"), ("Tuned", "tuned"), ("Both", BOTH)]
                model = gr.Radio(
                    choices, value=BOTH if compares else "base", label="Model", visible=compares, elem_id="model"
                )
                with gr.Row(elem_classes="buttons"):
                    make = gr.Button("Make pictures", variant="primary", elem_id="make", scale=3, min_width=120)
                    cancel = gr.Button("Cancel", elem_id="cancel", scale=1, min_width=80)
            with gr.Column(elem_classes="stage"):
                stage = gr.HTML(html.welcome(), elem_id="stage", padding=False, apply_default_css=False)
                shelf = gr.HTML("", elem_id="shelf", padding=False, apply_default_css=False)
            with gr.Column(elem_classes="settings"):
                with gr.Group():
                    guidance = gr.Slider(
                        0,
                        HIGHEST_GUIDANCE,
                        default.guidance,
                        step=0.5,
                        label="Guidance",
                        buttons=[],
                        elem_id="guidance",
                    )
                    steps = gr.Slider(1, MOST_STEPS, default.steps, step=1, label="Steps", buttons=[], elem_id="steps")
                    with gr.Row():
                        names = list(offer.schedulers)
                        scheduler = gr.Dropdown(
                            names,
                            value=default.scheduler,
                            label="Scheduler",
                            min_width=120,
                            scale=3,
                            elem_id="scheduler",
                        )
                        count = _number("Pictures", default.count)
                    with gr.Row():
                        width = _number("Width", default.width, GRAIN)
                        height = _number("Height", default.height, GRAIN)
                    with gr.Row(elem_classes="seeds"):
                        seed = _number("Seed", default.seed)
                        dice = gr.Button("New seed", size="sm", elem_id="dice", min_width=90, scale=0)
                    negative = gr.Textbox(
                        label="Negative prompt",
                        placeholder="what the picture should not show",
                        max_length=LONGEST_PROMPT,
                        lines=1,
                        elem_id="negative",
                    )
                with gr.Accordion("Grid of schedulers and scales", open=False, elem_id="grid"):
                    chosen = [name for name in ("ddim", "euler", default.scheduler) if name in offer.schedulers]
                    rows = gr.CheckboxGroup(names, value=list(dict.fromkeys(chosen)), label="Schedulers")
                    scales = gr.Textbox("3, 7.5, 12", label="Guidance scales", max_length=60, elem_id="scales")
                    draw = gr.Button("Draw the grid", elem_id="draw")
                table = html.measured(numbers)
                if table:
                    with gr.Accordion("What was measured", open=True, elem_id="measured"):
                        gr.HTML(table, padding=False, apply_default_css=False)

        values = [prompt, negative, scheduler, steps, guidance, width, height, seed, count]
        shown = [stage, shelf, history]
        options: dict[str, Any] = {
            "show_progress": "hidden",
            "concurrency_limit": None,  # the studio's queue is the one that counts
            "api_visibility": "private",
        }

        async def pictures(
            prompt: Any, negative: Any, scheduler: Any, steps: Any, guidance: Any, width: Any, height: Any, seed: Any,
            count: Any, model: Any, past: Any, request: gr.Request,
        ) -> AsyncIterator[Frame]:  # fmt: skip
            asked = _asked(prompt, negative, scheduler, steps, guidance, width, height, seed, count)
            async for frame in _make(studio, offer, asked, str(model), list(past), request):
                yield frame

        async def cells(
            prompt: Any, negative: Any, scheduler: Any, steps: Any, guidance: Any, width: Any, height: Any, seed: Any,
            count: Any, rows: Any, scales: Any, model: Any, past: Any, request: gr.Request,
        ) -> AsyncIterator[Frame]:  # fmt: skip
            asked = _asked(prompt, negative, scheduler, steps, guidance, width, height, seed, 1)
            chosen = "base" if model == "base" or len(offer.models) == 1 else "tuned"
            async for frame in _grid(studio, offer, {**asked, "model": chosen}, rows, scales, list(past), request):
                yield frame

        def stop(request: gr.Request) -> None:
            studio.leave(str(request.session_hash))

        def again(names: Any) -> tuple[str, list[Shown]]:
            past = _found(studio.painter.folder, names)
            return html.gallery(past), past

        made = gr.on([make.click, prompt.submit], pictures, [*values, model, history], shown, **options)
        made.then(None, None, None, js="() => t2i.keep()")
        drawn = draw.click(cells, [*values, rows, scales, model, history], shown, **options)
        drawn.then(None, None, None, js="() => t2i.keep()")
        draw.click(None, None, None, js="() => document.getElementById('stage').scrollIntoView({behavior: 'smooth'})")
        cancel.click(stop, None, None, **options)
        dice.click(None, None, seed, js=f"() => Math.floor(Math.random() * {HIGHEST_SEED + 1})")
        # Of the reader's own choice only: settings that the address brings hold over it.
        scheduler.input(None, scheduler, [steps, guidance], js="name => t2i.suiting(name)")
        page.load(None, None, [*values, model], js="() => t2i.read()")
        page.load(again, kept, [shelf, history], js="() => [t2i.kept()]", **options)
        settings: list[Any] = [*values, model]  # every one of these has the event, which their common class lacks
        for setting in settings:
            setting.change(None, settings, None, js="(...values) => t2i.write(values)")
    page.queue(max_size=4 * MOST_CELLS, api_open=False)
    return page


def _found(folder: Path, names: Any) -> list[Shown]:
    """Pictures of this server by the names that a page has kept; those that are gone are left out."""
    there = {path.name: path for path in folder.glob("*.png")}
    known = [name for name in names if isinstance(name, str) and name in there] if isinstance(names, list) else []
    found = []
    for name in known[:HISTORY]:
        with contextlib.suppress(UserError):  # deleted meanwhile
            found.append(Shown.read(there[name]))
    return found


def _number(label: str, value: int, step: int = 1) -> gr.Number:
    """A field for a whole number; the order says what is wrong with it."""
    return gr.Number(value, label=label, precision=0, step=step, min_width=70, elem_id=label.lower())


def _asked(*values: Any) -> dict[str, Any]:
    """The inputs by their names in an order; an emptied field takes its default."""
    return {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}


async def _make(
    studio: Studio, offer: Offer, asked: dict[str, Any], model: str, past: list[Shown], request: gr.Request
) -> AsyncIterator[Frame]:
    """One prompt with the base, the tuned, or both models: the same seeds beside each other."""
    chosen = list(offer.models) if model == BOTH else [model]
    titles = [html.NAMES.get(name, name) if len(offer.models) > 1 else "" for name in chosen]

    def stage(job: Job, groups: list[list[Shown]], pending: int) -> str:
        return html.pictures(groups, titles, job.preview, pending)

    def order() -> list[Order]:
        return [offer.read({**asked, "model": name}) for name in chosen]

    async for frame in _follow(studio, order, stage, titles, past, request):
        yield frame


async def _grid(
    studio: Studio, offer: Offer, asked: dict[str, Any], rows: Any, scales: Any, past: list[Shown], request: gr.Request
) -> AsyncIterator[Frame]:
    """Every chosen scheduler with every guidance scale: one prompt, one seed."""
    columns: list[str] = []
    names = [str(name) for name in rows] if isinstance(rows, list) else []

    def order() -> list[Order]:
        columns.extend(f"{value:g}" for value in _scales(scales))
        if not 1 <= len(names) * len(columns) <= MOST_CELLS:
            raise Refused(
                f"A grid has 1 to {MOST_CELLS} cells; {len(names)} schedulers and {len(columns)} scales were chosen."
            )
        return [
            offer.read({**asked, "scheduler": name, "guidance": float(scale)}) for name in names for scale in columns
        ]

    def stage(job: Job, groups: list[list[Shown]], pending: int) -> str:
        done = [shown for group in groups for shown in group]
        model = f"{html.NAMES[job.orders[0].model]} model, " if len(offer.models) > 1 else ""
        return html.table(f"{model}seed {job.orders[0].seed}", names, columns, done, job.preview if pending else "")

    async for frame in _follow(studio, order, stage, [""] * MOST_CELLS, past, request):
        yield frame


def _scales(text: Any) -> list[float]:
    """`3, 7.5` as numbers; Refused for anything else."""
    try:
        return [float(part) for part in str(text).replace(";", ",").split(",") if part.strip()]
    except ValueError:
        raise Refused("Guidance scales are numbers with commas between them, such as 3, 7.5, 12.") from None


async def _follow(
    studio: Studio,
    orders: Callable[[], list[Order]],
    stage: Callable[[Job, list[list[Shown]], int], str],
    titles: Sequence[str],
    past: list[Shown],
    request: gr.Request,
) -> AsyncIterator[Frame]:
    """Submit, show every few steps how far it is, and end with the pictures or one sentence."""
    try:
        studio.rate.count(request.client.host if request.client else "unknown")
        job = studio.submit(orders(), owner=str(request.session_hash), watched=True)
    except Refused as refusal:
        yield html.notice(str(refusal)), html.gallery(past), past
        return
    done = asyncio.wrap_future(job.finished)
    done.add_done_callback(lambda future: future.cancelled() or future.exception())

    def groups() -> list[list[Shown]]:
        pairs = zip(list(job.pictures), titles, strict=False)
        return [[Shown.of(picture, title) for picture in group] for group, title in pairs]

    text = ""
    try:
        while not done.done():
            ahead = studio.place(job)
            text = f"step {job.step} of {job.steps}" if job.started else f"{ahead} waiting before you"
            yield html.progress(job.share, text) + stage(job, groups(), 1), html.gallery(past), past
            await asyncio.wait([done], timeout=FRAME_SECONDS)
        error = done.exception()
    finally:
        studio.cancel(job)  # whoever closes the page frees the model
    made = [shown for group in groups() for shown in group]
    past = [*reversed(made), *past][:HISTORY]
    said = ""
    if isinstance(error, Cancelled):
        said = html.notice(f"Cancelled at step {job.step} of {job.steps}.", "news")
    elif error is not None:
        said = html.notice(str(error) if isinstance(error, UserError) else "The picture could not be made.")
    elif made:
        seconds = sum(group[-1].seconds for group in job.pictures)
        said = html.notice(f"{len(made)} {'picture' if len(made) == 1 else 'pictures'} in {seconds:.1f} s", "news")
    if made:
        said = "".join(html.notice(text, "cut") for text in job.cut) + said
    yield said + (stage(job, groups(), 0) if made else ""), html.gallery(past), past
