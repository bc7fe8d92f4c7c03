"""From an order to PNG files: the one sampler behind the page, the endpoint and the terminal."""

import dataclasses
import itertools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from t2i.errors import UserError
from t2i.models.parts import Models
from t2i.models.prompt_weights import plain
from t2i.models.text import spelt_out
from t2i.sampling import grid
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.given import Beginning, read, told
from t2i.sampling.prompts import told_cut, told_unknown
from t2i.sampling.recipe import write_picture
from t2i.sampling.sampler import OnStep, encode, sample
from t2i.web.order import Order, Refused
from t2i.web.preview import noise_levels
from t2i.web.uploads import Uploads


def of_size(models: Models, width: int, height: int) -> Models:
    """The same networks with latents for pictures of width x height pixels."""
    wide, tall = (dataclasses.replace(models, resolution=side) for side in (width, height))
    if width == height:
        return wide
    square, other = wide.latent_shape(1), tall.latent_shape(1)

    def latent_shape(count: int) -> tuple[int, int, int, int]:
        return count, square[1], other[2], square[3]

    setattr(wide, "latent_shape", latent_shape)  # noqa: B010  of this one alone
    return wide


@dataclass(frozen=True)
class Picture:
    """A finished picture and the order and seed that make it again."""

    path: Path
    order: Order
    seed: int
    seconds: float
    """Of the whole order, from its start."""


@dataclass
class Painter:
    """The loaded models and what to do with them. Not for two threads at once: texts are kept inside the networks."""

    models: Mapping[str, Models]
    """`base`, and `tuned` where there are tuned weights."""
    schedulers: Mapping[str, Scheduler]
    guidance: Guidance
    """What an order does not say: rescaling and interval."""
    describe: Callable[[Order, Scheduler, Guidance], dict[str, Any]]
    """The recipe of an order's pictures but for prompt, seed, batch, height and what they are drawn from."""
    folder: Path
    batch_size: int
    keep_text: bool = True
    adapters: Mapping[int, str] = field(default_factory=dict)
    """Names of the adapters on the tuned model of which a share can be taken."""
    rescale: Callable[[Sequence[float]], None] = lambda scales: None
    """Takes such shares of them."""
    made: int = field(default=0, init=False)

    def settings(self, order: Order) -> tuple[Scheduler, Guidance]:
        """The sampler's own words for an order."""
        scheduler = dataclasses.replace(self.schedulers[order.scheduler], steps=order.steps)
        guidance = dataclasses.replace(
            self.guidance,
            scale=order.guidance,
            negative_prompt=order.negative_prompt or None,
            prompt_weights=order.prompt_weights,
        )
        guidance.validate()
        return scheduler, guidance

    def noise_levels(self, order: Order) -> list[tuple[float, float]]:
        """Scale and noise of the latents after every step; raises ConfigError as `draw` does."""
        models = self.models[order.model]
        return noise_levels(self.settings(order)[0].start(models.schedule(), models.grid))

    def cut(self, order: Order) -> list[str]:
        """A sentence for each text of an order that is longer than the text encoder reads, and for unknown words."""
        models = self.models[order.model]

        def tokens(text: str) -> int:
            prompt = models.family.prompt(models.tokenizer, spelt_out(models, text))
            return len(models.tokenizer(prompt, truncation=False, verbose=False).input_ids)

        texts = (order.prompt, order.negative_prompt)
        if order.prompt_weights:
            texts = (plain(order.prompt), plain(order.negative_prompt))
        told = [told_cut(text, tokens, models.longest) for text in texts]
        told[1] = told[1].replace("The prompt", "The negative prompt", 1)
        told.append(told_unknown(texts, models.tokenizer.get_vocab, models.words))
        return [sentence for sentence in told if sentence]

    def draw(
        self, order: Order, on_step: OnStep | None = None, on_tile: Callable[[], None] = lambda: None
    ) -> list[Picture]:
        """`order.count` pictures, written with their recipes as `<name>.png` and `.json`; names cannot be guessed.

        on_tile: is called before each tile of a large picture is decoded, which takes as long as several steps. Raises
        UserError for what the model cannot do, and whatever the two callbacks raise.
        """
        start = time.monotonic()
        scheduler, guidance = self.settings(order)
        models = of_size(self.models[order.model], order.width, order.height)
        seeds = list(range(order.seed, order.seed + order.count))
        beginning, begun = self._beginning(order)
        if order.model == "tuned":
            self.rescale(order.scales)
        conditions = encode(models, [order.prompt] * order.count, guidance)
        batches = sample(
            models, conditions, seeds, scheduler, guidance, self.batch_size,
            on_step=on_step, keep_text=self.keep_text, beginning=beginning,
        )  # fmt: skip
        watch = models.vae.decoder.register_forward_pre_hook(lambda *_: on_tile())
        try:
            drawn: list[tuple[np.ndarray, int]] = [(pixels, len(batch)) for batch in batches for pixels in batch]
        finally:
            watch.remove()
        facts = self.describe(order, scheduler, guidance) | grid.told(models, scheduler) | begun
        if order.height != order.width:
            facts["height"] = order.height
        self.folder.mkdir(parents=True, exist_ok=True)
        pictures = []
        for seed, (pixels, batch_size) in zip(seeds, drawn, strict=True):
            path = self.folder / f"{self.made:06d}_{secrets.token_hex(8)}.png"
            write_picture(path, pixels, {**facts, "prompt": order.prompt, "seed": seed, "batch": batch_size})
            pictures.append(Picture(path, order, seed, time.monotonic() - start))
            self.made += 1
        return pictures

    def _beginning(self, order: Order) -> tuple[Beginning | None, dict[str, Any]]:
        """What an order is drawn from, and what recipes say of it. Raises Refused for what is not there or cannot be used."""
        if not order.image:
            return None, {}
        image = self.uploads.found(order.image, self.folder)
        mask = self.uploads.found(order.mask, self.folder) if order.mask else None
        try:
            beginning = read(image, mask, order.strength, (order.width, order.height))
        except UserError as error:
            raise Refused(str(error)) from error
        beginning.skipped(order.steps)
        return beginning, told(beginning, image, mask)

    @property
    def uploads(self) -> Uploads:
        """Pictures that people gave."""
        return Uploads(self.folder.with_name("uploads"))

    def forget(self, keep: int) -> None:
        """Delete all but the newest `keep` pictures and their recipes."""
        paths = sorted(self.folder.glob("*.png"))
        for path in itertools.islice(paths, max(0, len(paths) - keep)):
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
