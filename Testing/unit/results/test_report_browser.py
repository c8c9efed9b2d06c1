"""The report in a real browser: it renders, asks nobody for anything, and prints on one page."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lungperfusion.results.report import render_report

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--window-size=1000,1400",
)

MEASURE = """<script>
const out = document.createElement('pre');
out.id = 'measured';
const images = [...document.images];
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
out.textContent = JSON.stringify({
  images: images.length, decoded: images.filter(i => i.complete && i.naturalWidth > 0).length,
  rows: document.querySelectorAll('table.summary tbody tr').length, overflow: wide });
document.body.append(out);
</script>"""


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    return subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )


def console(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if "CONSOLE" in line]


def opened(html: str) -> str:
    """Let scripts run, which the policy of the page forbids, and measure the page."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    return html.replace("</body>", MEASURE + "</body>")


BROWSERS_OWN = re.compile(r"[./](google|googleapis|gstatic|gvt1)\.com[:/ ]")
"""Services that Chromium calls on its own behalf, whatever page it shows."""


class Proxy:
    """Refuses every request and remembers it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(4096).decode("latin-1").split("\r\n")[0])
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._socket.close()

    def of_the_page(self) -> list[str]:
        return [request for request in self.requests if not BROWSERS_OWN.search(request)]


@pytest.fixture
def proxy():
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def html(analysis, provenance) -> str:
    return render_report([analysis], case="case-1", provenance=provenance)


def test_renders_without_complaint_and_asks_nobody(html, tmp_path, proxy):
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    options = ("--enable-logging=stderr", f"--proxy-server=http://127.0.0.1:{proxy.port}")
    picture = tmp_path / "page.png"
    result = browse(page, tmp_path / "a", *options, f"--screenshot={picture}")
    assert console(result) == []
    assert picture.stat().st_size > 20_000

    page.write_text(opened(html), encoding="utf-8")
    result = browse(page, tmp_path / "b", *options, "--dump-dom")
    assert console(result) == []
    found = re.search(r'<pre id="measured">(.*?)</pre>', result.stdout)
    assert found is not None
    assert found[1] == '{"images":4,"decoded":4,"rows":19,"overflow":0}'
    assert proxy.of_the_page() == []


def test_the_checks_above_can_fail(html, tmp_path, proxy):
    """A page that breaks its promises is noticed."""
    options = ("--enable-logging=stderr", f"--proxy-server=http://127.0.0.1:{proxy.port}")
    page = tmp_path / "report.html"
    elsewhere = '<img src="http://elsewhere.invalid/x.png" alt=""></main>'
    page.write_text(html.replace("</main>", elsewhere), encoding="utf-8")
    assert console(browse(page, tmp_path / "a", *options, "--dump-dom")) != []  # policy
    page.write_text(opened(html.replace("</main>", elsewhere)), encoding="utf-8")
    result = browse(page, tmp_path / "b", *options, "--dump-dom")
    assert any("elsewhere.invalid" in request for request in proxy.of_the_page())
    assert '"decoded":5' not in result.stdout


def pages_printed(html: str, folder: Path) -> int:
    folder.mkdir()
    page = folder / "report.html"
    page.write_text(html, encoding="utf-8")
    pdf = folder / "report.pdf"
    browse(page, folder / "profile", "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


def test_main_part_prints_on_one_a4_page(analysis, many_gates, provenance, tmp_path):
    case = replace(analysis, gates=many_gates)
    html = render_report(case, case="case-1", provenance=provenance)
    end = html.index("</section>", html.index("<h2>Warnings</h2>")) + len("</section>")
    first = html[:end] + "</main></body></html>"
    assert "Total lung volume" in first
    assert "Quality checks" in first
    assert pages_printed(first, tmp_path / "first") == 1
    assert pages_printed(html, tmp_path / "all") > 1
