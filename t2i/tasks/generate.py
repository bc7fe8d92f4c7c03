"""`task=generate`: pictures for prompts, or for held-out captions, from the base or the tuned model."""

from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.sampling.prompts import expand, from_file
from t2i.stages.captions import Captions, HeldOut, Texts
from t2i.stages.generated import Generated
from t2i.stages.goals import Goals
from t2i.stages.remake import remake
from t2i.stages.stage import made
from t2i.stages.weights import Given
from t2i.stories.generation import tell, tell_cut, tell_remade, tell_unknown

OF_A_RECIPE = ("scheduler", "cfg", "sampling", "seed=", "prompts", "images", "image=", "mask=", "strategy", "dataset")
"""Keys that say what is drawn, where no recipe says it."""


def stages(config: Config, run: Run) -> Goals:
    """The pictures; none for those of a recipe, which are made again in any case."""
    if config.recipe is None:
        yield "pictures", [_pictures(config)]


def _pictures(config: Config) -> Generated:
    return Generated(config, prompts_of(config), Given(config))


def generate(config: Config, run: Run) -> dict[str, float]:
    """Leaves the pictures in `images/` of the run folder, each with its recipe inside."""
    if config.recipe is not None:
        unused = [text for text in run.overrides if text.lstrip("+").startswith(OF_A_RECIPE)]
        if unused:
            run.say(f"the recipe says how the picture is made, and {', '.join(unused)} changes nothing of it")
        picture = remake(config, run, Path(config.recipe).expanduser())
        if run.main:
            tell_remade(run, picture)
        return {"images": 1.0, "identical": float(picture.same)}
    stage = _pictures(config)
    tuned = stage.weights.find(run)  # what cannot be read is told before data is prepared
    if run.main and isinstance(stage.captions, Texts):
        tell_unknown(config, run, stage.captions.texts(run))
        tell_cut(config, run, stage.captions.texts(run))
    folder, captions = made(stage, run).path, stage.captions.texts(run)
    if run.main:
        tell(config, run, folder, captions, tuned is not None)
    return {"images": float(len(captions))}


def prompts_of(config: Config) -> Captions:
    """One prompt a picture."""
    given = list(config.prompts)
    if config.prompts_file is not None:
        given += from_file(Path(config.prompts_file).expanduser())
    count = config.images_per_prompt
    if not given:
        return HeldOut(config, config.images * count, count)
    prompts = expand(given, config.wildcards, config.seed)
    return Texts([prompt for prompt in prompts for _ in range(count)])
