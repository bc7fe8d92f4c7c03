"""`text_embeddings`: a vector of every caption, projected and pooled, and the index of their rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i import identity
from t2i.context import Run
from t2i.stages.networks import extractor_of
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, made


@dataclass(frozen=True, eq=False)
class TextEmbeddings(Stage):
    """The files of `t2i.evaluation.embeddings`."""

    name = "text_embeddings"
    version = 2
    resumable = True
    resources = ("eval",)

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        return identity.evaluators(self.config)

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors

        name, digest = extractors.identity(self.config.eval)
        return Address({"extractor": digest}, {"name": name, **identity.inexact(self.config)})

    def build(self, run: Run, folder: Path) -> None:
        from tqdm import tqdm

        from t2i.evaluation import embeddings

        data = made(Prepared(self.config), run).path
        rows = embeddings.write_index(data, folder)
        with tqdm(total=len(rows.first), desc="embedding captions", unit="caption", leave=False) as bar:
            extractor = extractor_of(self.config, run)
            embeddings.embed(data, folder, rows, extractor, self.config.eval.batch_size, bar.update)
