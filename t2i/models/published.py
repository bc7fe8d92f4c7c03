"""The networks that judge pictures, as they are published: what is fetched, how large that is, and under which licence."""

from dataclasses import dataclass

from t2i import spoken


@dataclass(frozen=True)
class Published:
    """One set of weights."""

    bytes: int
    """About, of what is fetched."""
    licence: str
    files: str = ""
    """Of a repository from which one file is fetched: its name."""

    @property
    def told(self) -> str:
        """`about 1.71 GB, MIT`."""
        return f"about {spoken.size(self.bytes)}, {self.licence}"


PUBLISHED = {
    "openai/clip-vit-base-patch32": Published(605_000_000, "MIT"),
    "openai/clip-vit-large-patch14": Published(1_710_000_000, "MIT"),
    "laion/CLIP-ViT-g-14-laion2B-s12B-b42K": Published(5_470_000_000, "MIT"),
    "facebook/dinov2-large": Published(1_220_000_000, "Apache-2.0"),
    "inception": Published(95_600_000, "Apache-2.0"),
    "yuvalkirstain/PickScore_v1": Published(3_940_000_000, "MIT for its code, none stated for the weights"),
    "xswu/HPSv2": Published(1_970_000_000, "Apache-2.0", "HPS_v2.1_compressed.pt"),
    "Qwen/Qwen3-VL-2B-Instruct": Published(4_260_000_000, "Apache-2.0"),
    "Salesforce/blip-vqa-base": Published(1_540_000_000, "BSD-3-Clause"),
}
"""By hub id, `owner/name`."""


def told(source: str) -> str:
    """Size and licence of a hub id (`owner/name[@revision]`), as far as they are known here."""
    own = PUBLISHED.get(source.partition("@")[0])
    return own.told if own else "size and licence unknown"


def how_to_fetch(source: str, key: str) -> str:
    """What to type to have a hub id here, on this machine or on another one that has a network."""
    name = source.partition("@")[0]
    own = PUBLISHED.get(name)
    files = f" {own.files}" if own and own.files else ""
    folder = f"models/{name.rpartition('/')[2]}"
    return f"with a network type `hf download {name}{files} --local-dir {folder}` ({told(source)}), then {key}={folder}"
