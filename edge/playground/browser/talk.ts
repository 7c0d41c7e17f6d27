/** The conversation: composer, turns, the words as they come. */
import { ApiError, ask, askJson, items } from "./api.ts";
import { byId, make } from "./dom.ts";
import { showCode, startCode } from "./code.ts";
import { fromAddress, fromFile, look, type Medium } from "./media.ts";
import { bodyOf, type Settings, type Turn } from "./request.ts";
import { timingsView } from "./timings.ts";

interface Model {
  readonly id: string;
  readonly tessera: { readonly max_tiles: number; readonly context_length: number };
}

const DEFAULT_PROMPT = "Describe the picture.";
/** How long the composer rests before its cost is asked for, in ms. */
const REST_MS = 300;

const prompt = byId("prompt", HTMLTextAreaElement);
const turnsList = byId("turns", HTMLOListElement);
const mediaList = byId("media", HTMLUListElement);
const send = byId("send", HTMLButtonElement);
const stop = byId("stop", HTMLButtonElement);
const fresh = byId("new-talk", HTMLButtonElement);
const fault = byId("fault", HTMLParagraphElement);
const cost = byId("cost", HTMLSpanElement);
const model = byId("model", HTMLSelectElement);

let models: readonly Model[] = [];
let turns: Turn[] = [];
let media: Medium[] = [];
let running: AbortController | null = null;
let restTimer: ReturnType<typeof setTimeout> | undefined;
/** Counts questions after the cost, so that a late answer does not overwrite a newer one. */
let costAsked = 0;

const number = (id: string, fallback: number) => {
  const value = byId(id, HTMLInputElement).valueAsNumber;
  return Number.isFinite(value) ? value : fallback;
};

function settings(): Settings {
  return {
    model: model.value,
    maxTiles: maxTiles(),
    segments: number("segments", 8),
    maxTokens: number("max-tokens", 256),
    temperature: number("temperature", 0),
  };
}

/** What another model takes. */
function chosen(): void {
  const facts = models.find(({ id }) => id === model.value)?.tessera;
  if (facts !== undefined) {
    const tiles = byId("max-tiles", HTMLInputElement);
    tiles.max = tiles.value = String(facts.max_tiles);
    byId("max-tokens", HTMLInputElement).max = String(facts.context_length);
  }
  for (const medium of media) void inspect(medium);
  changed();
}

/** null: as many as the model takes. */
function maxTiles(): number | null {
  const { max, value } = byId("max-tiles", HTMLInputElement);
  return value === max || value === "" ? null : Number(value);
}

/** The conversation with the question that is being written. */
function asked(): Turn[] {
  return [...turns, { role: "user", text: prompt.value.trim() || DEFAULT_PROMPT, media }];
}

export function startTalk(): void {
  byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    void answer();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void answer();
  });
  prompt.addEventListener("input", changed);
  stop.addEventListener("click", () => running?.abort());
  fresh.addEventListener("click", startAnew);
  for (const id of ["max-tiles", "segments", "max-tokens", "temperature"]) {
    byId(id, HTMLInputElement).addEventListener("change", () => {
      for (const medium of media) void inspect(medium);
      changed();
    });
  }
  model.addEventListener("change", chosen);
  takeFiles();
  startCode();
  void listModels();
  changed();
}

/** Asks again after the key was changed. */
export async function listModels(): Promise<void> {
  try {
    const { data } = await askJson<{ data: Model[] }>("v1/models");
    models = data;
    model.replaceChildren(...data.map(({ id }) => make("option", { value: id }, id)));
    say(data.length === 0 ? "No model is served yet." : null);
    chosen();
  } catch (error) {
    say(wordsOf(error));
  }
}

function takeFiles(): void {
  const files = byId("files", HTMLInputElement);
  files.addEventListener("change", () => {
    void add([...files.files ?? []]);
    files.value = "";
  });
  addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData?.files ?? []];
    if (pasted.length === 0) return;
    event.preventDefault();
    void add(pasted);
  });
  const curtain = byId("drop", HTMLDivElement);
  const over = (event: DragEvent) => {
    event.preventDefault();
    curtain.hidden = false;
  };
  addEventListener("dragenter", over);
  addEventListener("dragover", over);
  addEventListener("dragleave", (event) => curtain.hidden = event.relatedTarget === null);
  addEventListener("drop", (event) => {
    event.preventDefault();
    curtain.hidden = true;
    void add([...event.dataTransfer?.files ?? []]);
  });
  byId("from-url", HTMLButtonElement).addEventListener("click", () => {
    const address = globalThis.prompt("Address of a picture or video (https:)");
    if (address !== null && address.trim() !== "") addMedium(fromAddress(address.trim()));
  });
}

async function add(files: readonly File[]): Promise<void> {
  say(null);
  for (const file of files) {
    if (/^(image|video)\//.test(file.type)) addMedium(await fromFile(file));
    else say(`${file.name} is neither a picture nor a video.`);
  }
}

function addMedium(medium: Medium): void {
  media.push(medium);
  showMedia();
  void inspect(medium);
}

async function inspect(medium: Medium): Promise<void> {
  try {
    await look(medium, model.value, maxTiles());
  } catch (error) {
    medium.isBad = true;
    medium.note = wordsOf(error);
  }
  showMedia();
}

function showMedia(): void {
  mediaList.replaceChildren(...media.map((medium) => {
    const remove = make("button", { type: "button" }, "×");
    remove.setAttribute("aria-label", `Remove ${medium.name}`);
    remove.addEventListener("click", () => {
      media = media.filter((other) => other !== medium);
      showMedia();
    });
    return make("li", {}, medium.view, remove, make("p", { className: medium.isBad ? "bad" : "" }, medium.note));
  }));
  changed();
}

/** The question changed: its code at once, its cost when the writer rests. */
function changed(): void {
  showCode(asked(), settings());
  clearTimeout(restTimer);
  restTimer = setTimeout(() => void showCost(), REST_MS);
}

async function showCost(): Promise<void> {
  const mine = ++costAsked;
  if (model.value === "" || media.some(({ isBad }) => isBad)) return void (cost.textContent = "");
  try {
    const { messages, mm_processor_kwargs } = bodyOf(asked(), settings(), ({ url }) => url);
    const body = { model: model.value, messages, mm_processor_kwargs, return_tokens: false };
    const { count, max_model_len } = await askJson<{ count: number; max_model_len: number }>("v1/tokenize", body);
    if (mine === costAsked) cost.textContent = `${count} of ${max_model_len} tokens`;
  } catch {
    // Told when it is sent.
    if (mine === costAsked) cost.textContent = "";
  }
}

async function answer(): Promise<void> {
  if (running !== null) return;
  const now = asked();
  const question = now.at(-1)!;
  running = new AbortController();
  setBusy(true);
  say(null);
  showTurn("You", question.text, question.media, "user");
  const words = showTurn(model.value, "", [], "assistant");
  let text = "";
  try {
    const body = {
      ...bodyOf(now, settings(), ({ url }) => url),
      stream: true,
      stream_options: { include_usage: true },
    };
    prompt.value = "";
    media = [];
    showMedia();
    let numTokens = 0;
    let timings: Record<string, number> | null = null;
    for await (const item of items(await ask("v1/chat/completions", body, running.signal))) {
      const choices = item["choices"] as { delta: { content?: string } }[];
      text += choices[0]?.delta.content ?? "";
      const isFollowed = hiddenBelow(words) <= 0;
      words.textContent = text;
      // Whoever has scrolled up to read stays there.
      if (isFollowed) showEnd(words);
      timings = (item["tessera"] as { timings: Record<string, number> } | undefined)?.timings ?? timings;
      numTokens = (item["usage"] as { completion_tokens: number } | null | undefined)?.completion_tokens ?? numTokens;
    }
    turns = [...now, { role: "assistant", text, media: [] }];
    if (timings !== null) byId("timings", HTMLDivElement).replaceChildren(timingsView(timings, numTokens));
  } catch (error) {
    // What was said so far stays; a question without any answer comes back to the composer.
    if (text === "") {
      turnsList.lastElementChild?.remove();
      turnsList.lastElementChild?.remove();
      prompt.value = question.text;
      media = [...question.media];
      showMedia();
    } else {
      turns = [...now, { role: "assistant", text, media: [] }];
    }
    if (!running.signal.aborted) say(wordsOf(error));
  }
  running = null;
  setBusy(false);
  changed();
  prompt.focus();
}

function showTurn(who: string, text: string, shown: readonly Medium[], kind: Turn["role"]): HTMLElement {
  byId("welcome", HTMLDivElement).hidden = true;
  const words = make("p", { className: "words" }, text);
  const figures = shown.map(({ view, note }) => make("figure", {}, view, make("figcaption", {}, note)));
  turnsList.append(make("li", { className: kind }, make("p", { className: "who" }, who), ...figures, words));
  showEnd(words);
  return words;
}

/** How many pixels of the words' end are out of sight: below the window, or behind the composer. */
function hiddenBelow(words: HTMLElement): number {
  const end = Math.min(innerHeight, byId("composer", HTMLFormElement).getBoundingClientRect().top);
  return words.getBoundingClientRect().bottom - end;
}

function showEnd(words: HTMLElement): void {
  const numHidden = hiddenBelow(words);
  if (numHidden > 0) scrollBy(0, numHidden + 16);
}

function startAnew(): void {
  turns = [];
  turnsList.replaceChildren();
  byId("welcome", HTMLDivElement).hidden = false;
  fresh.hidden = true;
  changed();
  prompt.focus();
}

function setBusy(isBusy: boolean): void {
  send.disabled = isBusy;
  stop.hidden = !isBusy;
  fresh.hidden = isBusy || turnsList.childElementCount === 0;
}

function say(words: string | null): void {
  fault.hidden = words === null;
  fault.textContent = words ?? "";
  if (words !== null) fault.scrollIntoView({ block: "nearest" });
}

function wordsOf(error: unknown): string {
  if (error instanceof ApiError && error.status === 401) return `${error.message} Set one with the button "API key".`;
  return error instanceof Error ? error.message : String(error);
}
