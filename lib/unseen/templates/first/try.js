// The form of the first page: whatever is typed is checked, then answered by the oracle and both models.
"use strict";
(() => {
  const form = document.getElementById("try"), shown = document.getElementById("answer");
  const problem = document.getElementById("problem"), models = MODELS.map((about) => new Unseen.Model(about));
  const [{ alphabet, lengths }] = MODELS, names = Object.keys(lengths);

  function element(kind, classes, ...inside) {
    const made = document.createElement(kind);
    made.className = classes;
    made.append(...inside);
    return made;
  }

  // A label with a note, and below it a string letter by letter with a mark for each.
  function row(label, text, marks, note) {
    const tiles = [...text].map((letter, i) => element("span", `tile ${marks[i]}`, letter));
    const letters = element("span", "letters", ...tiles);
    letters.setAttribute("role", "img");
    letters.setAttribute("aria-label", text);
    return element("div", "row", element("span", "who", label, " ", element("b", "", note)), letters);
  }

  function answered(pattern, replacement, input) {
    const start = input.indexOf(pattern), right = Unseen.oracle(pattern, replacement, input);
    const inside = (i) => start >= 0 && start <= i && i < start + pattern.length;
    const found = start < 0 ? "the pattern does not occur" : "";
    const head = element("p", "", "The answers to ", element("b", "", `${pattern} → ${replacement}`));
    const rows = [row("input", input, [...input].map((_, i) => (inside(i) ? "pattern" : "")), found)];
    rows.push(row("the right answer", right, Array(right.length).fill(""), ""));
    for (const model of models) {
      const answer = model.answer(pattern, replacement, input).padEnd(right.length, "·");
      const marks = [...answer].map((letter, i) => (letter === right[i] ? "right" : "wrong"));
      const wrong = marks.filter((mark) => mark === "wrong").length;
      rows.push(row(model.name, answer, marks, wrong ? `✗ ${wrong} wrong` : "✓ right"));
    }
    shown.replaceChildren(head, ...rows);
  }

  // An answer stays, greyed, until all three values can be read again.
  function update() {
    const values = names.map((name) => form[name].value.toLowerCase());
    const problems = names.map((name, i) => Unseen.problem(MODELS[0], name, values[i]));
    names.forEach((name, i) => form[name].setAttribute("aria-invalid", problems[i] !== ""));
    problem.textContent = problems.find((each) => each) ?? "";
    shown.classList.toggle("old", problem.textContent !== "");
    if (!problem.textContent) answered(...values);
  }

  // A rule of random letters, and an input that holds its pattern once.
  function random() {
    const letters = (size) => Array.from({ length: size }, () => alphabet[Math.floor(Math.random() * alphabet.length)]);
    const [pattern, replacement] = [letters(lengths.pattern).join(""), letters(lengths.replacement).join("")];
    const rest = letters(lengths.input - pattern.length), place = Math.floor(Math.random() * (rest.length + 1));
    const input = rest.slice(0, place).join("") + pattern + rest.slice(place).join("");
    return input.split(pattern).length === 2 ? [pattern, replacement, input] : random();
  }

  for (const name of names) {
    const range = `${lengths[name]} letters, ${alphabet[0]} to ${alphabet.at(-1)}`;
    document.getElementById(`${name}-range`).textContent = range;
    for (const [key, value] of [["autocapitalize", "none"], ["spellcheck", "false"]]) form[name].setAttribute(key, value);
  }
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    update();
  });
  form.addEventListener("click", ({ target }) => {
    if (target.dataset.rule === undefined) return;
    const values = target.dataset.rule.split(" ").filter((each) => each);
    (values.length ? values : random()).forEach((value, i) => (form[names[i]].value = value));
    update();
  });
  update();
})();
