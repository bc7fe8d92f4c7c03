"""Captions that a text encoder cuts: each with the number of tokens that it loses. They stay in the set."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from t2i.data.base import SPLITS
from t2i.data.preparation.manifest import SHOWN, write_list
from t2i.data.preparation.shards import shard_paths
from t2i.data.spool import Spool
from t2i.store import Stage, Store

VERSION = 1
BATCH = 256
FILE = "long_captions.json"


@dataclass(frozen=True)
class TokenLimit:
    """What a text encoder reads of a caption."""

    tokenizer: str
    """What tells one tokenizer from another: the digest of its files."""
    limit: int
    """Tokens that are read, those of start and end included."""
    count: Callable[[Sequence[str]], list[int]]
    """How many tokens each of some captions has, start and end included."""


def long_captions(prepared: Stage, store: Store, tokens: TokenLimit) -> Stage:
    """A stage with `long_captions.json`: `limit`, `captions` (how many there are), `long` (how many are cut),
    `tokens_lost`, and `listed` (id, split, the caption's beginning, its tokens, how many are lost).

    A stage of its own: another tokenizer changes nothing about prepared pictures.
    """
    config = {"tokenizer": tokens.tokenizer, "limit": tokens.limit}
    inputs = {"data": prepared.digest}
    return store.stage("long_captions", inputs, config, VERSION, lambda folder: _build(folder, prepared.path, tokens))


def _build(folder: Path, prepared: Path, tokens: TokenLimit) -> None:
    listed = Spool[dict[str, object]](pack=lambda record: record)
    total = lost = 0
    for split in SPLITS:
        for rows in _captions(prepared, split):
            total += len(rows)
            for (key, caption), count in zip(rows, tokens.count([caption for _, caption in rows]), strict=True):
                if count <= tokens.limit:
                    continue
                lost += count - tokens.limit
                shown = caption if len(caption) <= SHOWN else caption[:SHOWN] + "..."
                facts = {"tokens": count, "lost": count - tokens.limit}
                listed.append({"id": key, "split": split, "caption": shown, **facts})
    head = {"limit": tokens.limit, "captions": total, "long": len(listed), "tokens_lost": lost}
    with open(folder / FILE, "w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ',\n"listed": ')
        write_list(file, listed)
        file.write("}\n")


def _captions(prepared: Path, split: str) -> Iterator[list[tuple[str, str]]]:
    """Id and caption of every caption, some images at a time."""
    for path in shard_paths(prepared, split):
        for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["id", "captions"]):
            columns = batch.to_pydict()
            pairs = zip(columns["id"], columns["captions"], strict=True)
            yield [(key, caption) for key, captions in pairs for caption in captions]
