"""Settings: light to import, readable by OmegaConf, and every mistake names its key."""

import subprocess
import sys

import pytest

from t2i.errors import ConfigError
from t2i.evaluation import config
from t2i.evaluation.config import Evaluation
from t2i.evaluation.extractors import registry as extractors
from t2i.evaluation.metrics import registry


def test_importing_the_settings_loads_nothing_heavy() -> None:
    code = "import sys, t2i.evaluation.config; print({'torch', 'scipy', 'numpy', 'transformers'} & sys.modules.keys())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def test_checking_the_settings_loads_neither_torch_nor_scipy() -> None:
    code = (
        "import sys; from t2i.evaluation.config import Evaluation; Evaluation().validate(); "
        "print({'torch', 'scipy', 'transformers'} & sys.modules.keys())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def test_omegaconf_reads_the_dataclass() -> None:
    from omegaconf import OmegaConf

    merged = OmegaConf.merge(OmegaConf.structured(Evaluation), {"metrics": ["kid"], "images": 7})
    found = OmegaConf.to_object(merged)
    assert isinstance(found, Evaluation) and (found.metrics, found.images) == (["kid"], 7)


def test_defaults_are_valid_and_every_extractor_is_known() -> None:
    Evaluation().validate()
    assert Evaluation().metrics == list(registry.METRICS)[:5]
    assert config.EXTRACTORS == tuple(extractors.EXTRACTORS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"metrics": ["fdi"]},
            r"eval.metrics holds 'fdi', which is no metric \(did you mean fid\?\); use one of: fid, kid",
        ),
        ({"metrics": []}, "eval.metrics"),
        ({"metrics": ["fid", "fid"]}, "repeats"),
        ({"extractor": "inceptoin"}, "eval.extractor=inceptoin; valid extractors: tiny_clip, clip, inception, dinov2"),
        ({"clip": "openai/clip-vit-base-patch32"}, "eval.extractor=clip"),
        ({"extractor": "clip"}, "eval.clip=bundled"),
        ({"class_prompts": ["a photo"]}, "eval.class_prompts"),
        ({"extractor": "inception", "resize": "bilinear"}, "eval.resize=bilinear"),
        ({"images": 1}, "eval.images=1"),
        ({"batch_size": 0}, "eval.batch_size=0"),
        ({"replicates": 5}, "eval.replicates=5"),
        ({"seed": -1}, "eval.seed=-1"),
    ],
)
def test_a_mistake_names_its_key(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Evaluation(**settings).validate()  # type: ignore[arg-type]
