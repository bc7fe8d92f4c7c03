"""Where the project, its configuration and its outputs are, and what is typed."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent
CHECKOUT = (PROJECT / "run.py").is_file() and (PROJECT / "conf").is_dir()
"""Whether this is a working copy of the project, or a package that was installed from a wheel."""
CONFIGURATION = PROJECT if CHECKOUT else PACKAGE / "installed"
"""Where conf/, sweeps/ and constraints.txt are: a wheel carries them inside the package (tools/wheel.py)."""
HOME = PROJECT if CHECKOUT else Path.cwd()
"""Where outputs/ and mlruns/ are: beside a working copy's code; of an installed package, in the working folder."""
COMMAND = "python run.py" if CHECKOUT else "t2i"
"""What is typed."""
