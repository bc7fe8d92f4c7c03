"""`dataset=hub`: any set of images and captions on the Hugging Face hub, its columns named in the configuration."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Optional

from t2i.data.files.download import from_hub
from t2i.data.files.parquet import encoded
from t2i.data.sources.extract import Record
from t2i.data.sources.sharded import Shards
from t2i.data.splits import ContentSplit

if TYPE_CHECKING:
    from t2i.store import Store


@dataclass
class Hub(Shards):
    """A data set that `datasets` loads by its name; with a root, Parquet files (or shards) that lie there."""

    kind: str = "hub"
    name: str = "hub"
    hub: str = ""
    """Name on the hub (owner/name); read where root is empty."""
    hub_subset: Optional[str] = None
    """Which of its configurations, where it has several."""
    revision: Optional[str] = None
    """Commit, branch or tag; null: the newest."""

    def validate_root(self) -> None:
        if not self.hub or self.root:
            super().validate_root()

    def acquire(self, store: "Store") -> None:
        """Downloads what is not there, and writes the images out as files. Raises UserError without a network."""
        if self.root or self.kaggle:
            return super().acquire(store)
        ContentSplit.acquire(self, store)
        if store.main:  # one process downloads, the others find it done
            from_hub(self.hub, self.hub_subset, self.revision)
        store.barrier()
        splits = from_hub(self.hub, self.hub_subset, self.revision)
        for split, table in splits.items():
            self.columns.check(table.features, f"{self.hub} ({split})")
        inputs = {split: str(table._fingerprint) for split, table in splits.items()}
        self.write_out(store, inputs, {"columns": asdict(self.columns)}, lambda: self._rows(splits))
        return None

    def _rows(self, splits: Mapping[str, Any]) -> Iterator[Record]:
        names = [name for _, name in self.columns.names()]
        for split, table in splits.items():
            # In Arrow's form an image is its bytes: nothing is decoded here.
            for number, row in enumerate(table.select_columns(list(dict.fromkeys(names))).with_format("arrow")):
                values = {name: encoded(value) for name, value in row.to_pylist()[0].items()}
                yield self.columns.record(
                    values, split, f"{split}_{number:07d}", f"{self.hub} ({split}), row {number + 1}"
                )
