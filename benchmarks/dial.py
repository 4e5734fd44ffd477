"""How long the page's dial takes: from a move of the hand to the changed face on the screen, in a real browser.

`python benchmarks/dial.py PHOTO...` starts the service, opens the page in Chromium, and for each photo turns the dial
of its largest face to places it has not been before. The browser and the service share this machine's cores.
"""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

TURNS = 60
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
#: Turn to each place and wait until it is shown (milliseconds); then drag for two seconds (pictures per second).
TURN = """async (turns) => {
    const dial = document.getElementById("dial"), viewer = document.getElementById("viewer");
    const shown = (wanted) => new Promise((resolve) => {
        const look = () => viewer.dataset.shown === wanted && (watcher.disconnect(), resolve());
        const watcher = new MutationObserver(look);
        watcher.observe(viewer, { attributes: true });
        look();
    });
    const turn = (value) => { dial.value = value; dial.dispatchEvent(new Event("input")); };
    const times = [];
    for (let number = 0; number < turns; number++) {
        const value = -99 + Math.round((number * 198) / turns);
        if (value === 0) continue;
        const start = performance.now();
        turn(value);
        await shown((value / 100).toFixed(2));
        times.push(performance.now() - start);
    }
    let frames = 0;
    const counter = new MutationObserver(() => frames++);
    counter.observe(viewer, { attributeFilter: ["data-shown"] });
    const start = performance.now();
    for (let now = start; now - start < 2000; now = await new Promise(requestAnimationFrame)) {
        turn(Math.floor((now - start) / 20));
    }
    return { times, rate: frames / 2 };
}"""


def main(photos: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "pfvit", "serve", "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                with urlopen(f"http://127.0.0.1:{port}/readyz"):
                    break
            except OSError:
                time.sleep(0.1)
        with sync_playwright() as starter:
            browser = starter.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}")
            for photo in photos:
                page.set_input_files("#file", photo)
                page.wait_for_selector("[data-state=read] #viewer[data-shown][aria-busy=false]")
                side = page.evaluate("document.getElementById('before').width")
                told = page.evaluate(TURN, TURNS)
                times = sorted(told["times"])
                print(
                    f"{Path(photo).name}, face of {side} px: {times[len(times) // 2]:.0f} ms in the middle,"
                    f" {times[len(times) * 95 // 100]:.0f} ms at 95%, {times[-1]:.0f} ms at most;"
                    f" {told['rate']:.0f} pictures/s while it is dragged"
                )
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(sys.argv[1:] or ["assets/astronaut.jpg"])
