/** Asks a running server each mode's cases over HTTP and counts right answers, whole and streamed. */
import { type Case, type Mode, MODES } from "./modes.ts";
import { Draw } from "./scenes/draw.ts";

export interface MeasureOptions {
  /** The server, without /v1. */
  readonly url: string;
  readonly model: string;
  readonly seed: number;
  /** Cases of each mode. */
  readonly count: number;
  /** Modes whose name contains this alone. */
  readonly only?: string;
  /** Modes with a floor alone. */
  readonly hasFloor?: boolean;
  /** Every case whole and streamed; else they take turns. */
  readonly bothWays: boolean;
  readonly onWrong?: (line: string) => void;
}

export interface Rate {
  readonly mode: Mode;
  readonly whole: Tally;
  readonly streamed: Tally;
}

export interface Tally {
  right: number;
  of: number;
}

const CONCURRENCY = 4;
/** Of a request, on a machine that does much else. */
const TIMEOUT_MS = 300_000;
const HEADERS = { "content-type": "application/json" };

/** Percent of both. */
export function percentRight({ whole, streamed }: Rate): number {
  return 100 * (whole.right + streamed.right) / (whole.of + streamed.of);
}

/** @throws Error when a request fails; a wrong answer is counted */
export async function* measure(options: MeasureOptions): AsyncGenerator<Rate> {
  const isAsked = ({ name, floor }: Mode) =>
    name.includes(options.only ?? "") && (floor !== null || options.hasFloor !== true);
  for (const mode of MODES.filter(isAsked)) {
    const rate: Rate = { mode, whole: { right: 0, of: 0 }, streamed: { right: 0, of: 0 } };
    const count = (given: Case, answer: string, isStreamed: boolean) => {
      const tally = isStreamed ? rate.streamed : rate.whole;
      tally.of++;
      const { question, answer: expected } = given.rounds.at(-1)!;
      if (answer === expected) tally.right++;
      else options.onWrong?.(`${mode.name}: ${question}\n  expected ${expected}\n  answered ${answer}`);
    };
    const ways = (index: number) => options.bothWays ? [false, true] : [index % 2 === 1];
    const make = (index: number) => mode.make(new Draw(options.seed, `${mode.name} ${index}`), index);
    if (mode.isBatch) {
      const cases = await Promise.all(Array.from({ length: options.count }, (_, index) => make(index)));
      for (const isStreamed of options.bothWays ? [false, true] : [false]) {
        const answers = await askBatch(options, cases, isStreamed);
        cases.forEach((given, i) => count(given, answers[i]!, isStreamed));
      }
    } else {
      await eachIndex(options.count, async (index) => {
        const given = await make(index);
        for (const isStreamed of ways(index)) count(given, await converse(options, given, isStreamed), isStreamed);
      });
    }
    yield rate;
  }
}

async function eachIndex(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
}

/** The messages up to the first question. */
function opening({ media, rounds }: Case): unknown[] {
  const { question } = rounds[0]!;
  return [{ role: "user", content: media.length === 0 ? question : [...media, { type: "text", text: question }] }];
}

/** Asks round by round, each answer becoming history. @returns the last one */
async function converse(options: MeasureOptions, given: Case, isStreamed: boolean): Promise<string> {
  const messages = opening(given);
  for (const { question } of given.rounds.slice(1)) {
    const answer = await complete(options, { messages, ...given.fields }, isStreamed);
    messages.push({ role: "assistant", content: answer }, { role: "user", content: question });
  }
  return await complete(options, { messages, ...given.fields }, isStreamed);
}

async function complete(options: MeasureOptions, body: Record<string, unknown>, isStreamed: boolean): Promise<string> {
  const fields = { model: options.model, temperature: 0, max_tokens: 100, stream: isStreamed, ...body };
  const response = await post(`${options.url}/v1/chat/completions`, fields);
  if (!isStreamed) return (await response.json()).choices[0].message.content;
  const chunks = await events(response);
  const failed = chunks.find(({ error }) => error !== undefined);
  if (failed !== undefined) throw new Error(`The stream broke off: ${failed.error.message}`);
  return chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
}

/** @returns answers in the order of the cases; a batch's stream gives them as they come, with their index */
async function askBatch(options: MeasureOptions, cases: readonly Case[], isStreamed: boolean): Promise<string[]> {
  const requests = cases.map((given) => ({ messages: opening(given), ...given.fields }));
  const body = { model: options.model, temperature: 0, max_tokens: 100, stream: isStreamed, requests };
  const response = await post(`${options.url}/v1/batch/chat/completions`, body);
  const items = isStreamed ? await events(response) : (await response.json()).data;
  // deno-lint-ignore no-explicit-any -- JSON
  const ordered = isStreamed ? items.toSorted((a: any, b: any) => a.index - b.index) : items;
  // deno-lint-ignore no-explicit-any -- JSON
  return ordered.map((item: any) => item.choices?.[0].message.content ?? `(${item.error.message})`);
}

async function post(url: string, body: unknown): Promise<Response> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(url, { method: "POST", headers: HEADERS, body: JSON.stringify(body), signal });
  if (!response.ok) throw new Error(`Cannot ask ${url}: status ${response.status}, ${await response.text()}`);
  return response;
}

// deno-lint-ignore no-explicit-any -- JSON
async function events(response: Response): Promise<any[]> {
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith("data: "));
  if (lines.pop() !== "data: [DONE]") throw new Error("The stream ended without [DONE]");
  return lines.map((line) => JSON.parse(line.slice("data: ".length)));
}
