"""Strategies that teach a text encoder words: textual inversion (Gal et al. 2022), and pivotal tuning, then with LoRA."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError, UserError
from t2i.models.new_words import refusal
from t2i.training.lora import Lora
from t2i.training.strategies import Strategy, read_tensors, require_fit, validate_rate

if TYPE_CHECKING:
    from t2i.models.families.family import Family
    from t2i.models.parts import Models

EMBEDDING = "learned_embeds.safetensors"
"""As diffusers calls it; of a second word `learned_embeds_1.safetensors`, as its reader takes one word a file."""
MOST_VECTORS = 32


@dataclass
class Words(Strategy):
    """What strategies that teach words have in common."""

    placeholders: list[str] = field(default_factory=lambda: ["<subject>"])
    """The new words, as captions and prompts have them."""
    initializers: list[str] = field(default_factory=list)
    """What each begins as, such as [dog]: one for all, or one for each, of as many tokens as `vectors` or fewer; []: the mean of
    all."""
    vectors: int = 1
    """Tokens that each word has; more hold more, and follow prompts less."""

    def validate(self) -> None:
        super().validate()
        key = f"strategy.placeholders={self.placeholders}"
        if not self.placeholders or len(set(self.placeholders)) < len(self.placeholders):
            raise ConfigError(f"{key} is empty or repeats a word; use e.g. ['<subject>']")
        for word in self.placeholders:
            if not word or word.split() != [word]:
                raise ConfigError(f"{key} holds '{word}', which is no single word; use e.g. ['<subject>']")
            if word[0].isalnum() or word[-1].isalnum():  # a tokenizer finds it within other words, and so changes them
                raise ConfigError(
                    f"{key} holds '{word}', which would be read inside of longer words too, as cat is in catalogue; put it into "
                    f"brackets: ['<{word}>']"
                )
        if not all(word.strip() for word in self.initializers):
            raise ConfigError(
                f"strategy.initializers={self.initializers} holds an empty word; use e.g. [dog], or [] for the mean of all words"
            )
        if len(self.initializers) not in (0, 1, len(self.placeholders)):
            raise ConfigError(
                f"strategy.initializers={self.initializers} has {len(self.initializers)} words for {len(self.placeholders)} "
                "placeholders; give one for all, or one for each"
            )
        if not 1 <= self.vectors <= MOST_VECTORS:
            raise ConfigError(f"strategy.vectors={self.vectors} is not a number from 1 to {MOST_VECTORS}; use e.g. 2")

    def refuses(self, family: "Family") -> Optional[str]:
        if family.learns_words:
            return None
        read = ", ".join(family.networks[name] for name in family.encoders)
        return (
            f"strategy={self.kind} teaches words to CLIP's text encoders where plain pipelines know them; {family.title} reads "
            f"text with {read} and knows none; use strategy=lora"
        )

    def refuses_words(self, tokenizer: Any, model: str) -> Optional[str]:
        """Why a model of that tokenizer cannot be taught them, or not from where they are to begin; None where it can."""
        return refusal(tokenizer, model, self.placeholders, self.vectors, self.initializers)

    @property
    def trains_text(self) -> bool:
        return True

    def require_captions(self, captions: Iterable[str]) -> None:
        unseen = set(self.placeholders)
        for caption in captions:
            unseen -= {word for word in unseen if word in caption}
            if not unseen:
                return
        raise UserError(
            f"no training caption has {min(unseen)}, so nothing could be learned about it; type e.g. "
            f"dataset.caption='a photo of {min(unseen)}', or training.captions.prefix='{min(unseen)} '"
        )

    def require_read(self, models: "Models", captions: Iterable[str]) -> None:
        unseen = {
            name: {models.tokenizers[name].convert_tokens_to_ids(token) for word in self.placeholders for token in
                   models.words[word].split()}
            for name in (encoder.replace("text_encoder", "tokenizer") for encoder in models.family.encoders)
        }  # fmt: skip
        for caption in captions:
            found = models.family.tokens(models, [caption])
            for name, ids in unseen.items():
                ids -= set(found[name.replace("tokenizer", "ids")].flatten().tolist())
            if not any(unseen.values()):
                return
        raise ConfigError(
            f"strategy.vectors={self.vectors}: no training caption has all of them within the tokens that model={models.name} "
            "reads, so the last would learn nothing; type fewer, or shorten the captions"
        )

    def teach(self, models: "Models") -> None:
        """Add the words, and let their rows train."""
        from t2i.models import learned_words

        for name in models.family.encoders:
            if reason := self.refuses_words(models.tokenizers[name.replace("text_encoder", "tokenizer")], models.name):
                raise ConfigError(reason)
        initial = self.initializers or [""]
        for number, word in enumerate(self.placeholders):
            learned_words.begin(models, word, self.vectors, initial[number % len(initial)])
        learned_words.learn(models, self.placeholders)

    def scalars(self, models: "Models") -> int:
        """Of all words, from the architecture."""
        widths = [int(models.modules[name].config.hidden_size) for name in models.family.encoders]  # type: ignore[union-attr, arg-type]
        return len(self.placeholders) * self.vectors * sum(widths)

    def plain(self, models: "Models") -> None:
        from t2i.models import learned_words

        learned_words.settle(models)

    def save_words(self, models: "Models", folder: Path) -> None:
        """One file a word, as diffusers' `load_textual_inversion` reads it: the word with its vectors, float32 (vectors, width);
        of two text encoders `clip_l` and `clip_g`.
        """
        from safetensors.torch import save_file

        from t2i.models.adapters.words import BY_ENCODER, WORD
        from t2i.models.learned_words import vectors_of

        keys = {encoder: key for key, encoder in BY_ENCODER.items()}
        for number, (word, own) in enumerate(vectors_of(models, self.placeholders, self.vectors).items()):
            single = len(own) == 1
            tensors = {word if single else keys[name]: rows for name, rows in own.items()}
            save_file(tensors, embedding(folder, number), metadata=None if single else {WORD: word})

    def load_words(self, models: "Models", folder: Path) -> None:
        """Put words written by `save_words` into `models`; UserError where they do not fit."""
        from t2i.models.adapters import inversion
        from t2i.models.adapters.words import BY_ENCODER

        encoders = models.family.encoders
        keys = {encoder: key for key, encoder in BY_ENCODER.items()}
        for number, word in enumerate(self.placeholders):
            path = embedding(folder, number)
            tensors = read_tensors(path)
            names = {name: word if len(encoders) == 1 else keys[name] for name in encoders}
            wanted: dict[str, tuple[int, ...]] = {
                names[name]: (self.vectors, int(models.modules[name].config.hidden_size))  # type: ignore[union-attr, arg-type]
                for name in encoders
            }
            require_fit(path, models, wanted, {key: tuple(tensor.shape) for key, tensor in tensors.items()})
            vectors = {name: tensors[key] for name, key in names.items()}
            inversion.add(models, word, vectors, f"{path} teaches", "take the other weights away that teach it too")


def embedding(folder: Path, number: int) -> Path:
    """The file of a word."""
    return folder / (EMBEDDING if not number else EMBEDDING.replace(".", f"_{number}.", 1))


@dataclass
class TextualInversion(Words):
    """Only the rows of new words in the vocabulary of the text encoders."""

    kind: str = "textual_inversion"
    learning_rate: float = 5e-3

    def refuses_prior(self, base: bool) -> Optional[str]:
        return (
            "which changes nothing but its new words: whatever is said without them stays as it is, and a prior could only "
            "keep the words from being learned; use training.prior=null"
        )

    def modules(self, family: "Family") -> tuple[str, ...]:
        return family.encoders

    def chooses(self, name: str) -> bool:
        return name.endswith("token_embedding.learned")

    def attach(self, models: "Models") -> None:
        if reason := self.refuses(models.family):
            raise ConfigError(reason)
        self.teach(models)
        super().attach(models)

    def expected(self, models: "Models") -> int:
        return self.scalars(models)

    def save(self, models: "Models", folder: Path) -> None:
        self.save_words(models, folder)
        self.write_description(models, folder)

    def load(self, models: "Models", folder: Path) -> None:
        self.load_words(models, folder)
        models.freeze()


@dataclass
class Pivotal(Words, Lora):
    """New words first, then low-rank adapters on the denoiser around them (pivotal tuning, after Roich et al. 2021)."""

    kind: str = "pivotal"
    learning_rate: float = 1e-4
    word_learning_rate: float = 5e-3
    """Peak learning rate of the words; learning_rate is the adapters'."""
    word_share: float = 0.5
    """Share of the steps in which the words train, and nothing else; in the others the adapters do."""

    def validate(self) -> None:
        super().validate()
        validate_rate("word_learning_rate", self.word_learning_rate)
        if not 0 < self.word_share < 1:
            raise ConfigError(f"strategy.word_share={self.word_share} is not between 0 and 1; use e.g. 0.5")
        if self.text_targets or self.text_encoder_learning_rate is not None or not self.targets:
            raise ConfigError(
                "strategy=pivotal adapts the denoiser, and of the text encoder only the words train: leave "
                "strategy.text_targets=[] and strategy.text_encoder_learning_rate=null (strategy.word_learning_rate is theirs), "
                "and strategy.targets as e.g. [attention]"
            )

    def modules(self, family: "Family") -> tuple[str, ...]:
        return family.trained

    def rate(self, module: str) -> float:
        return self.word_learning_rate if module.startswith("text_encoder") else self.learning_rate

    def rests(self, name: str, step: int, total: int) -> bool:
        return name.endswith(".learned") != (step < self.word_steps(total))

    def word_steps(self, total: int) -> int:
        """Of a training of so many steps those that are the words'; one at least is left to the adapters."""
        return max(1, min(total - 1, round(self.word_share * total)))

    def adapters(self) -> Lora:
        """The part that is LoRA."""
        return Lora(**{own.name: getattr(self, own.name) for own in fields(Lora) if own.name != "kind"})

    def attach(self, models: "Models") -> None:
        if reason := self.refuses(models.family):
            raise ConfigError(reason)
        self.adapters().attach(models)
        self.teach(models)

    def expected(self, models: "Models") -> int:
        return self.scalars(models) + self.adapters().expected(models)

    def save(self, models: "Models", folder: Path) -> None:
        self.adapters().save(models, folder)
        self.save_words(models, folder)
        self.write_description(models, folder)

    def load(self, models: "Models", folder: Path) -> None:
        self.load_words(models, folder)
        self.adapters().load(models, folder)
        models.freeze()
