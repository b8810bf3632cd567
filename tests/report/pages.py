"""A page taken apart, or opened in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = (
    "--disable-sync", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update",
)  # fmt: skip
_PROBE = """<script>addEventListener("load", () => {
  const told = [];
  const tell = (what) => told.push(what);
  %s
  dispatchEvent(new Event("beforeprint"));
  tell("folded " + document.querySelectorAll("details:not([open])").length);
  tell("sideways " + (document.documentElement.scrollWidth - document.documentElement.clientWidth));
  const out = document.createElement("pre");
  out.id = "told";
  out.textContent = told.join("|");
  document.body.append(out);
});</script></body>"""


class Tags(HTMLParser):
    """Every tag with its attributes, and whether the tags nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "wbr", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def without_date(page: Path) -> str:
    return re.sub(r"Written [^<]*", "", page.read_text())


def section(page: Path, name: str) -> str:
    return page.read_text().split(f'<section id="{name}">')[1].split("</section>")[0]


def in_chromium(page: Path, profile: Path, *arguments: str) -> str:
    """Open a page, which must not complain in the browser's console; return what the browser prints."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the page's script is not tried")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *_QUIET, f"--user-data-dir={profile}"]
    command += ["--enable-logging=stderr", "--v=0", *arguments, page.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "CONSOLE" not in ran.stderr, ran.stderr
    return ran.stdout


def told_in_chromium(page: Path, tmp_path: Path, script: str) -> list[str]:
    """Return what `script` tells of a page by `tell(text)`; then how many folds print closed, how far it scrolls."""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", _PROBE.replace("%s", script)))
    printed = in_chromium(probed, tmp_path / "profile", "--dump-dom", "--window-size=1280,900")
    found = re.search(r'<pre id="told">(.*?)</pre>', printed, re.DOTALL)
    assert found is not None, printed
    return found[1].split("|")
