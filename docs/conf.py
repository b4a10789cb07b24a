"""How Sphinx builds these docs: `make docs`, or rosdoc2."""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

HERE = Path(__file__).resolve().parent


def package_folder() -> Path:
    """The folder with package.xml. rosdoc2 runs this file from a copy of docs/, by a line that names the original."""
    if (HERE.parent / "package.xml").is_file():
        return HERE.parent
    original = re.search(r'exec\(open\("(.+?/docs)/conf\.py"\)', Path(__file__).read_text(encoding="utf-8"))
    if original is None:
        raise RuntimeError(f"{HERE} is not the docs folder of pi0_ros, and {__file__} does not name it")
    return Path(original.group(1)).parent


ROOT = package_folder()
sys.path[:0] = [str(HERE / "_ext"), str(ROOT)]

project = "pi0_ros"
author = "pi0_ros maintainers"
copyright = "pi0_ros maintainers, Apache-2.0"
version = release = xml.parse(ROOT / "package.xml").findtext("version")

extensions = ["myst_parser", "sphinx.ext.autodoc", "pi0_docs"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext", "README.md"]
exclude_patterns += [
    "modules.rst",
    "pi0_ros*.rst",
]  # rosdoc2 adds a page per module; reference/api.md has what is public
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"pi0_ros {version}"
html_static_path = ["_static"]
html_css_files = ["pi0.css"]
html_js_files = ["search.js"]
html_show_sphinx = False
html_theme_options = {"source_edit_link": "", "navigation_with_keys": True}
