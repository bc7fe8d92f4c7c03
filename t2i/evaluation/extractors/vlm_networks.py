"""The vision-language models that can be asked: Qwen3-VL, which chats, and BLIP-VQA, which answers in a word."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL.Image import Image
from safetensors import SafetensorError
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BlipForQuestionAnswering,
    BlipProcessor,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from t2i.errors import UserError

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

INSTRUCTION = "Please answer yes or no."


class ImagesOnly(Qwen3VLProcessor):  # type: ignore[misc]
    """transformers' own processor without its part for videos, which needs torchvision to exist."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """Nothing is refused: the part for videos is None."""
        return type(argument)


class Chat:
    """Qwen3-VL (Qwen team 2025, arXiv:2511.21631): the question is a user's turn, the answer the next word."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._device = device
        self._model: Any = _strict(Qwen3VLForConditionalGeneration, folder).to(device)
        tokenizer = _part(AutoTokenizer, folder)
        tokenizer.padding_side = "left"  # the next word follows the last token of every row
        template = tokenizer.chat_template or _template(folder)
        if not template:
            raise UserError(
                f"{folder} has no template of a chat: expected chat_template.jinja, or chat_template in tokenizer_config.json; "
                "copy it again from its source"
            )
        self._processor = ImagesOnly(_part(AutoImageProcessor, folder), tokenizer, None, chat_template=template)

    def first_word(self, images: list[Image], questions: Sequence[str]) -> torch.Tensor:
        """n pictures and questions -> log probabilities (n, words)."""
        turns = [
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": f"{question} {INSTRUCTION}"}]}]
            for question in questions
        ]
        texts = [
            self._processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns
        ]
        inputs = self._processor(text=texts, images=images, padding=True, return_tensors="pt").to(self._device)
        logits = self._model(**inputs, logits_to_keep=1, use_cache=False).logits
        return logits[:, -1].float().log_softmax(-1)

    def words(self, spellings: Sequence[str]) -> list[int]:
        """Words of the vocabulary with these spellings."""
        return _words(self._processor.tokenizer, spellings)


class Blip:
    """BLIP for questions (Li et al. 2022, arXiv:2201.12086): a decoder reads the encoded question and begins the answer.

    Its parts are called one by one: the model's own `forward` gives no logits, and its `generate` lets the decoder read padding,
    so that an answer would depend on the longest question of the batch. A mask for it is not heard (transformers 5.23), so
    questions go to the encoder and the decoder with those of their own length.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._device = device
        self._model: Any = _strict(BlipForQuestionAnswering, folder).to(device)
        self._processor = _part(BlipProcessor, folder)
        text = self._model.config.text_config
        self._start = int(text.bos_token_id)
        self._most = min(int(self._processor.tokenizer.model_max_length), int(text.max_position_embeddings))

    def first_word(self, images: list[Image], questions: Sequence[str]) -> torch.Tensor:
        """n pictures and questions -> log probabilities (n, words); a question beyond the encoder's length is cut."""
        pixels = self._processor.image_processor(images, return_tensors="pt").pixel_values.to(self._device)
        tokens = self._processor.tokenizer(
            list(questions), padding=True, truncation=True, max_length=self._most, return_tensors="pt"
        ).to(self._device)
        seen = self._model.vision_model(pixel_values=pixels).last_hidden_state
        lengths = tokens.attention_mask.sum(1)
        found: list[Any] = [None] * len(images)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            for row, own in zip(
                rows.tolist(), self._answered(seen[rows], tokens.input_ids[rows, :length]), strict=True
            ):
                found[row] = own
        return torch.stack(found)

    def _answered(self, seen: torch.Tensor, question: torch.Tensor) -> torch.Tensor:
        """States of n pictures and n questions of one length -> log probabilities (n, words)."""
        patches = torch.ones(seen.shape[:2], dtype=torch.long, device=self._device)
        asked = self._model.text_encoder(
            input_ids=question, encoder_hidden_states=seen, encoder_attention_mask=patches
        ).last_hidden_state
        begun = torch.full((len(seen), 1), self._start, device=self._device)
        logits = self._model.text_decoder(input_ids=begun, encoder_hidden_states=asked).logits
        return logits[:, -1].float().log_softmax(-1)

    def words(self, spellings: Sequence[str]) -> list[int]:
        """Words of the vocabulary with these spellings."""
        return _words(self._processor.tokenizer, spellings)


NETWORKS: dict[str, Callable[[Path, torch.device], Chat | Blip]] = {"qwen3_vl": Chat, "blip": Blip}
"""By `model_type` of config.json."""


def load(folder: Path, device: torch.device) -> Chat | Blip:
    """The model in a folder, float32, frozen, on `device`; UserError where it is of no family of NETWORKS."""
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind not in NETWORKS:
        raise UserError(
            f"{folder} holds a model of type {kind!r}; expected one of {', '.join(NETWORKS)}: type "
            "eval.vlm=Qwen/Qwen3-VL-2B-Instruct, or eval.vlm=Salesforce/blip-vqa-base, which is small"
        )
    return NETWORKS[kind](folder, device)


def _strict(kind: Any, folder: Path) -> Any:
    """The network with every tensor from the file."""
    try:
        model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"the vision-language model in {folder} cannot be loaded ({str(error).splitlines()[0]}): expected weights that fit "
            "its config.json; copy it again from its source"
        ) from error
    if absent := sorted(report["missing_keys"]):
        raise UserError(
            f"{folder} lacks {len(absent)} of the tensors of {kind.__name__}, {absent[0]} among them: expected weights saved "
            f"from {kind.__name__}"
        )
    return model.eval().requires_grad_(False)


def _part(kind: Any, folder: Path) -> Any:
    """Tokenizer or processor of pictures."""
    try:
        return kind.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder} has no tokenizer or no settings of its pictures ({' '.join(str(error).split())[:120]}): expected "
            "tokenizer.json, tokenizer_config.json and preprocessor_config.json; copy them from its source"
        ) from error


def _template(folder: Path) -> str | None:
    """Of a folder that keeps it in `chat_template.json`, as those of 2025 do."""
    path = folder / "chat_template.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["chat_template"]) if path.is_file() else None


def _words(tokenizer: Any, spellings: Sequence[str]) -> list[int]:
    found = [tokenizer.encode(spelling, add_special_tokens=False) for spelling in spellings]
    return sorted({ids[0] for ids in found if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})
