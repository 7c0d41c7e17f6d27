/** Prints how often the embedded model answers each mode rightly on scenes it has never seen: `deno task quality --help`. */
import { startStack } from "@tessera/infra/stack";
import { parseArgs } from "node:util";
import { measure, percentRight, type Tally } from "./measure.ts";

const USAGE = `usage: deno task quality [flags]
  --url URL        a running server (default: one is started)
  --model NAME     (default internvl3-tiny)
  --count N        cases of each mode, each asked whole and streamed (default 200)
  --seed N         (default 1)
  --only TEXT      modes whose name contains it
  --wrong          prints the wrong answers`;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    url: { type: "string" },
    model: { type: "string", default: "internvl3-tiny" },
    count: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    wrong: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  Deno.exit(0);
}

const stack = values.url === undefined ? await startStack({ port: 0 }) : null;
try {
  console.log(`${"mode".padEnd(42)}${"whole".padStart(10)}${"streamed".padStart(10)}${"percent".padStart(9)}  floor`);
  const cell = ({ right, of }: Tally) => `${right}/${of}`.padStart(10);
  let isBelow = false;
  const options = {
    url: (values.url ?? stack!.url).replace(/\/$/, ""),
    model: values.model,
    seed: Number(values.seed),
    count: Number(values.count),
    only: values.only,
    bothWays: true,
    ...values.wrong ? { onWrong: console.log } : {},
  };
  for await (const rate of measure(options)) {
    const { mode: { name, floor }, whole, streamed } = rate;
    const percent = percentRight(rate);
    isBelow ||= floor !== null && percent < floor;
    console.log(`${name.padEnd(42)}${cell(whole)}${cell(streamed)}${percent.toFixed(1).padStart(9)}  ${floor ?? "-"}`);
  }
  if (isBelow) Deno.exitCode = 1;
} finally {
  await stack?.stop();
}
