/** The playground in a real browser on a real stack: a picture is dropped, its words stream in, everybody can use it. */
import { type Browser as Chromium, ensureBrowser } from "@tessera/infra/browser";
import axe from "axe-core";
import assert from "node:assert/strict";
import { type Browser, chromium, type Page } from "playwright-core";
import { demoPictures, withStack } from "../e2e/shared_stack.ts";

const program: Chromium | null = await ensureBrowser().catch((error) => {
  console.warn(`Pages are not tested: ${error.message}`);
  return null;
});
/** Where pictures for the README go, when they are asked for. */
const SHOTS = Deno.env.get("TESSERA_SCREENSHOTS") ?? "";

async function withBrowser(body: (browser: Browser) => Promise<void>): Promise<void> {
  const env = { ...Deno.env.toObject(), ...program!.env };
  const browser = await chromium.launch({ executablePath: program!.path, args: ["--no-sandbox"], env });
  try {
    await body(browser);
  } finally {
    await browser.close();
  }
}

/** A page of which every complaint is a fault of the test. */
async function openPage(browser: Browser, url: string, options: Parameters<Browser["newContext"]>[0] = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("requestfailed", (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(url)) {
      complaints.push(`asks ${request.url()}`);
    }
  });
  await page.goto(url);
  await page.waitForFunction(`document.querySelector("#model").options.length > 0`);
  return { page, complaints };
}

/** What axe finds wrong, by rule and place. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  return await page.evaluate(`axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target }) => id + " at " + target)))`);
}

/** Drops a file on the page as a person does. */
async function drop(page: Page, name: string, type: string, bytes: Uint8Array): Promise<void> {
  const transfer = await page.evaluateHandle(
    `(() => {
      const transfer = new DataTransfer();
      const bytes = Uint8Array.from(atob(${JSON.stringify(bytes.toBase64())}), (c) => c.charCodeAt(0));
      transfer.items.add(new File([bytes], ${JSON.stringify(name)}, { type: ${JSON.stringify(type)} }));
      return transfer;
    })()`,
  );
  await page.dispatchEvent("body", "dragenter", { dataTransfer: transfer });
  assert.ok(await page.isVisible("#drop"));
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
  assert.ok(await page.isHidden("#drop"));
}

const shot = async (page: Page, name: string) => {
  if (SHOTS !== "") await page.screenshot({ path: `${SHOTS}/${name}.png` });
};

Deno.test({ name: "playground: in a browser", ignore: program === null }, async (t) => {
  const pictures = await demoPictures();
  const word = pictures.find(({ name }) => name === "word.png")!;
  await withStack({}, async ({ url }) => {
    await withBrowser(async (browser) => {
      const { page, complaints } = await openPage(browser, url);

      await t.step("a dropped picture shows its tiles and its cost, and gets its caption", async () => {
        await drop(page, word.name, "image/png", await Deno.readFile(word.path));
        await page.waitForSelector("#media p:has-text('720 × 480: 2 × 1 tiles and the whole, 48 tokens')");
        await page.waitForSelector("#cost:has-text('of 4096 tokens')");
        assert.match(await page.getAttribute("#media canvas", "aria-label") ?? "", /^word\.png: 720/);
        assert.match(await page.textContent("#code") ?? "", /\$\(base64 < word\.png/);
        await shot(page, "playground-before");
        await page.press("#prompt", "Enter");
        await page.waitForSelector("#timings .bar");
        assert.equal(await page.textContent("#turns li.assistant .words"), word.caption);
        await shot(page, "playground");
      });

      await t.step("a second question of the same talk; with the keyboard alone", async () => {
        await page.setViewportSize({ width: 1280, height: 500 });
        await page.focus("#prompt");
        await page.keyboard.type("What word is in the picture?");
        await page.keyboard.press("Enter");
        await page.waitForFunction(`document.querySelectorAll("#turns li.assistant").length === 2`);
        await page.waitForSelector("#send:enabled");
        assert.match(await page.textContent("#turns li.assistant:last-child .words") ?? "", /SUN/);
        const bottomOf = (selector: string) => `document.querySelector("${selector}").getBoundingClientRect().bottom`;
        const topOfComposer = `document.querySelector("#composer").getBoundingClientRect().top`;
        const isInSight = `${bottomOf("#turns li:last-child .words")} <= ${topOfComposer}`;
        assert.ok(await page.evaluate(isInSight), "the composer hides the answer");
        await page.setViewportSize({ width: 1280, height: 860 });
      });

      await t.step("the request as code, in three languages", async () => {
        await page.focus("#tab-curl");
        await page.keyboard.press("ArrowRight");
        assert.match(await page.textContent("#code") ?? "", /from openai import OpenAI/);
        await page.keyboard.press("ArrowRight");
        assert.match(await page.textContent("#code") ?? "", /import OpenAI from "openai"/);
        assert.equal(await page.getAttribute("#tab-TypeScript", "aria-selected"), "true");
      });

      await t.step("a picture that cannot be used says why, and can be taken out", async () => {
        await drop(page, "notes.pdf", "application/pdf", new TextEncoder().encode("%PDF"));
        assert.match(await page.textContent("#fault") ?? "", /^notes\.pdf is neither/);
        await drop(page, "broken.png", "image/png", new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]));
        await page.waitForSelector("#media p.bad");
        assert.ok(await page.isHidden("#fault"), "what was wrong before is over");
        await page.click("#media button");
        await page.waitForFunction(`document.querySelectorAll("#media li").length === 0`);
      });

      await t.step("the fleet's page and the jobs' page", async () => {
        await page.click("nav >> text=Fleet");
        await page.waitForSelector("#fleet td:has-text('internvl3-tiny')");
        await shot(page, "fleet");
        assert.deepEqual(await violations(page), []);
        const job = await fetch(`${url}/v1/captions`, {
          method: "POST",
          headers: { "content-type": "application/json", prefer: "wait=10" },
          body: JSON.stringify({ image: word.url, preset: "short" }),
        });
        const { id } = await job.json() as { id: string };
        const both = await fetch(`${url}/v1/captions`, {
          method: "POST",
          headers: { "content-type": "application/json", prefer: "wait=20" },
          body: JSON.stringify({ images: [word.url, "data:image/png;base64,AAAA", word.url], preset: "short" }),
        });
        const { id: idOfBoth } = await both.json() as { id: string };
        await page.click("nav >> text=Jobs");
        await page.waitForSelector(`#jobs tr:has-text("${id}") td.good:has-text("succeeded")`);
        await page.waitForSelector(`#jobs tr:has-text("${idOfBoth}") ol li:nth-child(3)`);
        await shot(page, "jobs");
        assert.deepEqual(await violations(page), []);
        await page.click("nav >> text=Playground");
      });

      await t.step("no barrier for anybody, in light and in dark", async () => {
        assert.deepEqual(await violations(page), []);
        await page.click("#theme-button");
        assert.equal(await page.evaluate(`getComputedStyle(document.body).backgroundColor`), "rgb(18, 22, 28)");
        assert.deepEqual(await violations(page), []);
        await shot(page, "playground-dark");
      });

      // A refused request is told to the visitor, and the browser notes it too.
      assert.deepEqual(complaints.filter((text) => !/status of 4\d\d/.test(text)), []);
      await page.close();

      await t.step("a small screen: nothing is wider than it", async () => {
        const small = await openPage(browser, url, { viewport: { width: 360, height: 740 } });
        await drop(small.page, word.name, "image/png", await Deno.readFile(word.path));
        await small.page.waitForSelector("#media p:has-text('tokens')");
        assert.equal(await small.page.evaluate(`document.documentElement.scrollWidth`), 360);
        assert.deepEqual(await violations(small.page), []);
        await shot(small.page, "playground-small");
        assert.deepEqual(small.complaints, []);
      });
    });
  });
});
