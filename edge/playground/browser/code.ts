/** The request as code: a tab for each language, and a button that copies. */
import { byId, make } from "./dom.ts";
import type { Settings, Turn } from "./request.ts";
import { type Language, LANGUAGES, snippet } from "./snippets.ts";

/** How long the button says that it copied, in ms. */
const COPIED_MS = 1_500;

let language: Language = "curl";
/** What the code shows. */
let shown: { readonly turns: readonly Turn[]; readonly settings: Settings } | null = null;

export function showCode(turns: readonly Turn[], settings: Settings): void {
  shown = { turns, settings };
  write();
}

export function startCode(): void {
  const list = byId("code-tabs", HTMLDivElement);
  const tabs = LANGUAGES.map((name) => {
    const tab = make("button", { type: "button", id: `tab-${name}` }, name);
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "code");
    tab.addEventListener("click", () => choose(name));
    return tab;
  });
  const choose = (name: Language) => {
    language = name;
    for (const [index, tab] of tabs.entries()) {
      const isChosen = LANGUAGES[index] === name;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    byId("code", HTMLPreElement).setAttribute("aria-labelledby", `tab-${name}`);
    write();
  };
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const next = (LANGUAGES.indexOf(language) + step + LANGUAGES.length) % LANGUAGES.length;
    choose(LANGUAGES[next]!);
    tabs[next]!.focus();
  });
  list.append(...tabs);
  choose(language);
  const copy = byId("copy", HTMLButtonElement);
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("code", HTMLPreElement).textContent ?? "");
    copy.textContent = "Copied";
    setTimeout(() => copy.textContent = "Copy", COPIED_MS);
  });
}

function write(): void {
  if (shown === null) return;
  const base = new URL(".", document.baseURI).href;
  byId("code", HTMLPreElement).textContent = snippet(language, shown.turns, shown.settings, base);
}
