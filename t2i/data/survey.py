"""What is in a prepared set, counted in one pass over its texts: pictures, captions, words, tokens, sizes.

Only counts are kept, so that 600,000 captions take no more memory than 6,000 with the same words and sizes.
"""

import heapq
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

from t2i.data.base import SPLITS, draw
from t2i.data.reading import texts
from t2i.data.tokens import TokenLimit

COLUMNS = ("id", "captions", "domains", "categories", "license", "width", "height")
FREQUENT = 100
"""Words that a survey names."""
EXAMPLES = 20
"""Pictures of each domain that a survey picks; twice as many of the whole set."""
CAPTIONED = 15
"""Pictures that it picks with their caption."""
WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
STOP_WORDS = frozenset(
    """a about above across after against all along also am among an and another any are around as at away back be
    because been before behind being below beneath beside besides between both but by can could did do does doing down
    during each either few for from further get gets getting had has have having he her here hers him his how i if in
    inside into is it its itself just let like may me might more most much my near next no nor not of off on one ones
    onto or other others our out outside over own per s same she should sit so some such t than that the their theirs
    them then there these they this those through to together too toward towards under underneath until up upon us use
    used uses using very via was we were what when where which while who whom whose why will with within without would
    you your""".split()
)
"""English words that say how things relate rather than what there is."""


@dataclass
class Survey:
    """Counts. Keys of `per_image`, `words` and `tokens` are numbers; `sizes` holds [width, height, images]."""

    images: dict[str, int] = field(default_factory=dict)
    """By split."""
    captions: dict[str, int] = field(default_factory=dict)
    domains: dict[str, dict[str, int]] = field(default_factory=dict)
    """By split and name; an image with two counts in both."""
    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    per_image: dict[int, int] = field(default_factory=dict)
    """Images by their number of captions."""
    words: dict[int, int] = field(default_factory=dict)
    """Captions by their number of words."""
    tokens: dict[int, int] = field(default_factory=dict)
    """Captions by their number of tokens, start and end included; empty without a tokenizer."""
    token_limit: int = 0
    """Beyond so many tokens the text encoder cuts."""
    distinct_words: int = 0
    frequent: list[list[Any]] = field(default_factory=list)
    """[word, captions that have it], the most frequent first, without stop words and single letters."""
    sizes: list[list[int]] = field(default_factory=list)
    """Of the source images, in pixels; empty when the set does not say."""
    licenses: dict[str, int] = field(default_factory=dict)
    """Images by what their source says about the licence."""
    examples: dict[str, list[int]] = field(default_factory=dict)
    """By domain, and of the whole set under the empty name: rows of the training split, drawn by the images' ids."""
    captioned: dict[int, str] = field(default_factory=dict)
    """Some of the rows of the whole set, with their first caption."""

    @property
    def cut(self) -> tuple[int, int]:
        """How many captions are longer than the limit, and how many tokens they lose."""
        lost = {length - self.token_limit: n for length, n in self.tokens.items() if length > self.token_limit}
        return sum(lost.values()), sum(tokens * n for tokens, n in lost.items())

    @classmethod
    def read(cls, path: Path) -> "Survey":
        """What `write` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        for name in ("per_image", "words", "tokens", "captioned"):
            values[name] = {int(key): value for key, value in values[name].items()}
        return cls(**values)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")


class _Draw:
    """The rows with the smallest draws of each group: a sample that does not depend on the order of the rows."""

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[float, int, str]]] = {}

    def add(self, group: str, key: float, row: int, caption: str, most: int) -> None:
        heap = self._kept.setdefault(group, [])
        if len(heap) < most:
            heapq.heappush(heap, (-key, row, caption))
        elif -heap[0][0] > key:
            heapq.heapreplace(heap, (-key, row, caption))

    def drawn(self) -> dict[str, list[tuple[int, str]]]:
        """Rows and captions by group, the smallest draw first."""
        return {name: [entry[1:] for entry in sorted(heap, reverse=True)] for name, heap in sorted(self._kept.items())}


def survey(folder: Path, tokenizer: Optional[TokenLimit]) -> Survey:
    """Counts what is in the prepared set at `folder`; tokens only with something that counts them."""
    found = Survey(token_limit=tokenizer.limit if tokenizer else 0)
    per_image, words, tokens = Counter[int](), Counter[int](), Counter[int]()
    vocabulary, sizes, licenses = Counter[str](), Counter[tuple[int, int]](), Counter[str]()
    examples = _Draw()
    for split in SPLITS:
        domains, categories = Counter[str](), Counter[str]()
        images = captions = 0
        for rows in texts(folder, split, COLUMNS):
            for number, row in enumerate(rows if split == "train" else (), images):
                key = draw("example", row["id"])
                for name in ("", *row["domains"]):
                    examples.add(name, key, number, row["captions"][0], EXAMPLES if name else 2 * EXAMPLES)
            images += len(rows)
            spoken = [caption for row in rows for caption in row["captions"]]
            captions += len(spoken)
            per_image.update(len(row["captions"]) for row in rows)
            domains.update(name for row in rows for name in row["domains"])
            categories.update(name for row in rows for name in row["categories"])
            licenses.update(row["license"] for row in rows if row["license"])
            sizes.update((row["width"], row["height"]) for row in rows if row["width"] and row["height"])
            for caption in spoken:
                said = WORD.findall(caption.lower())  # not casefold: große is not grosse
                words[len(said)] += 1
                vocabulary.update(set(said))
            if tokenizer and spoken:
                tokens.update(tokenizer.count(spoken))
        found.images[split], found.captions[split] = images, captions
        found.domains[split], found.categories[split] = dict(sorted(domains.items())), dict(sorted(categories.items()))
    found.per_image, found.words, found.tokens = (dict(sorted(c.items())) for c in (per_image, words, tokens))
    found.distinct_words = len(vocabulary)
    telling = ((word, n) for word, n in vocabulary.items() if len(word) > 1 and word not in STOP_WORDS)
    found.frequent = [list(pair) for pair in sorted(telling, key=lambda pair: (-pair[1], pair[0]))[:FREQUENT]]
    found.sizes = [[*size, n] for size, n in sorted(sizes.items())]
    found.licenses = dict(sorted(licenses.items()))
    drawn = examples.drawn()
    found.examples = {name: [row for row, _ in chosen] for name, chosen in drawn.items()}
    found.captioned = dict(drawn.get("", [])[:CAPTIONED])
    return found
