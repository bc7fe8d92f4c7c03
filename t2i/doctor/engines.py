"""What could compute pictures on this machine."""

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from t2i.config import Config
from t2i.context import Run
from t2i.doctor.findings import Finding, State
from t2i.processes import device_type
from t2i.sampling.engine import INSTALL, gain


def engines(config: Config, run: Run) -> Iterator[Finding]:
    """Whether OpenVINO is there, where it would be of use, and what it would bring."""
    if device_type() != "cpu":
        return
    if find_spec("openvino") is None:
        found = f"not installed; sampling.engine=openvino would be {gain()}"
        yield Finding("openvino", State.ok, found, f"if you draw on CPUs: {INSTALL}")
        return
    own = config.sampling.engine.value
    found = "asked for" if own == "openvino" else f"sampling.engine=openvino is {gain()}"
    yield Finding("openvino", State.ok, f"{metadata.version('openvino')}; {found}")
