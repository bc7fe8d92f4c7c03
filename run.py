"""t2i: `python run.py task=... dataset=... model=...` (`python run.py --help` lists everything)."""

import sys

from t2i import completing, interruption

if __name__ == "__main__" and completing.asked(sys.argv[1:]):  # before anything is imported: a shell waits at every tab
    sys.exit()
if __name__ == "__main__":
    interruption.leave_early()

import hydra
from omegaconf import DictConfig

from t2i import config, launch

config.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def compose(cfg: DictConfig) -> None:
    """Hand the composed configuration over."""
    launch.start(cfg)


if __name__ == "__main__":
    sys.exit(launch.guard(compose))
