"""The configuration of a run. What the rest of the project imports of it is named here; the rooms import each other."""

from t2i.config.composing import compose, composed, restore, searched, strategy_from, typed
from t2i.config.fitting import refuse_family, refuse_format
from t2i.config.options import SCHEMAS, help_text, register, register_resolvers
from t2i.config.schema import CONF, SWEEPS, Config, Launch
from t2i.config.spelling import as_dict, as_override, spelt
from t2i.config.words import Dtype, Format, Part, Precision, Task, Then

__all__ = [
    "CONF",
    "SCHEMAS",
    "SWEEPS",
    "Config",
    "Dtype",
    "Format",
    "Launch",
    "Part",
    "Precision",
    "Task",
    "Then",
    "as_dict",
    "as_override",
    "compose",
    "composed",
    "help_text",
    "refuse_family",
    "refuse_format",
    "register",
    "register_resolvers",
    "restore",
    "searched",
    "spelt",
    "strategy_from",
    "typed",
]
