"""The page: a Gradio layout whose every request goes through the same order and queue as the endpoint's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from t2i.errors import UserError
from t2i.web import controls, html
from t2i.web.head import BOTH, HISTORY, fields_of
from t2i.web.html import Shown
from t2i.web.order import HIGHEST_SEED, LONGEST_PROMPT, MOST_CELLS, Offer, Order, Refused
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
        kept, begun = gr.JSON(visible=False), gr.JSON(visible=False)
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
                    own = controls.settings(offer)
                controls.begin()
                with gr.Accordion("Grid of schedulers and scales", open=False, elem_id="grid"):
                    names = list(offer.schedulers)
                    chosen = [name for name in ("ddim", "euler", default.scheduler) if name in offer.schedulers]
                    rows = gr.CheckboxGroup(names, value=list(dict.fromkeys(chosen)), label="Schedulers")
                    scales = gr.Textbox("3, 7.5, 12", label="Guidance scales", max_length=60, elem_id="scales")
                    draw = gr.Button("Draw the grid", elem_id="draw")
                table = html.measured(numbers)
                if table:
                    with gr.Accordion("What was measured", open=True, elem_id="measured"):
                        gr.HTML(table, padding=False, apply_default_css=False)

        own = {"prompt": prompt, **own}
        values = [own[name] for name in fields_of(offer)]
        shown = [stage, shelf, history]
        options: dict[str, Any] = {
            "show_progress": "hidden",
            "concurrency_limit": None,  # the studio's queue is the one that counts
            "api_visibility": "private",
        }

        async def pictures(request: gr.Request, *given: Any) -> AsyncIterator[Frame]:
            *values, begun, model, past = given
            order = controls.asked(offer, tuple(values), begun)
            async for frame in _make(studio, offer, order, _fault(begun), str(model), list(past), request):
                yield frame

        async def cells(request: gr.Request, *given: Any) -> AsyncIterator[Frame]:
            *values, begun, rows, scales, model, past = given
            chosen = "base" if model == "base" or len(offer.models) == 1 else "tuned"
            order = {**controls.asked(offer, tuple(values), begun), "count": 1, "model": chosen}
            async for frame in _grid(studio, offer, order, _fault(begun), rows, scales, list(past), request):
                yield frame

        def stop(request: gr.Request) -> None:
            studio.leave(str(request.session_hash))

        def again(names: Any) -> tuple[str, list[Shown]]:
            past = _found(studio.painter.folder, names)
            return html.gallery(past), past

        started = [make.click, prompt.submit]
        made = gr.on(started, pictures, [*values, begun, model, history], shown, js=t2i_begun(len(values)), **options)
        made.then(None, None, None, js="() => t2i.keep()")
        asking = [*values, begun, rows, scales, model, history]
        drawn = draw.click(cells, asking, shown, js=t2i_begun(len(values)), **options)
        drawn.then(None, None, None, js="() => t2i.keep()")
        draw.click(None, None, None, js="() => document.getElementById('stage').scrollIntoView({behavior: 'smooth'})")
        cancel.click(stop, None, None, **options)
        own["dice"].click(None, None, own["seed"], js=f"() => Math.floor(Math.random() * {HIGHEST_SEED + 1})")
        # Of the reader's own choice only: settings that the address brings hold over it.
        scheduler = own["scheduler"]
        scheduler.input(None, scheduler, [own["steps"], own["guidance"]], js="name => t2i.suiting(name)")
        page.load(None, [*values, model], [*values, model], js="(...values) => t2i.read(values)")
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


def t2i_begun(place: int) -> str:
    """A script that puts the picture to begin from among an event's values, at its place."""
    return f"async (...values) => {{ values[{place}] = await t2i.begun(); return values; }}"


def _fault(begun: Any) -> str:
    """Why the picture to begin from could not be sent."""
    return str(begun.get("fault", ""))[:300] if isinstance(begun, dict) else ""


async def _make(
    studio: Studio,
    offer: Offer,
    asked: Mapping[str, Any],
    fault: str,
    model: str,
    past: list[Shown],
    request: gr.Request,
) -> AsyncIterator[Frame]:
    """One prompt with the base, the tuned, or both models: the same seeds beside each other."""
    chosen = list(offer.models) if model == BOTH else [model]
    titles = [html.NAMES.get(name, name) if len(offer.models) > 1 else "" for name in chosen]

    def stage(job: Job, groups: list[list[Shown]], pending: int) -> str:
        return html.pictures(groups, titles, job.preview, pending)

    def order() -> list[Order]:
        _refuse(fault)
        return [offer.read({**asked, "model": name}) for name in chosen]

    async for frame in _follow(studio, order, stage, titles, past, request):
        yield frame


async def _grid(
    studio: Studio,
    offer: Offer,
    asked: Mapping[str, Any],
    fault: str,
    rows: Any,
    scales: Any,
    past: list[Shown],
    request: gr.Request,
) -> AsyncIterator[Frame]:
    """Every chosen scheduler with every guidance scale: one prompt, one seed."""
    columns: list[str] = []
    names = [str(name) for name in rows] if isinstance(rows, list) else []

    def order() -> list[Order]:
        _refuse(fault)
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


def _refuse(fault: str) -> None:
    """Refused, in the words of what went wrong before an order was made."""
    if fault:
        raise Refused(fault)


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
