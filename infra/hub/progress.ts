/** How far a pull is: one line that redraws itself on a terminal, a line now and then elsewhere. */

const BAR = 24;
const REDRAW_MS = 100;
const LINE_MS = 10_000;
/** Time over which the speed is taken. */
const WINDOW_MS = 5_000;

export interface ProgressSink {
  readonly isTerminal: boolean;
  readonly columns: number;
  write(text: string): void;
}

export class Progress {
  readonly #sink: ProgressSink;
  readonly #total: number;
  readonly #now: () => number;
  readonly #samples: { at: number; done: number }[] = [];
  #done = 0;
  #shownAt = -Infinity;
  #isDrawn = false;

  constructor(total: number, sink: ProgressSink, now: () => number = () => performance.now()) {
    this.#total = total;
    this.#sink = sink;
    this.#now = now;
  }

  get done(): number {
    return this.#done;
  }

  add(delta: number): void {
    this.#done += delta;
    const now = this.#now();
    if (now - this.#shownAt < (this.#sink.isTerminal ? REDRAW_MS : LINE_MS)) return;
    this.#show(now);
  }

  /** Bytes that were there before: no speed comes of them. */
  skip(bytes: number): void {
    this.#done += bytes;
    this.#samples.length = 0;
  }

  /** A line of its own above the bar. */
  say(line: string): void {
    this.#sink.write(`${this.#isDrawn ? "\r\x1b[K" : ""}${line}\n`);
    this.#isDrawn = false;
  }

  finish(): void {
    this.#show(this.#now());
    if (this.#isDrawn) this.#sink.write("\n");
    this.#isDrawn = false;
  }

  #show(now: number): void {
    this.#shownAt = now;
    this.#samples.push({ at: now, done: this.#done });
    while (this.#samples.length > 2 && this.#samples[0]!.at < now - WINDOW_MS) this.#samples.shift();
    const share = this.#total === 0 ? 1 : this.#done / this.#total;
    const percent = `${Math.floor(share * 100)}`.padStart(3);
    const text = `${percent} %  ${bytesText(this.#done)} of ${bytesText(this.#total)}${this.#speed(now)}`;
    if (!this.#sink.isTerminal) return this.#sink.write(`${text.trimStart()}\n`);
    const filled = Math.round(Math.min(1, Math.max(0, share)) * BAR);
    const bar = `${"█".repeat(filled)}${"░".repeat(BAR - filled)} `;
    this.#sink.write(`\r\x1b[K${bar}${text}`.slice(0, this.#sink.columns + 4));
    this.#isDrawn = true;
  }

  #speed(now: number): string {
    const first = this.#samples[0]!;
    const seconds = (now - first.at) / 1_000;
    const perSecond = (this.#done - first.done) / seconds;
    if (!(seconds > 0.5) || perSecond <= 0) return "";
    return `  ${bytesText(perSecond)}/s  ${durationText((this.#total - this.#done) / perSecond)} left`;
  }
}

/** `1.9 GB`: decimal units, as disks and hubs count. */
export function bytesText(bytes: number): string {
  let value = bytes;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (Math.abs(value) < 999.5 || unit === "TB") {
      return `${unit === "B" || value >= 1_000 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
    }
    value /= 1_000;
  }
  throw new RangeError(`Cannot write ${bytes} bytes`);
}

function durationText(seconds: number): string {
  const whole = Math.ceil(seconds);
  const pad = (n: number) => `${n}`.padStart(2, "0");
  if (whole < 3_600) return `${Math.floor(whole / 60)}:${pad(whole % 60)}`;
  return `${Math.floor(whole / 3_600)}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
}
