"""MLflow's page as a person opens it: runs are there and told apart, their pictures are seen, and two are compared."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from t2i import tracking
from t2i.tracking import Input, MLflowTracker, Tracking

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT = 90_000
NAMES = ("lora r4 on scenes, 150 steps", "attn2_to_v on scenes, 150 steps")
SEEN = (
    """() => [...document.images].filter(image => /artifact/.test(image.src) && image.naturalWidth > 0).length >= %d"""
)


@dataclass(frozen=True)
class Dashboard:
    """A served database with two runs."""

    url: str
    links: list[str]
    runs: list[str]
    experiment: str


def record(config: Tracking) -> Dashboard:
    """Two trainings with a curve, a number, and a row of validation pictures at three steps."""
    trackers = []
    for number, name in enumerate(NAMES):
        tracker = tracking.start(config, name, tags={"mlflow.source.name": "python run.py"})
        assert isinstance(tracker, MLflowTracker)
        tracker.params({"changed.strategy.rank": 4 + number, "seed": 0})
        tracker.metrics({"fid[tiny_clip]": 20.0 + number})
        for step in (0, 100, 150):
            tracker.metrics({"train/loss": 1 / (1 + step)}, step)
            tracker.image(np.full((64, 256, 3), 60 * number + step, np.uint8), "validation", step)
        tracker.inputs([Input("scenes prepared", "0" * 32, "/store/prepared", "training")])
        tracker.close("FINISHED")
        trackers.append(tracker)
    links = [tracker.link.rpartition("/#/")[2] for tracker in trackers if tracker.link]
    return Dashboard("", links, [str(tracker.run_id) for tracker in trackers], trackers[0]._experiment)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    root = tmp_path_factory.mktemp("dashboard")
    config = Tracking(uri=f"sqlite:///{root}/mlflow.db", artifacts=str(root / "artifacts"))
    found = record(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(root / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", config.uri, "--port", str(port), "--workers", "1"],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, (root / "log").read_text()
                time.sleep(0.5)
        yield Dashboard(url, found.links, found.runs, found.experiment)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture
def page(browser: "Browser", dashboard: Dashboard) -> "Iterator[Page]":
    page = browser.new_context(viewport={"width": 1500, "height": 1400}).new_page()
    page.set_default_timeout(WAIT)
    yield page
    page.context.close()


def test_the_experiment_lists_its_runs_by_what_they_did(page: "Page", dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.url}/#/experiments/{dashboard.experiment}?{tracking.WORKFLOW}")
    for name in NAMES:
        page.get_by_text(name).first.wait_for()
    assert "/runs" in page.url


def test_the_link_of_a_run_shows_its_pictures(page: "Page", dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.url}/#/{dashboard.links[0]}")
    page.get_by_text(NAMES[0]).first.wait_for()
    page.get_by_text("Model metrics").first.click()
    page.wait_for_function(SEEN % 1)


def test_the_pictures_of_two_runs_stand_beside_each_other(page: "Page", dashboard: Dashboard) -> None:
    place = f"experiments/{dashboard.experiment}/runs?compareRunsMode=CHART&{tracking.WORKFLOW}"
    page.goto(f"{dashboard.url}/#/{place}")
    page.wait_for_function(SEEN % 2)


def test_two_runs_are_compared_by_what_differs(page: "Page", dashboard: Dashboard) -> None:
    runs, experiment = str(dashboard.runs).replace("'", '"'), dashboard.experiment
    page.goto(f'{dashboard.url}/#/compare-runs?runs={runs}&experiments=["{experiment}"]')
    page.get_by_text("Comparing 2 Runs").first.wait_for()
    page.get_by_text("changed.strategy.rank").first.wait_for()
    for name in NAMES:
        page.get_by_text(name).first.wait_for()
    assert page.get_by_text("fid.tiny_clip").count() > 0
