"""Progress bars."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        """Return it as text."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


def progress_bar(console: Console, hidden: bool) -> Progress:
    """Return a bar that tells how many are done, how fast, and the time left."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True, disable=hidden)
