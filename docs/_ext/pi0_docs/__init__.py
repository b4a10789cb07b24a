"""The Sphinx extension of these docs: reference pages and diagrams are written from the code before the build reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GENERATED = "generated"


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    from pi0_docs.docstrings import plain_to_rst
    from pi0_docs.imports import missing

    def before_reading(app: Any, config: Any) -> None:
        config.autodoc_mock_imports = missing()  # rosdoc2 replaces what conf.py says
        write_all(Path(app.srcdir) / GENERATED)

    app.connect("config-inited", before_reading)
    app.connect("autodoc-process-docstring", plain_to_rst)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_all(folder: Path) -> list[Path]:
    """Write all generated pages and pictures into a folder; a file whose content stays is not touched."""
    from pi0_docs.imports import importable
    from pi0_docs.mistakes import check

    with importable():
        from pi0_docs import diagrams, reference

        files = {**reference.pages(), **diagrams.pictures()}
    check(files)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    return [_write(folder / name, text) for name, text in files.items()]


def _write(file: Path, text: str) -> Path:
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    return file
