/** What people see in the terminal: colours where there is one, and progress of long steps. */

const isTty = Deno.stdout.isTerminal() && Deno.env.get("NO_COLOR") === undefined;
const paint = (code: number) => (text: string) => isTty ? `\x1b[${code}m${text}\x1b[0m` : text;

export const bold = paint(1);
export const dim = paint(2);
export const red = paint(31);
export const green = paint(32);
export const yellow = paint(33);

const encoder = new TextEncoder();

/** Writes text as it is, with no newline. */
export function write(text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
}

/** Runs a long step: says what it is, then how long it took. Lines the step reports appear below it. */
export async function step<T>(title: string, work: (progress: (line: string) => void) => Promise<T>): Promise<T> {
  const start = performance.now();
  console.log(`${dim("·")} ${title}`);
  try {
    const result = await work((line) => console.log(dim(`    ${line}`)));
    console.log(`${green("✓")} ${title} ${dim(`${((performance.now() - start) / 1_000).toFixed(1)} s`)}`);
    return result;
  } catch (error) {
    console.log(`${red("✗")} ${title}`);
    throw error;
  }
}

/** A JSON log line as a person reads it; any other line as it is. On a terminal alone: pipes get the JSON. */
export function readableLog(line: string): string {
  if (!isTty || !line.startsWith("{")) return line;
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { time, level, event, ...rest } = fields;
  const tail = Object.entries(rest).map(([key, value]) =>
    `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`
  );
  const clock = typeof time === "string" ? time.slice(11, 23) : "";
  const name = level === "error" || level === "warn" ? red(String(event)) : String(event);
  return `${dim(clock)} ${name} ${dim(tail.join(" "))}`;
}

/** Prints an error as a person wants it: its message, no stack, and ends with code 1. */
export function fail(error: unknown): never {
  console.error(red(error instanceof Error ? error.message : String(error)));
  Deno.exit(1);
}
