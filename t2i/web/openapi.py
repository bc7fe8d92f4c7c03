"""What the endpoint takes and answers, as OpenAPI says it: the limits are those that the orders are read by."""

from typing import Any

from t2i.web.order import (
    GRAIN,
    HIGHEST_GUIDANCE,
    HIGHEST_SCALE,
    HIGHEST_SEED,
    LARGEST,
    LEAST_STRENGTH,
    LONGEST_PROMPT,
    MOST_COUNT,
    MOST_STEPS,
    SMALLEST,
    Offer,
)
from t2i.web.uploads import MOST

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "One sentence: what was found, and what is expected."}},
}
_PNG: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
_WAIT = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds after which to ask again."}}


def _refusal(meaning: str, **more: Any) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": _ERROR}}, **more}


PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A PNG with its recipe inside.", "content": _PNG},
    401: _refusal("User and password are needed."),
    404: _refusal("There is no such picture (any more)."),
    422: _refusal("The query cannot be understood."),
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A PNG with its recipe inside; of several pictures, one beside the other.",
        "content": _PNG,
        "headers": {
            "X-Pictures": {"schema": {"type": "string"}, "description": "The addresses of the single pictures."},
            "X-Seconds": {"schema": {"type": "number"}, "description": "How long the drawing took."},
        },
    },
    400: _refusal("The order cannot be drawn: no JSON object, an unknown key, a value outside of its range."),
    401: _refusal("User and password are needed."),
    403: _refusal("Another site asked on the reader's behalf."),
    408: _refusal("The body did not arrive in time."),
    413: _refusal("The body is too large."),
    415: _refusal("The body is not application/json."),
    429: _refusal("Too many requests from one address.", headers=_WAIT),
    500: _refusal("The picture could not be made."),
    503: _refusal("Too many requests wait, or the server is closing.", headers=_WAIT),
}


UPLOAD: dict[str, Any] = {
    "required": True,
    "content": {"image/*": {"schema": {"type": "string", "format": "binary", "maxLength": MOST}}},
}
UPLOADED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture is kept: its name, and its width and height in pixels.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["name", "width", "height"],
                    "properties": {
                        "name": {"type": "string"},
                        "width": {"type": "integer"},
                        "height": {"type": "integer"},
                    },
                }
            }
        },
    },
    **{code: ANSWERS[code] for code in (401, 403, 408, 413, 429, 503)},
    400: _refusal("The body is no picture that can be used."),
    415: _refusal("The body is not declared as image/*."),
}


def _further(offer: Offer) -> dict[str, dict[str, Any]]:
    """Weights of words, shares of adapters, and what a picture is drawn from."""
    default = offer.defaults
    return {
        "prompt_weights": {
            "type": "boolean",
            "default": default.prompt_weights,
            "description": "Whether words of the prompts may have weights: (word)1.3 or word++.",
        },
        "scales": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": HIGHEST_SCALE},
            "minItems": len(offer.adapters),
            "maxItems": len(offer.adapters),
            "default": list(default.scales),
            "description": f"How much is taken of each adapter: {', '.join(offer.adapters) or 'none is loaded'}.",
        },
        "image": {
            "type": "string",
            "maxLength": 80,
            "default": "",
            "description": "Name of a picture to begin from: one that POST /v1/pictures took, or one that was drawn.",
        },
        "mask": {
            "type": "string",
            "maxLength": 80,
            "default": "",
            "description": "Name of a picture whose white part says where image is drawn anew.",
        },
        "strength": {
            "type": "number",
            "minimum": LEAST_STRENGTH,
            "maximum": 1,
            "default": default.strength,
            "description": "How much of image is drawn anew: the share of the steps that are taken.",
        },
    }


def body_of(offer: Offer) -> dict[str, Any]:
    """The order as a JSON schema, with what is taken where a key is left out."""
    default = offer.defaults
    side = {"type": "integer", "minimum": SMALLEST, "maximum": LARGEST, "multipleOf": GRAIN}
    properties: dict[str, dict[str, Any]] = {
        "prompt": {"type": "string", "minLength": 1, "maxLength": LONGEST_PROMPT},
        "negative_prompt": {"type": "string", "maxLength": LONGEST_PROMPT, "default": default.negative_prompt},
        "scheduler": {"type": "string", "enum": list(offer.schedulers), "default": default.scheduler},
        "steps": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_STEPS,
            "description": "Left out: the number that suits the scheduler.",
        },
        "guidance": {
            "type": "number",
            "minimum": 0,
            "maximum": HIGHEST_GUIDANCE,
            "description": "Left out: the scale that suits the scheduler.",
        },
        "width": {**side, "default": default.width},
        "height": {**side, "default": default.height},
        "size": {**side, "description": "Width and height at once."},
        "seed": {"type": "integer", "minimum": 0, "maximum": HIGHEST_SEED, "default": default.seed},
        "count": {"type": "integer", "minimum": 1, "maximum": MOST_COUNT, "default": default.count},
        **_further(offer),
        "model": {"type": "string", "enum": list(offer.models), "default": default.model},
    }
    schema = {"type": "object", "required": ["prompt"], "additionalProperties": False, "properties": properties}
    return {"required": True, "content": {"application/json": {"schema": schema}}}
