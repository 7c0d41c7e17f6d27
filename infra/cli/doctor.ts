/** `tessera doctor`: what this machine has, what is missing, and how to get it. */
import { parseArgs } from "node:util";
import { examine, type Finding } from "../doctor/checks.ts";
import { thisMachine } from "../doctor/machine.ts";
import { bold, dim, green, red, yellow } from "../tools/terminal.ts";

const HELP = `Usage: deno task tessera doctor [--json]

Checks programs, processor, memory, disk, port, model and GPU for what the variables in the environment ask for.
Ends with code 1 when something is missing that keeps Tessera from running.
`;

/** Runs the command; returns the exit code. */
export async function doctorCommand(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { json: { type: "boolean", default: false }, help: { type: "boolean", short: "h", default: false } },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const findings = await examine(thisMachine());
  const missing = findings.filter(({ status }) => status === "missing");
  if (values.json) console.log(JSON.stringify(findings, null, 2));
  else {
    for (const finding of findings) console.log(findingText(finding));
    const verdict = missing.length === 0 ? "Ready." : `Missing: ${missing.map(({ name }) => name).join(", ")}.`;
    console.log(`\n${bold(verdict)}`);
  }
  return missing.length === 0 ? 0 : 1;
}

function findingText({ name, status, found, remedy }: Finding): string {
  const mark = { ok: green("✓"), note: yellow("!"), missing: red("✗") }[status];
  const line = `${mark} ${name.padEnd(13)} ${found}`;
  return remedy === undefined ? line : `${line}\n${" ".repeat(16)}${dim(remedy)}`;
}
