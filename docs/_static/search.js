/* Search for questions. Sphinx's own search wants every word of a query on a page, so a question finds nothing. This one
 * ranks pages by the words that they have: rare words count more, words in headings more than words in the text, and a result
 * leads to the heading that fits best. Below it stands what the page says around the rarest word of the question. */
"use strict";

/* Made on the search page, once Sphinx's scripts are there: `rank(index, query)`, `passage(html, anchor)`,
 * `excerpt(index, query, text)`. */
const makeQuestions = () => {
  /* Words that strangers use, and ours for the same. */
  const SAME = {
    "3d": ["urdf"], add: ["new"], arm: ["robot"], authentication: ["key"], bag: ["rosbag"], bags: ["rosbag"], bigger: ["larger"],
    calibration: ["offset"],
    clash: ["competes"], config: ["yaml", "parameters"], configuration: ["yaml", "parameters"], container: ["docker"],
    crash: ["killed", "dies", "ends"], custom: ["own", "new"], demonstration: ["episode", "record"],
    demonstrations: ["episode", "record"], disconnected: ["stops", "silent"], disconnects: ["stops", "silent"],
    distributed: ["cluster", "gpus"], distro: ["distributions"], distros: ["distributions"], docker: ["container"],
    drift: ["late", "offset"], dropped: ["missing", "gap", "left"], duration: ["period", "lasts"], emergency: ["estop", "stop"], environment: ["task", "world"], eval: ["evaluate"],
    failed: ["failure"], faster: ["speed", "performance"], finetune: ["fine", "tune"], finetuning: ["fine", "tune"],
    flicker: ["hysteresis"], flickering: ["hysteresis"], flickers: ["hysteresis"], fps: ["rate", "hz"], frames: ["pictures"], frozen: ["freezes"], gpus: ["gpu", "several"], hang: ["silent", "stops"],
    human: ["person", "taking"], hz: ["rate"], image: ["picture", "camera"], images: ["picture", "camera"],
    inference: ["performance", "plan"], intervene: ["correct", "take"], intervention: ["correct", "take"],
    jerky: ["smoother", "jerk"], jitter: ["late", "smoother"], lag: ["late", "latency"], latency: ["late", "delay", "performance"],
    leader: ["teleop"], loop: ["loops", "progress"], memory: ["gb"], modality: ["camera"], model: ["checkpoint", "network"], motion: ["move"],
    moving: ["move"], multi: ["several"], multiple: ["several"], normalization: ["statistics", "norm_stats"],
    normalize: ["statistics"], oscillate: ["smoother", "chatter"], override: ["take", "subtask_override"],
    pause: ["hold"], polarity: ["gripper", "opposite"], prompt: ["task", "words"], quantized: ["bits", "fp8"],
    quantization: ["bits", "fp8"], remote: ["server"], reset: ["stopped"], ros2: ["ros"], rtc: ["real", "chunking"],
    safe: ["safety", "promises"], serve: ["server"], serving: ["server"], shaking: ["smoother", "chatter"], shaky: ["smoother", "jerk"], simulator: ["simulation", "simulated"],
    slow: ["slower", "late"], stuck: ["move"], stutter: ["stops", "smoother"], stuttering: ["stops", "smoother"],
    supported: ["read"], teleoperation: ["teleop", "taking"], timeout: ["silent", "watchdogs"], topic: ["topics"],
    twitch: ["smoother", "chatter"], unplugged: ["stops", "silent"], upside: ["rotate"], vibrates: ["smoother", "jerk"], vram: ["memory", "gpu"],
    weights: ["checkpoint"], websocket: ["server"], zscore: ["score"],
  };
  /* Words of questions that say nothing of what is asked, beside Sphinx's own stop words. */
  const FILLERS = new Set(
    ("can change changes changing could does did get gets go goes happen happens help keep keeping keeps know last lasts like long look make need needs one please possible say says set should " +
      "tell thing try want wants way will without work works would use used uses using").split(" "),
  );
  const HEADING = 3; // times a word in the text
  const OTHER_WORD = 0.6; // of the word itself
  const PART = 0.4; // the same, for a word that is only a part of another
  const LISTS = 0.6; // generated lists have every word
  const MOST = 15; // results
  const WORTH = 0.35; // of the best result's score: below it, a page is only shown if there are fewer than FEW
  const FEW = 3;
  const LONG = 240; // characters of an excerpt
  const BEFORE = 90; // of them before the word at most

  const has = (object, key) => Object.prototype.hasOwnProperty.call(object, key);
  const files = (entry) => (entry === undefined ? [] : typeof entry === "number" ? [entry] : entry);
  const stemmer = new Stemmer();
  const stem = (word) => stemmer.stemWord(word.toLowerCase());
  const spellings = (word) => [word, word.replace(/iz(e|a|i)/, "is$1"), word.replace(/or$/, "our"), word.replace(/er$/, "re")];

  const words = (text) =>
    splitQuery(text.replace(/e-stop/gi, "estop").toLowerCase()).filter((w) => !stopwords.has(w) && !FILLERS.has(w));

  /* Where a word is: page -> weight, and how much that says. */
  const places = (index, word) => {
    const found = new Map();
    const add = (entry, weight) =>
      files(entry).forEach((file) => found.set(file, Math.max(found.get(file) || 0, weight)));
    const look = (stemmed, share) => {
      add(has(index.terms, stemmed) ? index.terms[stemmed] : undefined, share);
      add(has(index.titleterms, stemmed) ? index.titleterms[stemmed] : undefined, share * HEADING);
    };
    spellings(word).forEach((spelling) => look(stem(spelling), 1));
    (has(SAME, word) ? SAME[word] : []).forEach((other) => look(stem(other), OTHER_WORD));
    if (!found.size && word.length > 3)
      for (const table of [index.terms, index.titleterms])
        Object.keys(table).forEach((term) => term.includes(stem(word)) && look(term, PART));
    return found;
  };

  /* The heading of each page that fits a question best: page -> [share of the question, title, anchor]. */
  const headings = (index, asked) => {
    const best = new Map();
    const all = asked.reduce((sum, word) => sum + word.says, 0) || 1;
    const offer = (title, file, anchor) => {
      const own = new Set(words(title).map(stem));
      let share = 0;
      asked.forEach((word) => {
        const others = (has(SAME, word.word) ? SAME[word.word] : []).map(stem);
        if (spellings(word.word).some((s) => own.has(stem(s)))) share += word.says;
        else if (others.some((other) => own.has(other))) share += OTHER_WORD * word.says;
      });
      share = (share / all) * (0.7 + 0.3 / Math.max(1, own.size - asked.length + 1));
      if (share > (best.has(file) ? best.get(file)[0] : 0)) best.set(file, [share, title, anchor]);
    };
    for (const [title, found] of Object.entries(index.alltitles))
      found.forEach(([file, anchor]) => offer(title, file, index.titles[file] === title ? null : anchor));
    for (const [entry, found] of Object.entries(index.indexentries))
      found.forEach(([file, anchor, main]) => main && offer(entry, file, anchor));
    return best;
  };

  /* The words of a question that are on some page, and how much each says: rare ones more. */
  const weigh = (index, query) => {
    const asked = [...new Set(words(query))].map((word) => ({ word, where: places(index, word) })).filter((w) => w.where.size);
    asked.forEach((word) => (word.says = Math.log(1 + index.docnames.length / word.where.size)));
    return asked;
  };

  /* The text that a result leads to: a section or the whole page without its heading, which the result's title has; of a term
   * of the glossary its definition. */
  const passage = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    page.querySelectorAll(".headerlink, script, style").forEach((element) => element.remove());
    page.querySelectorAll("dt, dd, h2, h3, h4").forEach((element) => element.append(" "));
    let part = anchor ? page.getElementById(decodeURIComponent(anchor.slice(1))) : null;
    if (part && part.tagName === "DT") {
      while (part.nextElementSibling && part.tagName !== "DD") part = part.nextElementSibling;
      return part.textContent;
    }
    if (part && !part.textContent.trim()) part = part.closest("section");
    part = part || page.querySelector('[role="main"]');
    if (!part) return "";
    const heading = part.querySelector("h1, h2, h3, h4, h5, h6");
    if (heading) heading.remove();
    return part.textContent;
  };

  /* The part of a text that is shown: around its rarest word of the question, where most of the others are near. */
  const excerpt = (index, query, text) => {
    const plain = text.replace(/\s+/g, " ").trim();
    const of = new Map(); // stem -> the words of the question that it stands for, and how well
    const all = weigh(index, query);
    all.forEach((asked) =>
      (has(SAME, asked.word) ? SAME[asked.word] : []).forEach((other) => of.set(stem(other), [asked, OTHER_WORD * asked.says])),
    );
    all.forEach((asked) => spellings(asked.word).forEach((spelling) => of.set(stem(spelling), [asked, asked.says])));
    const hits = [...plain.matchAll(/e-stop|[\p{Letter}\p{Number}_]+/giu)]
      .map((token) => ({ at: token.index, found: of.get(stem(token[0].replace("-", ""))) }))
      .filter((hit) => hit.found);
    let at = 0;
    if (hits.length) {
      const rarest = hits.reduce((a, b) => (b.found[1] > a.found[1] ? b : a)).found[0];
      let most = -1;
      hits.filter((hit) => hit.found[0] === rarest).forEach((hit) => {
        const near = new Map();
        hits.forEach((other) => {
          if (other.at < hit.at - BEFORE || other.at > hit.at + LONG - BEFORE) return;
          near.set(other.found[0], Math.max(near.get(other.found[0]) || 0, other.found[1]));
        });
        const sum = [...near.values()].reduce((a, b) => a + b, 0);
        if (sum > most) [most, at] = [sum, hit.at];
      });
    }
    let start = Math.max(0, at - BEFORE);
    if (start) {
      const before = plain.slice(start, at);
      const sentence = Math.max(...[". ", "? ", "! ", ": "].map((end) => before.lastIndexOf(end)));
      start += sentence >= 0 ? sentence + 2 : before.indexOf(" ") + 1;
    }
    let end = Math.min(plain.length, start + LONG);
    if (end < plain.length) end = plain.lastIndexOf(" ", end) > at ? plain.lastIndexOf(" ", end) : end;
    return (start ? "… " : "") + plain.slice(start, end) + (end < plain.length ? " …" : "");
  };

  /* Results as Sphinx's search displays them, the best one last. */
  const rank = (index, query) => {
    const asked = weigh(index, query);
    const all = asked.reduce((sum, word) => sum + word.says, 0) || 1;
    const best = headings(index, asked);
    const results = [];
    index.docnames.forEach((name, file) => {
      let text = 0;
      let covered = 0;
      asked.forEach((word) => {
        const weight = word.where.get(file) || 0;
        text += weight * word.says;
        covered += Math.min(1, weight) * word.says;
      });
      if (!text) return;
      const [share, title, anchor] = best.get(file) || [0, "", null];
      const lists = name.startsWith("generated/") || name === "reference/api" ? LISTS : 1;
      const score = lists * (covered / all) * (text / all / HEADING + 2 * share);
      const led = share >= 0.3 && anchor;
      const shown = led ? `${index.titles[file]} > ${title}` : index.titles[file];
      results.push([name, shown, led ? "#" + anchor : "", null, score, index.filenames[file], led ? "title" : "text"]);
    });
    results.sort((a, b) => b[4] - a[4]);
    return results.filter((found, i) => i < FEW || (i < MOST && found[4] >= WORTH * results[0][4])).reverse();
  };
  return { rank, passage, excerpt };
};

document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const own = Search._performSearch;
  const questions = makeQuestions();
  let asked = "";
  Search.makeSearchSummary = (html, keywords, anchor) => {
    const text = questions.excerpt(Search._index, asked, questions.passage(html, anchor));
    if (!text) return null;
    const summary = document.createElement("p");
    summary.classList.add("context");
    summary.textContent = text;
    return summary;
  };
  Search._performSearch = (query, searchTerms, excludedTerms, highlightTerms, objectTerms) => {
    asked = query;
    const ranked = questions.rank(Search._index, query);
    const names = /^[\w.]+$/.test(query.trim()) ? Search.performObjectSearch(query.trim().toLowerCase(), objectTerms) : [];
    if (!ranked.length && !names.length) return own(query, searchTerms, excludedTerms, highlightTerms, objectTerms);
    const progress = document.getElementById("search-progress");
    while (progress && progress.lastChild) progress.lastChild.remove();
    return [...names.slice(0, 10), ...ranked];
  };
});
