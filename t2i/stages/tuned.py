"""Tuned weights: what `weights=` names - runs, and adapters of any tool, several at once with scales - and its digest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, refuse_family, strategy_from
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.evaluation.config import BUNDLED
from t2i.models import source
from t2i.models.adapters.kinds import LORA, NETWORKS, Found, Kind, identify
from t2i.models.clip_files import locate, weights_digest
from t2i.models.config import Model
from t2i.models.families.family import Family
from t2i.stages.copies import identifying, require_whole
from t2i.store import digest_of
from t2i.training.inversion import Pivotal, Words
from t2i.training.lora import Lora
from t2i.training.strategies import describe

if TYPE_CHECKING:
    from t2i.models.parts import Models


@dataclass(frozen=True)
class Piece:
    """One of several things that are put on a model together."""

    found: Found
    digest: str
    scale: float = 1.0
    """Of an adapter's change."""


@dataclass(frozen=True)
class Tuned:
    """Tuned weights and what identifies their bytes."""

    folder: Path
    """With a run's weights; of several things, where the first is."""
    digest: str
    pieces: tuple[Piece, ...] = ()
    """Empty for the weights of one run as they are."""

    @property
    def origin(self) -> dict[str, Any]:
        """How a picture's recipe names them: `path`, for several with `scale`, and `digest`."""
        if not self.pieces:
            return {"path": str(self.folder), "digest": self.digest}
        paths, scales = [str(piece.found.path) for piece in self.pieces], [piece.scale for piece in self.pieces]
        return {"path": paths, "scale": scales, "digest": self.digest}

    @property
    def adapters(self) -> dict[int, Piece]:
        """Those pieces of which a share can be taken, by their place."""
        return {number: piece for number, piece in enumerate(self.pieces) if _scales(piece.found)}

    def scaled(self, scales: Sequence[float]) -> "Tuned":
        """The same with other shares of its adapters, in their order."""
        shares = dict(zip(self.adapters, scales, strict=True))
        return _together([replace(piece, scale=shares.get(n, piece.scale)) for n, piece in enumerate(self.pieces)])


def find_tuned(config: Config, run: Run) -> Optional[Tuned]:
    """What `weights=` names; None for the base model.

    Raises ConfigError, from headers alone, for what cannot be read or is made for another family of models.
    """
    names = config.weights_given
    if not names:
        return None
    pieces = []
    for name, scale in zip(names, config.weights_scale or [1.0] * len(names), strict=True):
        found = identify(Path(name).expanduser())
        if found.kind is Kind.run:
            require_whole(found.path, run.store)
            _refuse_own_judge(config, found.path)
        else:
            refuse_family(config.model, found)
        pieces.append(Piece(found, _digest(found, run), scale))
    _refuse_scales(pieces)
    _refuse_twice(pieces, config.model)
    return _together(pieces)


def _together(pieces: Sequence[Piece]) -> Tuned:
    if len(pieces) == 1 and pieces[0].found.kind is Kind.run and pieces[0].scale == 1:
        return Tuned(pieces[0].found.path, pieces[0].digest)
    return _of_pieces(pieces)


def _of_pieces(pieces: Sequence[Piece]) -> Tuned:
    digest = digest_of([[piece.digest, piece.scale] for piece in pieces])[:32]
    return Tuned(pieces[0].found.path, digest, tuple(pieces))


def in_pieces(tuned: Tuned) -> Tuned:
    """The weights of one run as its one piece, where that is an adapter: so that other shares of it can be taken."""
    if tuned.pieces:
        return tuned
    piece = Piece(identify(tuned.folder), tuned.digest)
    return _of_pieces([piece]) if _scales(piece.found) else tuned


def _digest(found: Found, run: Run) -> str:
    if found.kind is Kind.run:
        return tuned_digest(found.path, run)
    facts: dict[str, Any] = {"kind": found.kind.value, "files": run.store.file_digests(list(found.files))}
    if found.kind is Kind.inversion:
        facts["words"] = words_in(found)
    return digest_of(facts)[:32]


def tuned_digest(folder: Path, run: Run) -> str:
    """What identifies tuned weights: the bytes of their files."""
    files = identifying(folder)
    return digest_of(dict(zip([path.name for path in files], run.store.file_digests(files), strict=True)))[:32]


def _refuse_own_judge(config: Config, folder: Path) -> None:
    """ConfigError when the CLIP whose text tower generates is also the one that scores: it would flatter itself."""
    if config.eval.clip == BUNDLED or not (folder / "preprocessor_config.json").exists():
        return
    if weights_digest(folder) == weights_digest(locate(config.eval.clip)):
        raise ConfigError(
            f"eval.clip={config.eval.clip} is the CLIP whose text tower is in weights={folder}: it would score its "
            "own work; use another one"
        )


def _scales(found: Found) -> bool:
    """Whether a part of it can be taken: an adapter is a difference, everything else a replacement."""
    return found.kind is Kind.low_rank or (
        found.kind is Kind.run and describe(found.path)["strategy"]["kind"] in (Lora.kind, Pivotal.kind)
    )


def words_in(found: Found) -> list[str]:
    """The words that it teaches."""
    if found.kind is Kind.run:
        return list(describe(found.path)["strategy"].get("placeholders", []))
    if found.kind is Kind.inversion:
        from t2i.models.adapters.words import words_of

        return words_of(found)
    return []


def taught(config: Config) -> list[str]:
    """The words that `weights=` teach."""
    return [word for name in config.weights_given for word in words_in(identify(Path(name).expanduser()))]


def _refuse_scales(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if piece.scale != 1 and not _scales(piece.found):
            raise ConfigError(
                f"weights_scale={piece.scale:g} has no meaning for {piece.found.path} ({piece.found.spoken}): only the "
                "difference that an adapter makes can be scaled; use 1 there"
            )


def _replaces(found: Found, family: Family) -> set[str]:
    """The networks that it puts others in the place of."""
    if found.kind in NETWORKS:
        return {found.kind.name}
    if found.kind is not Kind.run or _scales(found) or words_in(found):
        return set()
    kind = describe(found.path)["strategy"]["kind"]
    return {"text_encoder"} if kind == "clip" else set(strategy_from(describe(found.path)["strategy"]).modules(family))


def _refuse_twice(pieces: Sequence[Piece], model: Model) -> None:
    if len(pieces) < 2:
        return
    family, places, taught = source.family(model), dict[str, Path](), dict[str, Path]()
    for piece in pieces:
        for network in _replaces(piece.found, family):
            if network in places:
                raise ConfigError(
                    f"weights= names {places[network]} and {piece.found.path}, and both put weights of their own into the "
                    f"{network}; give one of them (adapters can be added to it)"
                )
            places[network] = piece.found.path
        for word in words_in(piece.found):
            if word in taught:
                raise ConfigError(
                    f"weights= names {taught[word]} and {piece.found.path}, and both teach {word}; give one of them"
                )
            taught[word] = piece.found.path


def apply_tuned(models: "Models", tuned: Tuned) -> None:
    """Put tuned weights on a base model; UserError when they were trained from another one, or do not fit."""
    from t2i.models.adapters.bring import bring

    if not tuned.pieces:
        _apply_run(models, tuned.folder)
    # What replaces a network comes first, then what changes it, then words for its vocabulary.
    order = sorted(
        enumerate(tuned.pieces), key=lambda entry: (not _replaces(entry[1].found, models.family), _is_word(entry[1]))
    )
    for number, piece in order:
        if piece.found.kind is not Kind.run:
            bring(models, piece.found, f"adapter{number}", piece.scale)
        elif not _scales(piece.found):
            _apply_run(models, piece.found.path)
        else:
            require_base(models, piece.found.path)
            path = piece.found.path / LORA
            bring(
                models,
                replace(piece.found, kind=Kind.low_rank, path=path, files=(path,)),
                f"adapter{number}",
                piece.scale,
            )
            strategy = strategy_from(describe(piece.found.path)["strategy"])
            if isinstance(strategy, Words):
                strategy.load_words(models, piece.found.path)
            models.scheduler_config = describe(piece.found.path).get("scheduler", models.scheduler_config)
    models.tuned = tuned.digest


def _is_word(piece: Piece) -> bool:
    return bool(words_in(piece.found))


def _apply_run(models: "Models", folder: Path) -> None:
    from t2i.models import text_tower

    description = describe(folder)
    if description["strategy"]["kind"] == text_tower.KIND:
        text_tower.place(models, folder)
        return
    require_base(models, folder)
    strategy_from(description["strategy"]).load(models, folder)
    # Training may have changed the noise schedule; weights of version 0.1.0 do not say.
    models.scheduler_config = description.get("scheduler", models.scheduler_config)


def require_base(models: "Models", folder: Path) -> None:
    """UserError when the weights in `folder` were trained from another model."""
    description = describe(folder)
    if description["base_digest"] != models.digest:
        raise UserError(
            f"{folder} was trained from model={description['model']} with digest {description['base_digest']}, "
            f"and model={models.name} has {models.digest}; use the model that it was trained from"
        )
