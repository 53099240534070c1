// The page, from the data that lie in it.

const THEMES = ["auto", "light", "dark"];
const MEMORY = "cnncli-theme";

/** A button that goes through the themes; `auto` is the system's. */
function themeButton() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = remembered();
  const button = h("button", { type: "button", class: "theme", onclick: () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem(MEMORY, theme);
    } catch {
      // no storage, no memory
    }
    apply();
  } });
  function apply() {
    const dark = theme === "dark" || (theme === "auto" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.textContent = `Theme: ${theme}`;
    window.dispatchEvent(new Event("themechange"));
  }
  system.addEventListener("change", apply);
  apply();
  return button;
}

function remembered() {
  try {
    const theme = localStorage.getItem(MEMORY);
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

/** What the run is and what came of it. */
function head({ head: run, metrics, meta, epoch }) {
  const last = metrics.at(-1);
  const measured = run.results ?? last ?? {};
  const scores = ["test", "val", "train"].filter((part) => measured[part])
    .map((part) => [part, measured[part].accuracy]);
  const facts = [
    ...scores.map(([part, share]) => [`${part} accuracy`, percent(share, 2)]),
    ["parameters", grouped(run.params)],
    ["MACs per image", grouped(run.macs)],
    ["epochs", `${metrics.length} of ${run.epochs}`],
  ];
  const words = {
    complete: "complete",
    running: "still training",
    interrupted: "interrupted",
    failed: "failed",
  };
  const state = run.state === "complete" ? null : h("p", { class: "notice", role: "note" },
    h("b", {}, `This run is not complete: ${words[run.state]}.`),
    run.reason ? ` ${run.reason}.` : "", " The page shows what there was when it was made.",
    scores.length ? " The accuracies are those of the last epoch." : "");
  const device = meta ? `, on ${meta.device.name}` : "";
  return h("header", {},
    h("div", { class: "top" }, h("h1", {}, run.name, " ", h("small", {}, `on ${run.data}`)), themeButton()),
    h("p", { class: "intro" }, `${run.run}: begun ${run.began}, ${words[run.state]}${device}.` +
      (epoch ? ` Weights of epoch ${epoch}, the best.` : "")),
    state,
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

const MEANINGS = [
  ["k/s/p/d", "kernel, stride, padding, dilation"],
  ["field", "pixels of the input that a unit sees, from first to last; all: every one"],
  ["jump", "pixels of the input from one unit to the next"],
  ["%", "of the input's area that one unit spans"],
  ["MACs", "multiply-accumulates for one image, bias not counted; FLOPs are twice as many"],
  ["start, center", "of the field of unit 0, in pixels; padding: how far it reaches out of the image"],
  ["smallest", "the field over the path that sees least"],
];

function tableSection({ table }) {
  const cells = (texts, tag) => texts.map((text, i) => {
    const { numeric, wide } = table.columns[i];
    const classes = [numeric ? "number" : "", wide ? "wide" : ""].join(" ").trim();
    return i === 0 && tag === "td" ? h("th", { scope: "row" }, text)
      : h(tag, { class: classes || null, scope: tag === "th" ? "col" : null }, text);
  });
  const input = table.columns.map(({ heading }) => ({ layer: "input", output: table.input })[heading] ?? "");
  const grid = h("table", { class: "layers" },
    h("thead", {}, h("tr", {}, cells(table.columns.map((column) => column.heading), "th"))),
    h("tbody", {}, h("tr", {}, cells(input, "td")), table.rows.map((row) => h("tr", {}, cells(row, "td")))),
    h("tfoot", {}, h("tr", {}, cells(table.totals, "td"))));
  const more = h("input", { type: "checkbox", id: "wide", onchange: () => grid.classList.toggle("all", more.checked) });
  const memory = Object.entries(table.memory).map(([name, size]) => `${name} ${size}`).join("; ");
  return section("layers", "Layers", null,
    h("p", { class: "control" }, more, h("label", { for: "wide" }, "all columns")),
    scrolling("the layer table", grid),
    h("p", { class: "intro" }, `memory: ${memory}`),
    table.notes.map((note) => h("p", { class: "intro" }, note)),
    table.hints.length ? h("div", { class: "hints" }, h("h3", {}, "What it means"),
      h("ul", {}, table.hints.map((hint) => h("li", {}, h("b", {}, hint.name), ` ${hint.layer}: ${hint.says}.`,
        hint.consider ? h("span", { class: "consider" }, ` Consider ${hint.consider}.`) : null)))) : null,
    h("details", {}, h("summary", {}, "What the columns mean"),
      h("dl", { class: "meanings" }, MEANINGS.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]))));
}

/** The pictures of the gallery, one section for each kind. */
function exhibitSections({ exhibits }) {
  const figure = ({ title, lines, webp }) => h("figure", { class: "picture exhibit" },
    h("figcaption", {}, h("b", {}, title), lines.map((line) => h("p", {}, line))),
    h("div", { class: "tall", tabindex: "0", role: "region", "aria-label": title },
      h("img", { src: `data:image/webp;base64,${webp}`, alt: title })));
  return exhibits.map(({ kind, heading, pictures, left_out }) => section(kind, heading,
    left_out ? `To keep the page small, it is without ${left_out} more; cnncli show writes all of them.` : null,
    h("div", { class: "pictures" }, pictures.map(figure))));
}

function configSection({ files, meta, head: run }) {
  const texts = { "config.yaml": "Config as given", "resolved.yaml": "Config with every default and override" };
  const facts = meta ? [
    ["command", meta.command.join(" ")],
    ["device", `${meta.device.name} (${meta.device.type})`],
    ["threads", String(meta.threads)],
    ["platform", meta.platform],
    ["git commit", meta.git_commit ?? "none"],
    ...Object.entries(meta.versions).map(([name, version]) => [name, version ?? "none"]),
    ...Object.entries(meta.data).map(([name, sum]) => [name, sum]),
    ["resumed", meta.resumed ? `${meta.resumed.length} times` : "never"],
  ] : [];
  return section("config", "Config, versions, command", null,
    Object.entries(files).map(([name, text]) => h("details", {}, h("summary", {}, texts[name]),
      h("pre", { tabindex: "0" }, text))),
    h("details", { open: true }, h("summary", {}, "Versions, device, command, data"),
      h("dl", { class: "meanings" }, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))),
    h("p", { class: "intro" }, `Made ${run.made} by cnncli ${run.cnncli}.`));
}

function page(data) {
  for (const tag of data.logged.kernels) tag.name = `kernels/${tag.layer}`;
  for (const tag of data.logged.feature_maps) tag.name = `feature_maps/${tag.layer}/${tag.probe}`;
  const top = head(data); // sets the theme, which what is drawn asks for
  const sections = [
    tableSection(data), networkSection(data), curvesSection(data), stepsSection(data), ...exhibitSections(data),
    confusionSection(data), configSection(data),
  ];
  const link = (each) => h("a", { href: `#${each.id}` }, each.querySelector("h2").textContent);
  const links = sections.map((each) => h("li", {}, link(each)));
  document.getElementById("page").append(
    h("a", { class: "skip", href: "#layers" }, "To the content"), top,
    h("nav", { "aria-label": "Sections" }, h("ul", {}, links)), h("main", {}, sections));
}

page(JSON.parse(document.getElementById("data").textContent));
