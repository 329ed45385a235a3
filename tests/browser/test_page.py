from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from plumbgraph.testing.faults import FAULTS, Stage
from plumbgraph.timeline import Timeline

pytestmark = pytest.mark.browser

PROBE = """<script>onload=()=>{let b=document.body;document.title=
[b.scrollWidth<=innerWidth,getComputedStyle(document.querySelector('.plumb-timeline')).color,
document.querySelectorAll('li.step').length].join('|')}</script>"""


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_and_follows_the_theme(tmp_path: Path, width: int, theme: str) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no chromium here")
    stage = Stage(tmp_path)
    FAULTS["same_call_again_and_again"].play(stage)
    page = tmp_path / "page.html"
    timeline = Timeline.load("t", sources=stage.saver, log=stage.log)
    page.write_text(timeline.to_html() + PROBE)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},800"]
    if theme == "dark":
        options.append("--blink-settings=preferredColorScheme=0")
    shot = tmp_path / "page.png"
    told = subprocess.run(
        [browser, *options, "--virtual-time-budget=2000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stdout
    title = told.partition("<title>")[2]
    fits, color, steps = title.partition("</title>")[0].split("|")
    assert fits == "true"
    assert int(steps) == len(timeline.rows)
    assert (color == "rgb(232, 234, 237)") is (theme == "dark")
    subprocess.run(
        [browser, *options, f"--screenshot={shot}", page.as_uri()],
        capture_output=True,
        timeout=90,
        check=True,
    )
    assert shot.stat().st_size > 5_000
