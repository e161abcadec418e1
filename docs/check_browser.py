"""Look at the built pages in a browser: widths, pictures, the search, screenshots.

``python docs/check_browser.py docs/_build/html SCREENSHOTS`` opens each page 1400 and
390 pixels wide, light and dark, in Chromium, writes a picture of it into the folder
SCREENSHOTS, to be looked at, and lists what is wrong: a page that is wider than the
window, a part that is cut off, a picture that isn't loaded, a word of the table of
words that the search doesn't find where it leads. It exits with 1 if anything is. Needs
the commands chromium and chromedriver.
"""

import base64
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from search_words import read_words

WIDTHS, THEMES, HEIGHT = (1400, 390), ("light", "dark"), 900
_PHONE = 500  # narrower windows are those of phones
_SECONDS = 10  # for the start of the browser, and for a search

# What is wrong with a page, as a list of texts.
_FIND_PROBLEMS = """
const problems = [], width = window.innerWidth;
const page = document.documentElement.scrollWidth;
if (page > width) problems.push(`it is ${page} pixels wide`);
// Code and tables may scroll in themselves, but not the article around them.
const scrolls = (part) => {
  for (let outer = part.parentElement; !outer.matches(".bd-article"); )
    if (getComputedStyle(outer).overflowX != "visible") return true;
    else outer = outer.parentElement;
  return false;
};
for (const part of document.querySelectorAll(".bd-article *")) {
  const box = part.getBoundingClientRect();
  if (box.width && box.right > width + 1 && !scrolls(part))
    problems.push(`cut off: ${part.tagName} ${(part.innerText || "").slice(0, 40)}`);
}
for (const image of document.images)
  if (image.loading != "lazy" && !image.naturalWidth)
    problems.push(`not loaded: ${image.src}`);
return problems;
"""

# The first page that the search has found, or null.
_FIRST_RESULT = """
const link = document.querySelector("#search-results ul.search li a");
return link && new URL(link.href).pathname;
"""


class Browser:
    """Drive Chromium by the WebDriver protocol.

    Parameters
    ----------
    width : int
        Of the window, in pixels.
    theme : {"light", "dark"}
    """

    def __init__(self, width, theme):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}/session"
        command = ["chromedriver", f"--port={port}"]
        self._driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        options = {
            "args": [
                "--headless=new",
                "--hide-scrollbars",
                # Root has no sandbox, and file:// has no origin.
                "--no-sandbox",
                "--allow-file-access-from-files",
                f"--window-size={width},{HEIGHT}",
            ]
        }
        if width < _PHONE:
            size = {"width": width, "height": HEIGHT, "pixelRatio": 1}
            options["mobileEmulation"] = {"deviceMetrics": size}
        session = {"alwaysMatch": {"goog:chromeOptions": options}}
        found = self._wait(
            lambda: self._post("", {"capabilities": session})
        )
        self._url += f"/{found['sessionId']}"
        feature = {"name": "prefers-color-scheme", "value": theme}
        self._command("Emulation.setEmulatedMedia", features=[feature])

    def close(self):
        """End the browser."""
        request = urllib.request.Request(self._url, method="DELETE")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request).close()
        self._driver.terminate()
        self._driver.wait()

    def open(self, url):
        """Open a page, and wait until it is loaded."""
        self._post("/url", {"url": url})

    def run(self, script):
        """Run JavaScript, and return its value."""
        return self._post("/execute/sync", {"script": script, "args": []})

    def take_picture(self):
        """Return the whole page as the bytes of a PNG file."""
        shot = self._command(
            "Page.captureScreenshot", captureBeyondViewport=True
        )
        return base64.b64decode(shot["data"])

    def find(self, site, words):
        """Return the path of the first page that the search finds, or None."""
        query = urllib.parse.quote(words)
        self.open(f"{(site / 'search.html').as_uri()}?q={query}")
        return self._wait(lambda: self.run(_FIRST_RESULT))

    def _command(self, name, **parameters):
        command = {"cmd": name, "params": parameters}
        return self._post("/goog/cdp/execute", command)

    def _post(self, path, content):
        request = urllib.request.Request(
            f"{self._url}{path}",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["value"]

    @staticmethod
    def _wait(ask):
        """Return the first answer to a question that is repeated for a while."""
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(urllib.error.URLError):
                if (answer := ask()) is not None:
                    return answer
            time.sleep(0.1)
        return None


def check_pages(site, folder):
    """Open all pages, and write pictures of them.

    Yields
    ------
    problem : str
        With the page that it is on.
    """
    pages = [
        page
        for page in sorted(site.rglob("*.html"))
        if not {"_modules", "_static"} & set(page.parts)
    ]
    for width in WIDTHS:
        for theme in THEMES:
            with contextlib.closing(Browser(width, theme)) as browser:
                for page in pages:
                    name = page.relative_to(site).as_posix()
                    browser.open(page.as_uri())
                    for problem in browser.run(_FIND_PROBLEMS):
                        yield f"{name}, {width} pixels, {theme}: {problem}"
                    kept = name.replace("/", "+").removesuffix(".html")
                    picture = folder / f"{kept}_{width}_{theme}.png"
                    picture.write_bytes(browser.take_picture())


def check_search(site):
    """Search for the words of the table.

    Yields
    ------
    problem : str
    """
    with contextlib.closing(Browser(WIDTHS[0], THEMES[0])) as browser:
        for word, (page, _) in read_words().items():
            found = browser.find(site, word)
            if found != (site / f"{page}.html").as_uri().removeprefix(
                "file://"
            ):
                yield f"the search for {word!r} finds {found}, not {page}.html"


def main(site, folder):
    """Print what is wrong, and return how many things are."""
    site, folder = pathlib.Path(site).resolve(), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    n_problems = 0
    for problem in (*check_search(site), *check_pages(site, folder)):
        print(problem, file=sys.stderr)
        n_problems += 1
    return n_problems


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:]) else 0)
