"""Settings that take any number of words. Left out they are empty, of which tyro's help would say "(default: )"."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

ANY_NUMBER = arg(help_behavior_hint=lambda default: f"(default: {default})" if default else "")

Words = Annotated[tuple[str, ...], ANY_NUMBER]
Paths = Annotated[tuple[Path, ...], ANY_NUMBER]
