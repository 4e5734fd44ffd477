"""`pfvit serve`: the page and the API on one address."""

from collections.abc import Sequence

import tyro
import uvicorn

from pfvit.config import Serve
from pfvit.service.app import create_app


def main(arguments: Sequence[str]) -> int:
    """Run `pfvit serve` until it is told to stop."""
    config = tyro.cli(Serve, prog="pfvit serve", args=arguments)
    uvicorn.run(create_app(config), host=config.host, port=config.port, log_level="warning", access_log=False)
    return 0
