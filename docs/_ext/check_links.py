"""Links of built pages and of Markdown files that lead nowhere: `python check_links.py HTML_FOLDER FILE.md …`. No network."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

MARKDOWN = re.compile(r"\]\(([^)\s]+)\)")


class Page(HTMLParser):
    """The links and the anchors of one page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag links to, and what it is called."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if (tag, name) in (("a", "href"), ("img", "src")) and value:
                self.links.append(value)


def broken_in_site(folder: Path) -> Iterator[str]:
    """A sentence for each link between pages of a built site that leads to no file or no anchor."""
    pages = {file.resolve(): Page(file) for file in folder.rglob("*.html")}
    for file, page in pages.items():
        for link in dict.fromkeys(page.links):
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            there = (file.parent / unquote(target.path)).resolve() if target.path else file
            if not there.is_file():
                yield f"{file.relative_to(folder.resolve())}: {link} leads to no file"
            elif target.fragment and there in pages and unquote(target.fragment) not in pages[there].anchors:
                yield f"{file.relative_to(folder.resolve())}: {link} leads to no heading"


def broken_in_markdown(file: Path) -> Iterator[str]:
    """A sentence for each relative link of a Markdown file that leads to no file."""
    for link in MARKDOWN.findall(file.read_text(encoding="utf-8")):
        target = urlsplit(link)
        if not target.scheme and target.path and not (file.parent / target.path).exists():
            yield f"{file}: {link} leads to no file"


def main(folder: str, *files: str) -> int:
    """Print every broken link; 1 if there is one."""
    broken = list(broken_in_site(Path(folder)))
    broken += [sentence for file in files for sentence in broken_in_markdown(Path(file))]
    print("\n".join(broken), end="\n" if broken else "")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
