"""How Sphinx builds these docs: `make docs`, or rosdoc2."""

import sys
import xml.etree.ElementTree as xml
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from pi0_docs.imports import missing

project = "pi0_ros"
author = "pi0_ros maintainers"
copyright = "pi0_ros maintainers, Apache-2.0"
version = release = xml.parse(HERE.parent / "package.xml").findtext("version")

extensions = ["myst_parser", "sphinx.ext.autodoc", "pi0_docs"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext", "README.md"]
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
nitpicky = False

autodoc_mock_imports = missing()
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"pi0_ros {version}"
html_static_path = ["_static"]
html_css_files = ["pi0.css"]
html_show_sphinx = False
html_theme_options = {"source_edit_link": "", "navigation_with_keys": True}
