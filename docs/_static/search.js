/* Search for questions. Sphinx's own search wants every word of a query on a page, so a question finds nothing. This one
 * ranks pages by the words that they have: rare words count more, words in headings more than words in the text, and a result
 * leads to the heading that fits best. */
"use strict";

/* Made on the search page, once Sphinx's scripts are there: `rank(index, query)`. */
const makeQuestions = () => {
  /* Words that strangers use, and ours for the same. */
  const SAME = {
    "3d": ["urdf"], add: ["new"], arm: ["robot"], authentication: ["key"], bigger: ["larger"], calibration: ["offset"],
    clash: ["competes"], config: ["yaml", "parameters"], configuration: ["yaml", "parameters"], container: ["docker"],
    crash: ["killed", "dies", "ends"], custom: ["own", "new"], demonstration: ["episode", "record"],
    demonstrations: ["episode", "record"], distributed: ["cluster", "gpus"], docker: ["container"], drift: ["late", "offset"],
    dropped: ["missing", "gap", "left"], emergency: ["estop", "stop"], environment: ["task", "world"], eval: ["evaluate"],
    failed: ["failure"], faster: ["speed", "performance"], finetune: ["fine", "tune"], finetuning: ["fine", "tune"],
    fps: ["rate", "hz"], frames: ["pictures"], frozen: ["freezes"], gpus: ["gpu", "several"], hang: ["silent", "stops"],
    human: ["person", "taking"], hz: ["rate"], image: ["picture", "camera"], images: ["picture", "camera"],
    inference: ["performance", "plan"], intervene: ["correct", "take"], intervention: ["correct", "take"],
    jerky: ["smoother", "jerk"], jitter: ["late", "smoother"], lag: ["late", "latency"], latency: ["late", "delay", "performance"],
    leader: ["teleop"], memory: ["gb"], modality: ["camera"], model: ["checkpoint", "network"], motion: ["move"],
    moving: ["move"], multi: ["several"], multiple: ["several"], normalization: ["statistics", "norm_stats"],
    normalize: ["statistics"], oscillate: ["smoother", "chatter"], override: ["take", "subtask_override"],
    pause: ["hold"], polarity: ["gripper", "opposite"], prompt: ["task", "words"], quantized: ["bits", "fp8"],
    quantization: ["bits", "fp8"], remote: ["server"], reset: ["stopped"], ros2: ["ros"], rtc: ["real", "chunking"],
    safe: ["safety", "promises"], shaking: ["smoother", "chatter"], shaky: ["smoother", "jerk"], simulator: ["simulation", "simulated"],
    slow: ["slower", "late"], stuck: ["move"], stutter: ["stops", "smoother"], stuttering: ["stops", "smoother"],
    supported: ["read"], teleoperation: ["teleop", "taking"], timeout: ["silent", "watchdogs"], topic: ["topics"],
    twitch: ["smoother", "chatter"], upside: ["rotate"], vibrates: ["smoother", "jerk"], weights: ["checkpoint"],
    websocket: ["server"],
  };
  /* Words of questions that say nothing of what is asked, beside Sphinx's own stop words. */
  const FILLERS = new Set(
    ("can change changes changing could does did get gets go goes happen happens help keep keeping keeps know like look make need needs please possible say says set should " +
      "tell thing try want wants way will without work works would use used using").split(" "),
  );
  const HEADING = 3; // times a word in the text
  const OTHER_WORD = 0.6; // of the word itself
  const PART = 0.4; // the same, for a word that is only a part of another
  const LISTS = 0.6; // generated lists have every word

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

  /* Results as Sphinx's search displays them, the best one last. */
  const rank = (index, query) => {
    const asked = [...new Set(words(query))].map((word) => ({ word, where: places(index, word) })).filter((w) => w.where.size);
    asked.forEach((word) => (word.says = Math.log(1 + index.docnames.length / word.where.size)));
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
    return results.sort((a, b) => a[4] - b[4]).slice(-25);
  };
  return { rank };
};

document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  const own = Search._performSearch;
  const questions = makeQuestions();
  Search._performSearch = (query, searchTerms, excludedTerms, highlightTerms, objectTerms) => {
    const ranked = questions.rank(Search._index, query);
    const names = /^[\w.]+$/.test(query.trim()) ? Search.performObjectSearch(query.trim().toLowerCase(), objectTerms) : [];
    if (!ranked.length && !names.length) return own(query, searchTerms, excludedTerms, highlightTerms, objectTerms);
    const progress = document.getElementById("search-progress");
    while (progress && progress.lastChild) progress.lastChild.remove();
    return [...names.slice(0, 10), ...ranked];
  };
});
