"""Several processes: the same data in the same order as one, started by t2i or by `accelerate launch`; and multirun."""

import csv
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from .conftest import PROJECT, SCENES, TOY, Ended, Lab

TRAIN = [*SCENES, *TOY, "task=train", "training.export_pipeline=false"]
ACCELERATE = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)
"""As a user types `accelerate launch` on a machine without GPUs (there it also takes ACCELERATE_USE_CPU=true)."""


def train_log(ended: Ended) -> list[dict[str, str]]:
    with open(ended.folder / "train_log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(params=["launch.processes=2", "accelerate launch"])
def two_processes(request: pytest.FixtureRequest, lab: Lab, main_job: Ended, tmp_path: Any) -> Ended:
    other = lab.sharing(tmp_path / "lab", without="training")
    if request.param == "accelerate launch":
        return other.away(*TRAIN, track=True, launcher=ACCELERATE, ACCELERATE_USE_CPU="true")
    return other.away(*TRAIN, request.param, track=True)


def test_two_processes_train_as_one(main_job: Ended, two_processes: Ended) -> None:
    assert two_processes.status == 0, two_processes.err
    assert two_processes.json("environment.json")["processes"] == 2
    one, two = train_log(main_job), train_log(two_processes)
    assert [row["samples"] for row in two] == [row["samples"] for row in one]
    losses = [[float(row["loss"]) for row in rows] for rows in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert two_processes.metrics["held_out_loss"] == pytest.approx(main_job.metrics["train/held_out_loss"], rel=1e-4)
    # One run, recorded once, by the main process.
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{two_processes.folder.parent.parent}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("t2i").experiment_id])
    assert run.data.metrics["held_out_loss"] == two_processes.metrics["held_out_loss"]


TIGHT = """
import os, runpy, sys
import torch
from t2i.training import objective

original = objective.Denoiser.forward

def forward(self, latents, *rest):
    if os.environ["RANK"] == "1" and self.training and len(latents) > 1:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return original(self, latents, *rest)

objective.Denoiser.forward = forward
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_too_little_memory_in_one_process_does_not_hang_the_others(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    """Its forward pass is repeated in halves, and may not talk to processes that do not repeat theirs."""
    other = lab.sharing(tmp_path / "lab", without="training")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    group["PYTHONPATH"] = str(PROJECT)  # for what comes before run.py
    arguments = [*TRAIN, "strategy=text_encoder", "training.validation_images=0"]
    processes = [
        other.start(*arguments, launcher=("-c", TIGHT), **group, RANK=rank, LOCAL_RANK=rank) for rank in ("0", "1")
    ]
    ended = [other.end(process, set()) for process in processes]
    assert [each.status for each in ended] == [0, 0], [each.err for each in ended]
    roomy = lab.sharing(tmp_path / "roomy", without="training").here(*arguments)
    losses = [[float(row["loss"]) for row in train_log(each)] for each in (ended[0], roomy)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_mistake_in_several_processes_is_one_sentence(empty_lab: Lab) -> None:
    data = ["dataset=folder", f"dataset.root={empty_lab.root}", "launch.processes=2"]
    ended = empty_lab.away("task=prepare", *data)
    assert ended.status == 1
    assert [line for line in ended.err.splitlines() if line.startswith("t2i: ")] == [ended.err.splitlines()[-1]]
    assert "expected images with metadata.jsonl" in ended.err


def test_multirun_inside_accelerate_launch_is_refused(empty_lab: Lab) -> None:
    arguments = ["-m", "task=prepare", "seed=1,2"]
    ended = empty_lab.away(*arguments, launcher=ACCELERATE, ACCELERATE_USE_CPU="true")
    assert ended.status != 0
    sentences = [line for line in ended.err.splitlines() if line.startswith("t2i: ")]
    assert sentences and "--multirun inside `accelerate launch` is refused" in sentences[0]
    assert "launch.processes=" in sentences[0]
    assert ended.folders == []


def test_a_mistake_that_only_another_process_finds_is_told_by_it(empty_lab: Lab) -> None:
    ended = empty_lab.away("-m", "task=prepare", RANK="1", WORLD_SIZE="2")
    assert ended.status == 2
    assert "--multirun inside `accelerate launch` is refused" in ended.err.splitlines()[-1]


def test_a_multirun_is_a_grid_of_runs_with_one_parent(lab: Lab, main_job: Ended) -> None:
    grid = ["-m", "task=evaluate", "scheduler=ddim,euler", "cfg.scale=5,7.5"]
    ended = lab.here(*grid, *SCENES, *TOY, "track.experiment=multirun", track=True)
    assert ended.status == 0, ended.err
    assert len(ended.folders) == 4
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=lab.uri)
    experiment = client.get_experiment_by_name("multirun").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    cells = {(run.data.params["scheduler.name"], run.data.params["cfg.scale"]) for run in children}
    assert cells == {("ddim", "5.0"), ("ddim", "7.5"), ("euler", "5.0"), ("euler", "7.5")}
    assert {run.data.tags["run_folder"] for run in children} == set(map(str, ended.folders))
    assert all("fid.tiny_clip" in run.data.metrics and run.info.status == "FINISHED" for run in children)
    assert parent.info.status == "FINISHED" and parent.info.end_time >= max(run.info.end_time for run in children)
    said = ended.out.splitlines()
    assert [line for line in said if line.startswith("run ") and "scheduler=" in line] == [
        f"run {n}: scheduler={name} cfg.scale={scale}"
        for n, (name, scale) in enumerate(
            ((name, scale) for name in ("ddim", "euler") for scale in ("5", "7.5")), start=1
        )
    ]
    assert said[-5].split()[:4] == ["run", "scheduler", "guidance", "scale"] and "FID (tiny_clip)" in said[-5]
    assert [line.split()[:3] for line in said[-4:]] == [
        ["1", "ddim", "5"], ["2", "ddim", "7.5"], ["3", "euler", "5"], ["4", "euler", "7.5"],
    ]  # fmt: skip


def test_in_a_multirun_a_failed_run_is_told_and_the_others_go_on(empty_lab: Lab) -> None:
    ended = empty_lab.here("-m", "task=prepare", "dataset.val=1", "dataset.train=0,2", track=True)
    assert ended.status == 2
    from mlflow import MlflowClient

    runs = MlflowClient(tracking_uri=empty_lab.uri).search_runs(["1"])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FAILED", "one of its runs failed"
    assert [line for line in ended.err.splitlines() if "dataset.train=0" in line] == [ended.err.strip()]
    finished = [folder for folder in ended.folders if (folder / "metrics.json").exists()]
    assert len(finished) == 1


def test_two_processes_then_one_after_a_stop_train_as_one(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    long = [*TRAIN, "training.steps=12", "training.validation_images=0"]
    other = lab.sharing(tmp_path / "lab", without="training")
    process = other.start(*long, "launch.processes=2")
    logs = other.root / "store" / "training"
    end = time.monotonic() + 120
    while not any(len(path.read_text().splitlines()) > 3 for path in logs.glob(".*.partial/train_log.csv")):
        assert time.monotonic() < end and process.poll() is None, "the training did not start"
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert other.end(process, set()).status == 143
    (checkpoint,) = logs.glob(".*.partial/checkpoints/step_*")
    assert 0 < int(checkpoint.name[-8:]) < 12
    resumed, straight = other.here(*long), lab.here(*long)
    assert f"resumed from the checkpoint of step {int(checkpoint.name[-8:])}" in resumed.out
    one, two = train_log(straight), train_log(resumed)
    assert [row["samples"] for row in two] == [row["samples"] for row in one] and len(two) == 12
    assert [float(row["loss"]) for row in two] == pytest.approx([float(row["loss"]) for row in one], rel=1e-5)


@pytest.mark.parametrize("path", sorted((PROJECT / "conf" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_its_configurations_as_written(path: Path) -> None:
    import yaml
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    written = yaml.safe_load(path.read_text())
    config = load_config_from_file(str(path))
    assert {key: getattr(config, key) for key in written} == written | {"distributed_type": config.distributed_type}
    assert config.distributed_type.value == "MULTI_GPU"
    parsed = launch_command_parser().parse_args(["--config_file", str(path), "run.py", "task=train"])
    arguments, _, _ = _validate_launch_command(parsed)
    assert (arguments.num_processes, arguments.multi_gpu) == (written["num_processes"], True)
    assert arguments.mixed_precision == "fp16"


def test_a_training_in_shards_leaves_what_one_process_leaves(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    """Weights, pipeline, log and validation pictures; of three pictures, drawn one at a time, one process draws two."""
    typed = [
        *SCENES,
        *TOY,
        "task=train",
        "strategy=unet",
        "training.validation_images=3",
        "training.ema=0.9",
        "batch_size=1",
    ]
    whole, shards = (lab.sharing(tmp_path / name, without="training") for name in ("whole", "shards"))
    one = whole.here(*typed)
    two = shards.away(*typed, "launch.processes=2", "launch.shard=true")
    assert two.status == 0, two.err
    assert one.json("stages.json").keys() == two.json("stages.json").keys(), "the same addresses"
    for name in ("loss", "gradient_norm"):
        wanted = [float(row[name]) for row in train_log(one)]
        assert [float(row[name]) for row in train_log(two)] == pytest.approx(wanted, rel=1e-4)
    assert [row["samples"] for row in train_log(two)] == [row["samples"] for row in train_log(one)]
    assert two.metrics["held_out_loss"] == pytest.approx(one.metrics["held_out_loss"], rel=1e-4)
    assert two.metrics["reload_max_difference"] == 0.0
    files = [
        {
            str(path.relative_to(ended.folder))
            for kind in ("weights", "pipeline")
            for path in (ended.folder / kind).rglob("*")
        }
        for ended in (one, two)
    ]
    assert files[0] == files[1]
    drawn = [sorted(path.name for path in (ended.folder / "validation").rglob("*.png")) for ended in (one, two)]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 6, "before and after"


@pytest.mark.parametrize("variable", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_a_model_spread_over_processes_is_refused(
    empty_lab: Lab, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "true")
    ended = empty_lab.here("task=train")
    assert ended.status == 2 and "launch.shard=true" in ended.err and ended.folders == []


def test_a_multirun_leaves_this_process_through_submitit(lab: Lab, main_job: Ended) -> None:
    """As on a Slurm cluster (`hydra/launcher=submitit_slurm`), with submitit's own executor for one machine."""
    pytest.importorskip("submitit")  # of the extra `slurm`, which the tests install
    arguments = [
        "-m",
        "hydra/launcher=submitit_local",
        "hydra.launcher.timeout_min=5",
        "hydra.launcher.cpus_per_task=1",
    ]
    ended = lab.away(*arguments, *SCENES, *TOY, "task=prepare", "seed=3,4")
    assert ended.status == 0, ended.err + ended.out
    finished = [folder for folder in ended.folders if (folder / "metrics.json").exists()]
    assert len(finished) == 2
    seeds = {OmegaConf.load(folder / "config.yaml")["seed"] for folder in finished}
    assert seeds == {3, 4}


@pytest.mark.slow
def test_a_multirun_leaves_this_process_through_ray(empty_lab: Lab) -> None:
    """On a Ray cluster of this machine's own, as on a real one (`hydra/launcher=ray`)."""
    pytest.importorskip("ray")  # pip install 't2i[ray]'
    empty_lab.root.mkdir(exist_ok=True)
    arguments = ["-m", "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"]
    ended = empty_lab.away(*arguments, *SCENES, "task=prepare", "seed=3,4", RAY_USAGE_STATS_ENABLED="0")
    assert ended.status == 0, ended.err + ended.out
    finished = [folder for folder in ended.folders if (folder / "metrics.json").exists()]
    assert {OmegaConf.load(folder / "config.yaml")["seed"] for folder in finished} == {3, 4}
