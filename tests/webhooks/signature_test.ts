/** Signatures as the specification's own package makes and checks them; secrets that are none show nothing of themselves. */
import assert from "node:assert/strict";
import { nextWait, parseRetryAfter } from "../../edge/webhooks/schedule.ts";
import { isSigned, parseSecret, parseSecrets, signedHeaders } from "../../edge/webhooks/signature.ts";
import { OLD_SECRET, SECRET } from "./support.ts";
import { verifyByPython } from "./verify.ts";

const BODY = '{"type":"caption.completed","data":{"text":"ein Bär, 熊, \\u0000"}}';
const bytes = new TextEncoder().encode(BODY);

Deno.test("signatures: either of two secrets verifies, another does not, nor another body, id or time", async () => {
  const headers = signedHeaders(parseSecrets(`${SECRET}, ${OLD_SECRET}`), "msg_1", Date.now(), bytes);
  assert.match(headers["webhook-signature"]!, /^v1,\S+ v1,\S+$/);
  const other = `whsec_${"A".repeat(32)}`;
  const stale = signedHeaders(parseSecrets(SECRET), "msg_1", Date.now() - 3_600_000, bytes);
  assert.deepEqual(
    (await verifyByPython([
      { secret: SECRET, headers, body: BODY },
      { secret: OLD_SECRET, headers, body: BODY },
      { secret: other, headers, body: BODY },
      { secret: SECRET, headers, body: `${BODY} ` },
      { secret: SECRET, headers: { ...headers, "webhook-id": "msg_2" }, body: BODY },
      { secret: SECRET, headers: stale, body: BODY },
    ])).map((line) => line.split(":")[0]),
    ["ok", "ok", ...new Array<string>(4).fill("WebhookVerificationError")],
  );
});

Deno.test("signatures: checked as they are made, by any secret in use", () => {
  const secrets = parseSecrets(`${SECRET},${OLD_SECRET}`);
  const headers = signedHeaders(secrets.slice(1), "msg_1", 1_750_000_000_000, bytes);
  const given = { id: "msg_1", timestamp: "1750000000", signatures: headers["webhook-signature"]! };
  assert.ok(isSigned(secrets, given, bytes));
  assert.ok(isSigned(secrets, { ...given, signatures: `v1a,abc v1,AAAA ${given.signatures}` }, bytes));
  assert.ok(!isSigned(secrets.slice(0, 1), given, bytes));
  assert.ok(!isSigned(secrets, { ...given, id: "msg_2" }, bytes));
  assert.ok(!isSigned(secrets, { ...given, timestamp: "1750000001" }, bytes));
  assert.ok(!isSigned(secrets, { ...given, signatures: given.signatures.slice("v1,".length) }, bytes));
  assert.ok(!isSigned(secrets, { ...given, signatures: "" }, bytes));
  assert.ok(!isSigned(secrets, given, bytes.subarray(1)));
});

Deno.test("secrets: what is none is refused without being shown", () => {
  assert.equal(parseSecret(SECRET).length, 24);
  for (
    const text of ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_short", "whsec_###", `whsec_${"A".repeat(200)}`]
  ) {
    assert.throws(() => parseSecret(text), (error: Error) => !error.message.includes(text.slice(6) || "none"), text);
  }
  assert.throws(() => parseSecrets([SECRET, OLD_SECRET, SECRET].join(",")), /3 secrets/);
  assert.deepEqual(parseSecrets(" , "), []);
});

Deno.test("schedule: each wait from the last, a little longer or shorter, never before the receiver's time", () => {
  const at = (random: number) => ({ waitsMs: [1_000, 60_000], random: () => random });
  assert.equal(nextWait(at(0.5), 1, 0), 1_000);
  assert.equal(nextWait(at(0), 2, 0), 48_000);
  assert.equal(nextWait(at(1), 2, 0), 72_000);
  assert.equal(nextWait(at(0.5), 3, 0), null);
  assert.equal(nextWait(at(0.5), 1, 30_000), 30_000);
  assert.equal(nextWait(at(0.5), 2, 30_000), 60_000);
  assert.equal(nextWait(at(0.5), 1, 1e12), 24 * 3_600_000);
  const now = Date.parse("2030-01-01T00:00:00Z");
  assert.equal(parseRetryAfter("120", now), 120_000);
  assert.equal(parseRetryAfter("Tue, 01 Jan 2030 00:01:00 GMT", now), 60_000);
  for (const header of [undefined, "", "soon", "-5", "Mon, 01 Jan 2029 00:00:00 GMT"]) {
    assert.equal(parseRetryAfter(header, now), 0, header);
  }
});
