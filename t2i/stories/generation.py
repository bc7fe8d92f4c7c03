"""Pictures that were asked for, in the run folder: a set as it is in the store, or one that was made again."""

import shutil
from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.processes import device_type
from t2i.stages.pictures import read_pictures
from t2i.stages.remake import Remade
from t2i.stages.tuned import taught

MOST_TOLD = 5
"""Prompts of which the words that are cut are said."""


def tell(config: Config, run: Run, pictures: Path, captions: list[str], tuned: bool) -> None:
    """Copies the set in `pictures`, and shows its beginning."""
    folder = run.folder / "images"
    shutil.copytree(pictures, folder, ignore=shutil.ignore_patterns("manifest.json"))
    shown = min(len(captions), 25)
    model = f"{config.model.name}{' tuned' if tuned else ''}"
    scheduler = f"{config.scheduler.name} {config.scheduler.steps} steps"
    title = f"{model}, {scheduler}, guidance {config.cfg.scale:g}"
    figure = next(folder.glob("*.png")) if shown == 1 else _grid(run, folder, captions[:shown], title)
    run.section("Generated pictures", f"{len(captions)} pictures, seeds from {config.seed}.", [], [(figure, title)])
    run.say(f"pictures: {folder}")


def _grid(run: Run, folder: Path, captions: list[str], title: str) -> Path:
    from t2i.reporting.figures import sample_grid

    path = run.figures() / "generated_samples_grid.png"
    return sample_grid(read_pictures(folder, len(captions)), captions, path, title)


def tell_remade(run: Run, made: Remade) -> None:
    """Writes it, and says whether it is the same."""
    from t2i.sampling.recipe import write_picture

    (run.folder / "images").mkdir()
    write_picture(run.folder / "images" / "000000.png", made.picture, made.facts)
    other = "" if made.device == device_type() else f"; it was made on {made.device}"
    run.say(f"made again: {'the same pixels' if made.same else 'NOT the same pixels'}{other}")
    run.say(f"pictures: {run.folder / 'images'}")


def tell_unknown(config: Config, run: Run, prompts: list[str]) -> None:
    """Say which words of the prompts look taught and are not."""
    from t2i.models.tokenizer import TokenCounter
    from t2i.sampling.prompts import told_unknown

    if line := told_unknown(prompts, lambda: TokenCounter(config.model).tokenizer.get_vocab(), taught(config)):
        run.say(line)


def tell_cut(config: Config, run: Run, prompts: list[str]) -> None:
    """Say of prompts that are longer than the text encoder reads which words it does not see."""
    from t2i.models.tokenizer import TokenCounter
    from t2i.sampling.prompts import told_cut

    if config.cfg.prompt_weights:
        from t2i.models.prompt_weights import plain

        prompts = [plain(prompt) for prompt in prompts]
    counter, distinct = TokenCounter(config.model), list(dict.fromkeys(prompts))
    counts = zip(distinct, counter(distinct), strict=True)
    long = [prompt for prompt, count in counts if count > counter.limit]
    for prompt in long[:MOST_TOLD]:
        run.say(told_cut(prompt, lambda text: counter([text])[0], counter.limit))
    if len(long) > MOST_TOLD:
        run.say(f"{len(long) - MOST_TOLD:,} further prompts are cut, too")
