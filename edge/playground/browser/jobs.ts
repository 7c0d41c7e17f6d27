/** The jobs' page: captions that were asked for, how far they are, and what became of their webhooks. */
import { ApiError, askJson } from "./api.ts";
import { byId, make, milliseconds } from "./dom.ts";

interface Caption {
  readonly id: string;
  readonly status: string;
  readonly model: string;
  readonly created_at: number;
  readonly outputs: readonly { readonly text: string | null; readonly error: { readonly message: string } | null }[];
  readonly error: { readonly message: string } | null;
  readonly metrics: Readonly<Record<string, number>>;
  readonly webhook: { readonly url: string } | null;
}

interface Delivery {
  readonly type: string;
  readonly state: string;
  readonly num_attempts: number;
  readonly attempts: readonly { readonly status: number | null; readonly error: string | null }[];
}

interface Page<T> {
  readonly data: readonly T[];
  readonly has_more?: boolean;
  readonly last_id?: string | null;
}

const EVERY_MS = 3_000;
const PAGE_SIZE = 20;
/** Ids of the pages before the one that is shown; the first has none. */
let trail: string[] = [];

/** Until `signal` aborts. */
export async function showJobs(signal: AbortSignal): Promise<void> {
  const place = byId("jobs", HTMLDivElement);
  trail = [];
  while (!signal.aborted) {
    try {
      const after = trail.at(-1);
      const query = `limit=${PAGE_SIZE}${after === undefined ? "" : `&after=${encodeURIComponent(after)}`}`;
      const page = await askJson<Page<Caption>>(`v1/captions?${query}`, undefined, signal);
      // An open list of deliveries is being read.
      if (place.querySelector("details[open]") === null) place.replaceChildren(...view(page, () => restart(signal)));
    } catch (error) {
      if (signal.aborted) return;
      place.replaceChildren(make("p", { className: "bad" }, error instanceof Error ? error.message : String(error)));
    }
    await pause(signal);
  }
}

let wake = () => {};

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    wake = resolve;
    setTimeout(resolve, EVERY_MS);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function restart(signal: AbortSignal): void {
  byId("jobs", HTMLDivElement).replaceChildren();
  if (!signal.aborted) wake();
}

function view({ data, has_more, last_id }: Page<Caption>, again: () => void): HTMLElement[] {
  if (data.length === 0) {
    return [
      make("p", { className: "faint" }, "No captions yet. ", make("code", {}, "POST /v1/captions"), " makes one."),
    ];
  }
  const head = ["Job", "State", "Caption", "Time", "Webhook"].map((name) => {
    const cell = make("th", {}, name);
    cell.scope = "col";
    return cell;
  });
  const table = make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...data.map(row)),
  );
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Jobs, newest first");
  const newer = make("button", { type: "button", disabled: trail.length === 0 }, "Newer");
  const older = make("button", { type: "button", disabled: has_more !== true }, "Older");
  newer.addEventListener("click", () => (trail.pop(), again()));
  older.addEventListener("click", () => (trail.push(last_id!), again()));
  return [scroll, make("p", { className: "row" }, newer, older)];
}

function row(caption: Caption): HTMLElement {
  const { id, status, metrics, webhook, created_at } = caption;
  const state = { succeeded: "good", failed: "bad", expired: "bad" }[status] ?? "";
  const when = make("time", {}, new Date(created_at * 1000).toLocaleString());
  when.dateTime = new Date(created_at * 1000).toISOString();
  const total = metrics["total_ms"];
  return make(
    "tr",
    {},
    make("td", {}, make("code", {}, id), make("br"), make("span", { className: "faint" }, when)),
    make("td", { className: state }, status),
    make("td", {}, texts(caption)),
    make("td", {}, total === undefined ? "—" : milliseconds(total)),
    make("td", {}, webhook === null ? "—" : deliveries(id, webhook.url)),
  );
}

/** One text as it is, several as a list. */
function texts({ outputs, error }: Caption): HTMLElement | string {
  const told = outputs.map(({ text, error }) => text ?? error?.message ?? "—");
  if (told.length < 2) return outputs[0]?.text ?? error?.message ?? "—";
  return make("ol", {}, ...told.map((text) => make("li", {}, text)));
}

function deliveries(id: string, url: string): HTMLElement {
  const list = make("ul", {});
  const details = make("details", {}, make("summary", {}, hostOf(url)), list);
  details.addEventListener("toggle", () => details.open && void fill(list, id));
  return details;
}

async function fill(list: HTMLUListElement, id: string): Promise<void> {
  list.replaceChildren(make("li", { className: "faint" }, "Looking …"));
  try {
    const { data } = await askJson<Page<Delivery>>(`v1/captions/${encodeURIComponent(id)}/deliveries`);
    list.replaceChildren(...data.map(({ type, state, num_attempts: number, attempts }) => {
      const last = attempts.at(-1);
      const outcome = last === undefined ? "" : `, last ${last.status ?? last.error}`;
      return make("li", {}, `${type}: ${state}, ${number} ${number === 1 ? "attempt" : "attempts"}${outcome}`);
    }));
    if (data.length === 0) list.replaceChildren(make("li", { className: "faint" }, "Nothing was sent yet."));
  } catch (error) {
    list.replaceChildren(make("li", { className: "bad" }, error instanceof ApiError ? error.message : String(error)));
  }
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? url;
}
