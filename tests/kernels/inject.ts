/**
 * Puts faults into the engine's CUDA kernels and proves on the emulated GPU that each is noticed, by the build that is to
 * notice it: `deno task faults:kernels [part of a name]`. Exit code 1 where one is not.
 */
import { changeOf, KERNEL_FAULTS } from "./faults.ts";
import { openCourt, type Verdict } from "./judge.ts";

/** Of each fault whose name contains `part`, what became of it; two at a time. */
export async function injectFaults(
  part: string | ((name: string) => boolean),
  progress: (line: string) => void,
): Promise<{ name: string; foundBy: string; verdict: Verdict }[]> {
  const courts = { fast: openCourt(["fast"]), sanitize: openCourt(["sanitize"]), race: openCourt(["race"]) };
  const wanted = typeof part === "string" ? (name: string) => name.includes(part) : part;
  const queue = KERNEL_FAULTS.filter(({ name }) => wanted(name));
  const results: { name: string; foundBy: string; verdict: Verdict }[] = [];
  const work = async () => {
    for (let fault = queue.shift(); fault !== undefined; fault = queue.shift()) {
      const judge = await courts[fault.foundBy];
      const verdict = await judge(await changeOf(fault));
      const how = "how" in verdict ? verdict.how : "";
      progress(
        `${verdict.outcome.padEnd(8)} ${fault.foundBy.padEnd(8)} ${fault.name}${how === "" ? "" : `\n    ${how}`}`,
      );
      results.push({ name: fault.name, foundBy: fault.foundBy, verdict });
    }
  };
  await Promise.all([work(), work()]);
  return results;
}

if (import.meta.main) {
  const results = await injectFaults(Deno.args[0] ?? "", console.log);
  const caught = results.filter(({ verdict }) => verdict.outcome === "caught").length;
  console.log(`${caught} of ${results.length} faults caught`);
  if (results.length === 0 || caught < results.length) Deno.exit(1);
}
