/** `deno task test` runs every test file once, and is red where anything in a lane is. */
import assert from "node:assert/strict";
import { ROOT } from "../../infra/tools/paths.ts";
import { run } from "../../infra/tools/process.ts";
import { add, readCounts, summary } from "../../infra/tools/suite/counts.ts";
import { groupFiles, listTestFiles } from "../../infra/tools/suite/groups.ts";
import { type Job, runFailedAgain, runLanes } from "../../infra/tools/suite/lanes.ts";

Deno.test("suite: every test file that deno test would take is in one group", async () => {
  const files = await listTestFiles(ROOT);
  const groups = groupFiles(files);
  assert.deepEqual(groups.flatMap((group) => group.files).sort(), files);
  const known = (await run("git", ["ls-files", "--", "*_test.ts"], { cwd: ROOT })).trimEnd().split("\n");
  for (const file of known) assert.ok(files.includes(file), file);
  assert.equal(groups[0]!.name, "tests/native_kernels_test.ts");
  assert.ok(groups.every(({ files, name }) => files.every((file) => file.startsWith(name))));
  assert.ok(files.every((file) => !/node_modules|^\.tessera|^native\/build/.test(file)));
});

Deno.test("suite: what deno test says at its end is read and added up", () => {
  const printed =
    "\x1b[31mFAILED\x1b[0m | 1031 passed (275 steps) | 1 failed (2 steps) | 3 ignored \x1b[2m(12m15s)\x1b[0m\n";
  const counts = readCounts(`a test prints\nok | 1 passed | 0 failed (1ms)\n${printed}`)!;
  assert.equal(counts.passed, 1031);
  const sum = add(counts, readCounts("ok | 4 passed | 0 failed (3s)")!);
  assert.equal(summary(sum, false, 75), "FAILED | 1035 passed (275 steps) | 1 failed (2 steps) | 3 ignored (1m15s)");
  assert.equal(readCounts("running 3 tests from ./a_test.ts\na ... ok (1ms)\n"), undefined);
});

/** Makes jobs of test files in a folder of their own. */
async function withJobs(body: (job: (name: string, text: string) => Promise<Job>) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tessera-suite-" });
  try {
    await body(async (name, text) => {
      const path = `${folder}/${name}_test.ts`;
      await Deno.writeTextFile(path, text);
      return { name, args: ["test", "--allow-all", "--no-check", "--no-config", path], isTest: true };
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const FAILING = `Deno.test("a", () => {}); Deno.test("b", () => { throw new Error("no"); });`;

Deno.test("suite: a lane ends with all jobs run; one that fails, crashes or runs no test is red", () =>
  withJobs(async (job) => {
    const computing = [
      await job("passes", `Deno.test("a", () => {}); Deno.test({ name: "b", ignore: true, fn: () => {} });`),
      await job("fails", FAILING),
    ];
    const waiting = [
      await job("crashes", `Deno.test("a", () => { Deno.kill(Deno.pid, "SIGKILL"); });`),
      await job("leaves", `Deno.test("a", async (t) => { await t.step("s", () => {}); });`),
      { name: "refused", args: ["check", "nowhere.ts"], isTest: false },
    ];
    for (const numLanes of [1, 3] as const) {
      const printed: string[] = [];
      const results = await runLanes({ computing, waiting, numLanes }, (text) => printed.push(text));
      const outcome = Object.fromEntries(
        results.map(({ job, isOk, counts }) => [job.name, [isOk, counts?.passed, counts?.failed, counts?.ignored]]),
      );
      assert.deepEqual(outcome, {
        passes: [true, 1, 0, 1],
        fails: [false, 1, 1, 0],
        crashes: [false, undefined, undefined, undefined],
        leaves: [true, 1, 0, 0],
        refused: [false, undefined, undefined, undefined],
      });
      assert.equal(results.length, computing.length + waiting.length);
      assert.match(printed.join("\n"), /no/);
    }
  }));

Deno.test("suite: what waits and failed is run once more alone, and is green if it passes then", () =>
  withJobs(async (job) => {
    // The first run leaves something behind by which the second one knows itself.
    const passesLater = `const seen = import.meta.filename + ".seen";
      const isSecond = await Deno.stat(seen).then(() => true, () => false);
      await Deno.writeTextFile(seen, "");
      Deno.test("a", () => { if (!isSecond) throw new Error("too late"); });`;
    const jobs = [await job("recovers", passesLater), await job("fails", FAILING), await job("computes", FAILING)];
    const printed: string[] = [];
    const log = (text: string) => printed.push(text);
    const first = await runLanes({ computing: [], waiting: jobs, numLanes: 1 }, log);
    assert.deepEqual(first.map(({ isOk }) => isOk), [false, false, false]);
    const [passedAlone, last] = await runFailedAgain(first, ({ name }) => name !== "computes", log);
    assert.deepEqual(passedAlone, ["recovers"]);
    assert.deepEqual(last.map(({ isOk }) => isOk), [true, false, false]);
    assert.ok(printed.includes("Once more, alone: fails"));
    assert.ok(!printed.includes("Once more, alone: computes"));
  }));
