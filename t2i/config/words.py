"""The words that keys of the configuration take: tasks, parts of a pipeline, formats, kinds of numbers."""

from enum import Enum


class Task(Enum):
    """What to do; each is one function in t2i/tasks."""

    pipeline = "pipeline"
    prepare = "prepare"
    embed = "embed"
    verify = "verify"
    train = "train"
    clip = "clip"
    generate = "generate"
    evaluate = "evaluate"
    compare = "compare"
    drift = "drift"
    curve = "curve"
    sweep = "sweep"
    report = "report"
    store = "store"
    doctor = "doctor"
    diff = "diff"
    bundle = "bundle"
    export = "export"
    rerun = "rerun"
    prompt = "prompt"
    serve = "serve"


class Part(Enum):
    """What task=pipeline is made of, in the order in which it is done."""

    data = "data"
    embed = "embed"
    verify = "verify"
    train = "train"
    compare = "compare"
    charts = "charts"
    sweep = "sweep"
    clip = "clip"


class Then(Enum):
    """How a pipeline goes on at a terminal."""

    prompt = "prompt"
    serve = "serve"


class Precision(Enum):
    """Arithmetic of the frozen networks and of autocast; trainable parameters are float32 always."""

    no = "no"
    fp16 = "fp16"
    bf16 = "bf16"


class Format(Enum):
    """How task=export writes weights."""

    diffusers = "diffusers"
    single_file = "single_file"
    kohya = "kohya"
    peft = "peft"
    weights = "weights"


class Dtype(Enum):
    """Numbers in the files that task=export writes."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
