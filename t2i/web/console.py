"""The interactive line of task=prompt: a prompt gives a picture, a line with a slash changes a setting."""

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from t2i.errors import UserError
from t2i.sampling.prompts import expand
from t2i.web.order import Offer, Order, Refused
from t2i.web.painter import Painter, Picture

QUESTION = "Enter your prompt: "
HELP = """\
/scale 7.5         guidance scale              /steps 30         denoising steps
/scheduler euler   which scheduler             /seed 3           seed of the next picture
/negative blurry   what not to show            /count 2          pictures for a prompt
/size 64           or /size 96x64              /tuned on|off     the tuned or the base model
/compare           base and tuned, one seed: of the prompt behind it, or of the last one
/weights on|off    whether (word)1.3 and word++ weigh words
/settings          what holds now              /help             this list
{red|blue} in a prompt stands for both, __colour__ for a line of <wildcards>/colour.txt
/quit              or Ctrl-D; Ctrl-C gives up the picture in the making"""
SETTINGS: dict[str, tuple[str, type]] = {
    "/scale": ("guidance", float),
    "/steps": ("steps", int),
    "/scheduler": ("scheduler", str),
    "/seed": ("seed", int),
    "/negative": ("negative_prompt", str),
    "/count": ("count", int),
}
COMMANDS = [*SETTINGS, "/size", "/tuned", "/weights", "/compare", "/settings", "/help", "/quit"]
INLINE_PIXELS = 256
INLINE_COLUMNS = 32
"""Of a picture of any size: half blocks show two pixels a column and line."""


class GivenUp(Exception):
    """Ctrl-C while a picture was in the making."""


class Console:
    """Reads lines, draws, and says where the pictures are. Settings hold until they are changed."""

    def __init__(self, painter: Painter, offer: Offer, history: Path, wildcards: str | None = None) -> None:
        """wildcards: folder of the text files behind `__words__` in a prompt."""
        self.painter = painter
        self.wildcards = wildcards
        self.offer = offer
        self.order = offer.defaults
        self.terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self.read = _lines(history) if self.terminal else _piped

    def run(self) -> None:
        """Until the input ends or /quit."""
        print("Type a prompt, or /help.")
        while (line := self.read()) is not None:
            line = line.strip()
            try:
                if line == "/quit":
                    return
                if line.startswith("/"):
                    self._command(*line.split(maxsplit=1))
                elif line:
                    self._draw_all([self._with(prompt=prompt) for prompt in self._expanded(line)])
            except UserError as error:
                print(error)

    def _with(self, **changes: Any) -> Order:
        """The current settings with changes, within the limits; Refused outside of them."""
        return self.offer.read({**dataclasses.asdict(self.order), **changes})

    def _command(self, name: str, value: str = "") -> None:
        if name in SETTINGS:
            key, kind = SETTINGS[name]
            # A prompt may still be missing; settings are checked all the same.
            changed = self._with(**{key: _typed(name, value, kind), "prompt": self.order.prompt or "any"})
            if name == "/scheduler":
                steps, guidance = self.offer.suits(changed.scheduler)
                changed = dataclasses.replace(changed, steps=steps, guidance=guidance)
            self.order = dataclasses.replace(changed, prompt=self.order.prompt)
            self._settings()
        elif name == "/size":
            width, _, height = value.lower().partition("x")
            sides = {"width": _typed(name, width, int), "height": _typed(name, height or width, int)}
            self.order = dataclasses.replace(
                self._with(**sides, prompt=self.order.prompt or "any"), prompt=self.order.prompt
            )
            self._settings()
        elif name == "/tuned":
            self._tuned()
            if value not in ("on", "off"):
                raise Refused("/tuned takes on or off.")
            self.order = dataclasses.replace(self.order, model="tuned" if value == "on" else "base")
            self._settings()
        elif name == "/weights":
            if value not in ("on", "off"):
                raise Refused("/weights takes on or off.")
            changed = dataclasses.replace(self.order, prompt_weights=value == "on")
            self.painter.settings(changed)  # refused here, where compel is missing
            self.order = changed
            self._settings()
        elif name == "/compare":
            self._tuned()
            orders = [self._with(prompt=prompt) for prompt in self._expanded(value or self.order.prompt)]
            self._draw_all([dataclasses.replace(order, model=model) for order in orders for model in ("base", "tuned")])
        elif name == "/settings":
            self._settings()
        elif name == "/help":
            print(HELP)
        else:
            raise Refused(f"{name} is no command; use one of: {', '.join(COMMANDS)}.")

    def _expanded(self, prompt: str) -> list[str]:
        """Every prompt that `{red|blue}` and `__colour__` make of one, as in task=generate."""
        return expand([prompt], self.wildcards, self.order.seed) if prompt else [prompt]

    def _tuned(self) -> None:
        if "tuned" not in self.offer.models:
            raise Refused("There is no tuned model here; start with weights=<run folder>.")

    def _settings(self) -> None:
        order = self.order
        size = f"{order.width}" if order.width == order.height else f"({order.width} x {order.height})"
        weights = ", (word)1.3 and word++ are weights" if order.prompt_weights else ""
        negative = f', negative "{order.negative_prompt}"' if order.negative_prompt else ""
        print(
            f"{order.model} model, {order.scheduler} {order.steps} steps, scale {order.guidance:g}, seed {order.seed}, "
            f"{order.count} x {size} pixels{negative}{weights}"
        )

    def _draw_all(self, orders: Sequence[Order]) -> None:
        """One after another, until one is given up."""
        if len({order.prompt for order in orders}) > 1:
            print(f"{len(orders)} prompts; Ctrl-C gives up what is left")
        for order in orders:
            if len(orders) > 1:
                print(order.prompt)
            if not self._draw(order):
                return

    def _draw(self, order: Order) -> bool:
        """Draw, and show what was made; False when it was given up."""
        self.order = dataclasses.replace(self.order, prompt=order.prompt)
        for sentence in self.painter.cut(order):
            print(sentence)
        bar = tqdm(total=order.steps, desc=order.model, unit="step", leave=False, disable=not sys.stderr.isatty())
        with bar, _interruptible() as given_up:

            def on_step(step: int, total: int, latents: torch.Tensor) -> None:
                if given_up():
                    raise GivenUp
                bar.total, bar.n = total, step
                bar.refresh()

            try:
                pictures = self.painter.draw(order, on_step)
            except GivenUp:
                pictures = []
        if not pictures:
            print("given up")
        for picture in pictures:
            self._show(picture)
        return bool(pictures)

    def _show(self, picture: Picture) -> None:
        if self.terminal and os.get_terminal_size(sys.stdout.fileno()).columns:  # a serial line tells no size
            _inline(picture.path)
        print(f"{picture.order.model}, seed {picture.seed}, {picture.seconds:.1f} s: {picture.path}")


def _typed(name: str, value: str, kind: type) -> Any:
    """The value of a command; Refused when it is missing or no number where one is needed."""
    if not value and kind is not str:
        raise Refused(f"{name} needs a number, such as {name} {7.5 if kind is float else 3}.")
    try:
        return kind(value)
    except ValueError:
        raise Refused(f"{name} {value[:40]} is no {'whole ' if kind is int else ''}number.") from None


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C is only noted: the callable says whether it came, and the next step ends the picture."""
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


def _piped() -> str | None:
    """A line of standard input that is no terminal; None at its end."""
    print(QUESTION, end="", flush=True)
    line = sys.stdin.readline()
    print()
    return line or None


def _lines(history: Path) -> Callable[[], str | None]:
    """Reads lines with editing, completion of commands, and a history that is kept in a file."""
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory
        from textual_image import renderable  # noqa: F401 - asks the terminal what it can show, before lines are read
    except ImportError as error:
        raise UserError(
            f"task=prompt in a terminal needs {error.name}; type: pip install -c constraints.txt -e '.[web]'"
        ) from error
    history.parent.mkdir(parents=True, exist_ok=True)
    completer = WordCompleter(COMMANDS, sentence=True)
    session: PromptSession[str] = PromptSession(
        QUESTION, history=FileHistory(str(history)), completer=completer, complete_while_typing=False
    )

    def read() -> str | None:
        try:
            return session.prompt()
        except KeyboardInterrupt:  # an empty line instead of the half-typed one
            return ""
        except EOFError:
            return None

    return read


def _inline(path: Path) -> None:
    """The picture itself, where the terminal speaks Kitty's protocol or sixel; in coloured half blocks elsewhere."""
    from PIL import Image
    from rich.console import Console as Terminal
    from textual_image.renderable import Image as Inline

    with Image.open(path) as image:
        image.thumbnail((INLINE_PIXELS, INLINE_PIXELS))
        Terminal().print(Inline(image.convert("RGB"), width=INLINE_COLUMNS, height="auto"))
