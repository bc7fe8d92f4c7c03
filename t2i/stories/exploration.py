"""The figures of `task=prepare`: what a prepared set shows, drawn from its survey and a few of its pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from t2i.config import Config
from t2i.context import Run
from t2i.data.reading import pictures
from t2i.store import Stage as Finished
from t2i.stories.set_aside import decoded

if TYPE_CHECKING:
    from t2i.data.survey import Survey

GROUPS, SHOWN = 12, 10
"""Domains of the contact sheet, and pictures of each, at most."""
Figures = list[tuple[Path, str]]


def exploration(config: Config, run: Run, stage: Finished, found: "Survey") -> Figures:
    """Every figure that the set has something for, with the sentence below it."""
    return [*_pictures(config, run, stage, found), *_groups(config, run, found), *_texts(config, run, found)]


def _pictures(config: Config, run: Run, stage: Finished, found: "Survey") -> Figures:
    import numpy as np

    from t2i.reporting import figures
    from t2i.reporting.shown import fitted

    folder, name = run.figures(), config.dataset.name
    groups, first = _sheet(found), list(found.captioned)
    wanted = {*first, *(row for rows in groups.values() for row in rows)}
    pixels = {row: decoded(encoded) for row, encoded in pictures(stage.path, "train", wanted).items()}
    shown = [pixels[row] for row in first]
    if len({picture.shape for picture in shown}) > 1:  # buckets of several aspect ratios
        shown = [fitted(picture, config.dataset.resolution) for picture in shown]
    path = figures.sample_grid(
        np.stack(shown),
        list(found.captioned.values()),
        folder / "training_pictures.png",
        f"Training pictures of {name}",
    )
    made = [(path, f"Training pictures of {name}, drawn by lot, each with its first caption.")]
    sheet = {group: [pixels[row] for row in rows] for group, rows in groups.items()}
    path = figures.contact_sheet(sheet, folder / "contact_sheet.png", f"Contact sheet of {name}")
    return [*made, (path, "Training pictures by domain, drawn by lot; each picture stands once.")]


def _sheet(found: "Survey") -> dict[str, list[int]]:
    """Rows for the contact sheet: of the largest domains, no picture twice; of the whole set where it has no domains."""
    sizes = found.domains["train"]
    largest = sorted(sizes, key=lambda name: -sizes[name])[:GROUPS]
    if not largest:
        return {"": found.examples[""]}
    chosen: dict[str, list[int]] = {}
    for name in reversed(largest):  # the smallest first: it has the fewest pictures to choose from
        taken = {row for rows in chosen.values() for row in rows}
        chosen[name] = [row for row in found.examples[name] if row not in taken][:SHOWN]
    return {f"{name} ({sizes[name]:,})": chosen[name] for name in largest}


def _groups(config: Config, run: Run, found: "Survey") -> Figures:
    from t2i.reporting import figures

    made: Figures = []
    for group, label, groups in (("domain", "domains", found.domains), ("category", "categories", found.categories)):
        names = sorted(groups["train"].keys() | groups["held_out"].keys())
        if len(names) > 1:  # one bar says nothing
            train, held_out = ([groups[split].get(name, 0) for name in names] for split in ("train", "held_out"))
            title, path = f"Pictures by {group} of {config.dataset.name}", run.figures() / f"pictures_by_{group}.png"
            figures.pictures_by_group(names, train, held_out, path, title, label)
            made.append((path, f"Pictures by {group}; a picture with several counts in each."))
    return made


def _texts(config: Config, run: Run, found: "Survey") -> Figures:
    import numpy as np

    from t2i.reporting import figures

    folder, name = run.figures(), config.dataset.name
    made: Figures = []
    if len(found.words) > 1 or len(found.tokens) > 1:
        path = folder / "caption_lengths.png"
        figures.caption_lengths(found.words, found.tokens, found.token_limit, path, f"Caption lengths of {name}")
        made.append((path, f"Captions by length. Orange: more tokens than model={config.model.name} reads."))
    if len(found.per_image) > 1:
        path = folder / "captions_per_picture.png"
        figures.captions_per_picture(found.per_image, path, f"Captions per picture of {name}")
        made.append((path, "Pictures by their number of captions, training and held out."))
    if len(found.frequent) > 1:
        words, captions = zip(*found.frequent, strict=True)
        path = folder / "word_frequencies.png"
        total = sum(found.captions.values())
        figures.word_frequencies(words, captions, total, path, f"Most frequent words of {name}")
        made.append((path, "Share of the captions that have a word."))
    if len(found.sizes) > 1:
        path = folder / "source_sizes.png"
        figures.source_sizes(np.array(found.sizes), config.dataset.resolution, path, f"Sizes of the sources of {name}")
        made.append((path, "Left: each dot is a size, its area the number of pictures. Right: aspect ratios."))
    return made
