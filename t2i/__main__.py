"""`t2i task=... dataset=... model=...`, or `python -m t2i`: what `python run.py` is in a working copy."""

import sys

from t2i import completing, interruption

if completing.asked(sys.argv[1:]):  # before anything is imported: a shell waits at every tab
    sys.exit()
if __name__ in ("__main__", "t2i.__main__"):  # as a program, or as the console command
    interruption.leave_early()

import hydra
from omegaconf import DictConfig

from t2i import config, launch

config.register()


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name="config")
def compose(cfg: DictConfig) -> None:
    """Hand the composed configuration over."""
    launch.start(cfg)


def main() -> None:
    """The console command."""
    sys.exit(launch.guard(compose))


if __name__ == "__main__":
    main()
