/** A worker killed while it decodes a video: another decodes it, the client sees nothing of it, and nothing stays. */
import assert from "node:assert/strict";
import { ensureFfmpeg } from "@tessera/infra/ffmpeg";
import { writeMotion } from "./modes.ts";
import { post, withStack } from "./shared_stack.ts";

// Whose child a process is, /proc says.
const ignore = Deno.build.os !== "linux";

Deno.test(
  "a worker killed in the middle of a video: another one decodes it, and nothing stays",
  { ignore },
  async () => {
    const folder = await Deno.makeTempDir();
    // The first that is asked to decode reads a second's frames in ten.
    const slow =
      `echo $$ > "${folder}/slow/new"; mv "${folder}/slow/new" "${folder}/slow/pid"; set -- -readrate 0.1 "$@"`;
    const script = `#!/bin/sh
case "$*" in *image2pipe*) if mkdir "${folder}/slow" 2>/dev/null; then ${slow}; fi ;; esac
exec "${await ensureFfmpeg()}" "$@"
`;
    await Deno.writeTextFile(`${folder}/ffmpeg`, script, { mode: 0o755 });
    await writeMotion(`${folder}/motion.mp4`);
    const url = `data:video/mp4;base64,${(await Deno.readFile(`${folder}/motion.mp4`)).toBase64()}`;
    const video = { type: "video_url", video_url: { url } };
    const content = [video, { type: "text", text: "Which way does the shape move?" }];
    const env = { TESSERA_FFMPEG: `${folder}/ffmpeg`, TMPDIR: folder };

    await withStack({ numWorkers: 2, env }, async (stack) => {
      const answer = post(stack.url, { model: "internvl3-tiny", messages: [{ role: "user", content }] });
      const decoder = Number(await eventually(() => Deno.readTextFile(`${folder}/slow/pid`).catch(() => null)));
      const status = await Deno.readTextFile(`/proc/${decoder}/status`);
      const victim = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
      assert.ok(stack.workerPids().includes(victim), status);
      Deno.kill(victim, "SIGKILL");
      const { status: code, json } = await answer;
      assert.equal(code, 200, JSON.stringify(json));
      assert.equal(json.choices[0].message.content, "To the right.");

      // FFmpeg ends with the first frame nobody takes; the file with the worker that takes the place.
      await eventually(() => Deno.stat(`/proc/${decoder}`).then(() => null, () => true));
      await eventually(async () => (await videoFolders(folder)).length === 0 || null);
    });
    await Deno.remove(folder, { recursive: true });
  },
);

async function videoFolders(root: string): Promise<string[]> {
  const names = (await Array.fromAsync(Deno.readDir(root))).map(({ name }) => name);
  return names.filter((name) => name.startsWith("tessera-video-"));
}

/** What `look` finds, as soon as it finds something. */
async function eventually<T>(look: () => Promise<T | null>): Promise<T> {
  for (let i = 0; i < 1_200; i++) {
    const found = await look();
    if (found !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("Waited a minute");
}
