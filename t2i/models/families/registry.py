"""Every model family: one entry each."""

from t2i.errors import ConfigError
from t2i.models.families.family import Family
from t2i.models.families.flux2 import Flux2Klein
from t2i.models.families.sd1 import StableDiffusion1
from t2i.models.families.sd3 import StableDiffusion3
from t2i.models.families.sdxl import StableDiffusionXL

FAMILIES: dict[str, Family] = {
    "sd1": StableDiffusion1(),
    "sdxl": StableDiffusionXL(),
    "sd3": StableDiffusion3(),
    "flux2": Flux2Klein(),
}
DEFAULT = FAMILIES["sd1"]
"""Of files that do not say."""


def family_by(pipeline: str | None, what: str) -> Family:
    """The family whose pipeline has this class in diffusers; None: `DEFAULT`.

    Raises ConfigError, naming the families there are, for another one. what: where the class is named, for the sentence.
    """
    if pipeline is None:
        return DEFAULT
    for family in FAMILIES.values():
        if pipeline in family.pipelines:
            return family
    known = ", ".join(f"{family.title} ({family.pipelines[0]})" for family in FAMILIES.values())
    raise ConfigError(f"{what} is a {pipeline}, and this project knows the models of {known}; give one of them")
