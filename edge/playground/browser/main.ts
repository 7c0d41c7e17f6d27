/** The page's beginning: which part of it is shown, light or dark, the key. */
import { apiKey } from "./api.ts";
import { byId } from "./dom.ts";
import { showFleet } from "./fleet.ts";
import { showJobs } from "./jobs.ts";
import { listModels, startTalk } from "./talk.ts";

/** By the address's part behind `#/`. */
const PAGES = {
  ask: async (_: AbortSignal) => {},
  fleet: showFleet,
  jobs: showJobs,
};

let leaving = new AbortController();

function show(): void {
  const wanted = location.hash.replace(/^#\//, "");
  const page = Object.hasOwn(PAGES, wanted) ? wanted as keyof typeof PAGES : "ask";
  leaving.abort();
  leaving = new AbortController();
  for (const name of Object.keys(PAGES)) byId(`page-${name}`, HTMLElement).hidden = name !== page;
  for (const link of document.querySelectorAll("nav a[data-page]")) {
    if (link.getAttribute("data-page") === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  void PAGES[page](leaving.signal);
}

function startTheme(): void {
  const root = document.documentElement;
  const kept = localStorage.getItem("tessera-theme");
  if (kept !== null) root.dataset["theme"] = kept;
  byId("theme-button", HTMLButtonElement).addEventListener("click", () => {
    const isDark = root.dataset["theme"] === "dark" ||
      root.dataset["theme"] === undefined && matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset["theme"] = isDark ? "light" : "dark";
    localStorage.setItem("tessera-theme", root.dataset["theme"]);
  });
}

function startKey(): void {
  const dialog = byId("key-dialog", HTMLDialogElement);
  const input = byId("key-input", HTMLInputElement);
  byId("key-button", HTMLButtonElement).addEventListener("click", () => {
    input.value = apiKey.get();
    dialog.showModal();
  });
  dialog.addEventListener("close", () => {
    if (dialog.returnValue !== "save") return;
    apiKey.set(input.value.trim());
    void listModels();
    show();
  });
}

startTheme();
startKey();
startTalk();
addEventListener("hashchange", show);
show();
