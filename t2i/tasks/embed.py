"""`task=embed`: caption embeddings, whether captions of one picture are closer than captions of two, what is near,
and pictures paired with captions.
"""

from t2i.config import Config
from t2i.context import Run
from t2i.stages.goals import Goals
from t2i.stages.prepared import Prepared
from t2i.stages.stage import made
from t2i.stages.text_embeddings import TextEmbeddings
from t2i.stories import embeddings, pairing


def stages(config: Config, run: Run) -> Goals:
    """The embeddings, and the features that pictures and captions are paired by."""
    yield "data", [Prepared(config)]
    yield "caption embeddings", [TextEmbeddings(config)]
    yield "pairing", [pairing.features(config)]


def embed(config: Config, run: Run) -> dict[str, float]:
    """Leaves `text_embeddings.npy`, `text_embeddings_pooled.npy` and `text_index.json` (see
    `t2i.evaluation.embeddings`) in the run folder, as links into the store; returns the cosine check.
    """
    config.eval.validate()
    folder = made(TextEmbeddings(config), run).path
    return embeddings.tell(config, run, folder) | pairing.paired(config, run)
