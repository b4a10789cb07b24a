"""The site is built without a warning, and no link in it leads nowhere."""

import html
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("sphinx", reason="needs requirements/docs.lock")
pytest.importorskip("rclpy", reason="the reference is made of the nodes")

from check_links import broken_in_markdown, broken_in_site

ROOT = Path(__file__).resolve().parents[2]
# What a newcomer types, and the pages that answer it under a heading.
QUESTIONS = {
    "from what distribution are the flow times drawn": "explanation/model",
    "why was autonomy refused after takeover": "tutorials/take_over howto/why_not_moving",
    "which camera encodings are supported": "interface",
    "my gripper closes when it should open": "howto/groups howto/adapter",
    "rtc soft mask weights": "explanation/time_and_chunks",
    "subtask keeps changing": "howto/subtasks",
    "what happens if the emergency stop stops publishing": "safety explanation/concepts",
    "add my own simulation task": "howto/new_task",
    "plug in a custom policy": "howto/new_policy_type writing_a_policy",
    "time between rows of a chunk": "explanation/time_and_chunks",
    "how much gpu memory for lora fine-tuning": "howto/train",
    "policy on remote gpu server": "howto/policy_server",
    "jerky motion between chunks": "howto/slower_smoother",
    "libero checkpoint success rate 0": "policies",
    "normalization statistics missing": "policies",
    "dropped frames recording": "record",
    "base keeps driving after crash": "howto/controllers",
    "resume training after crash": "howto/train",
    "docker": "install",
    "collision avoidance": "safety",
}
# What strangers typed, and the heading that has to come first.
FIRST = {
    "how to stop the subtask from flickering": "howto/subtasks#subtask-hysteresis",
    "how long does one row of an action chunk last": "explanation/time_and_chunks#when-is-a-row-the-chunk-period",
    "which ROS 2 distributions are supported": "install#supported-ros-2-distributions-and-what-was-tried",
    "start inference on my robot with ros2 launch": "policies#start-inference-on-the-robot-ros2-launch",
    "fine-tune on my own rosbag data": "tutorials/fine_tune",
    "which checkpoints use z-score or quantiles normalisation": "howto/adapter#normalisation-z-score-or-quantiles",
    "what happens when a camera stops publishing": "howto/new_camera#what-happens-when-a-camera-stops-publishing",
    "how much gpu memory for inference": "performance#gpu-memory-for-inference",
    "how do I start a policy server": "howto/policy_server#start-the-policy-server",
    "e-stop never heard": "safety#if-the-e-stop-stops-publishing-or-was-never-heard",
}
# Pages of which a passage is shown: question, page, anchor.
SHOWN = {
    "definition": ("taking over", "explanation/concepts", "#term-taking-over"),
    "section": ("how to stop the subtask from flickering", "howto/subtasks", "#subtask-hysteresis"),
    "page": ("camera encoding 16UC3", "interface", ""),
}
# Asks all of them of a built site in one page, and prints what it answers as JSON.
ASK = """<html data-content_root="./"><meta charset="utf-8"><body><pre id="out"></pre>%s<script>
const questions = makeQuestions(), index = Search._index, given = %s, out = {pages: {}, shown: {}};
given.questions.forEach((q) => (out.pages[q] = questions.rank(index, q).reverse().map((found) => found[0] + found[2])));
Object.entries(given.shown).forEach(([name, [q, html, anchor]]) =>
  (out.shown[name] = questions.excerpt(index, q, questions.passage(html, anchor))));
document.getElementById("out").textContent = JSON.stringify(out);
</script></body></html>"""
SCRIPTS = ("doctools", "sphinx_highlight", "search", "searchtools", "language_data")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages, and what the build printed."""
    place = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(place / "trees")]
    done = subprocess.run(
        [*words, str(ROOT / "docs"), str(place / "html")], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return place / "html", done


def test_the_build_has_no_warning(site):
    _, done = site
    assert done.stderr == ""
    assert done.returncode == 0


def test_every_link_between_pages_leads_somewhere(site):
    folder, _ = site
    assert (folder / "index.html").is_file()
    assert list(broken_in_site(folder)) == []


def test_a_broken_link_and_a_missing_heading_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#here">1</a><a href="b.html#there">2</a><a href="c.html">3</a>')
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    assert list(broken_in_site(tmp_path)) == [
        "a.html: b.html#there leads to no heading",
        "a.html: c.html leads to no file",
    ]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_pages_outside_the_site_link_to_files_that_exist(name):
    assert list(broken_in_markdown(ROOT / name)) == []


def test_every_page_is_in_the_table_of_contents(site):
    folder, _ = site
    index = (folder / "index.html").read_text(encoding="utf-8")
    pages = [f for f in (ROOT / "docs").rglob("*.md") if not {"_build", "_ext", "generated"} & set(f.parts)]
    for page in pages:
        target = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert page.stem == "index" or target in index or "reference" in target, (
            f"{target} is in no toctree of index.rst"
        )


def test_a_copy_of_the_docs_as_rosdoc2_makes_it_finds_the_package(tmp_path):
    # rosdoc2 copies docs/ and writes a conf.py into the copy that runs the original by this line.
    copy = tmp_path / "conf.py"
    copy.write_text(f'exec(open("{ROOT}/docs/conf.py").read())', encoding="utf-8")
    found = runpy.run_path(str(copy))
    assert found["ROOT"] == ROOT
    assert found["release"] == ElementTree.parse(ROOT / "package.xml").findtext("version")


def test_the_pages_can_be_written_without_ros_and_without_torch(tmp_path):
    # rosdoc2 builds in an environment that need not have them: all of it is mocked then.
    code = (
        "import sys, pathlib; sys.path[:0] = [sys.argv[1], sys.argv[2]]\n"
        "import pi0_docs.imports as i; i.missing = lambda: [n for n in i.HEAVY if n != 'daqp']\n"
        "import pi0_docs; print(len(pi0_docs.write_all(pathlib.Path(sys.argv[3]))))"
    )
    words = [sys.executable, "-c", code, str(ROOT / "docs" / "_ext"), str(ROOT), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 12
    assert shutil.which("python") is None or "parameters.md" in {f.name for f in tmp_path.iterdir()}


@pytest.fixture(scope="module")
def answers(site):
    """What the site's search gives: "pages", the ranked results of each question, and "shown", the passages of `SHOWN`."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium, which runs the site's search")
    folder, _ = site
    scripts = [f"_static/{name}.js" for name in ("documentation_options", *SCRIPTS)] + ["searchindex.js"]
    page = folder / "ask.html"
    tags = "".join(f'<script src="{script}"></script>' for script in scripts)
    shown = {n: (q, (folder / f"{p}.html").read_text(encoding="utf-8"), anchor) for n, (q, p, anchor) in SHOWN.items()}
    given = json.dumps({"questions": [*QUESTIONS, *FIRST], "shown": shown}).replace("</", "<\\/")
    page.write_text(ASK % (tags, given), encoding="utf-8")
    words = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout
    page.unlink()
    return json.loads(html.unescape(re.search(r'<pre id="out">(.*?)</pre>', printed, re.DOTALL)[1]))


def test_a_question_in_a_newcomers_words_leads_to_its_page_among_the_first_three(answers):
    ranked = {question: [found.partition("#")[0] for found in answers["pages"][question]] for question in QUESTIONS}
    lost = {q: ranked[q][:3] for q, pages in QUESTIONS.items() if not set(pages.split()) & set(ranked[q][:3])}
    assert lost == {}


def test_a_question_that_a_heading_answers_leads_to_that_heading_first(answers):
    ranked = {question: answers["pages"][question][:3] for question in FIRST}
    lost = {q: ranked[q] for q, place in FIRST.items() if not f"{ranked[q][0]}#".startswith(f"{place}#")}
    assert lost == {}


def test_only_pages_that_are_worth_reading_are_found(answers):
    counts = [len(found) for found in answers["pages"].values()]
    assert min(counts) >= 1
    assert max(counts) <= 15
    assert len(set(counts)) > 3


def test_a_term_of_the_glossary_is_shown_with_its_definition_and_not_with_itself(answers):
    assert answers["shown"]["definition"].startswith("From AUTONOMY to TELEOP: a person takes the robot")


def test_what_is_shown_of_a_section_is_around_the_rarest_word_and_without_its_heading(answers):
    shown = answers["shown"]["section"]
    assert "flickers" in shown
    assert "hysteresis" not in shown.lower()


def test_what_is_shown_of_a_page_is_around_the_rarest_word(answers):
    shown = answers["shown"]["page"]
    assert "16UC3" in shown
    assert shown.startswith("… ") and shown.endswith(" …") and len(shown) < 260
