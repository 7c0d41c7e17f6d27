/** Admission keeps its two bounds and lets go of everything, in any order of calls. */
import fc from "fast-check";
import { ANONYMOUS } from "@tessera/shared";
import assert from "node:assert/strict";
import { Admission, type Ticket } from "./admission.ts";

Deno.test("admission: random tickets and bytes never pass the limits, and all comes back", () => {
  const action = fc.record({
    kind: fc.constantFrom("admit", "hold", "release", "close"),
    pick: fc.nat(),
    bytes: fc.nat(60),
  });
  fc.assert(fc.property(fc.array(action, { maxLength: 100 }), (actions) => {
    const admission = new Admission({ maxInflight: 4, maxHeldBytes: 100 });
    const open: Ticket[] = [];
    for (const { kind, pick, bytes } of actions) {
      const ticket = open[pick % Math.max(1, open.length)];
      try {
        if (kind === "admit") open.push(admission.admit());
        else if (kind === "hold") ticket?.hold(bytes);
        else if (kind === "release") ticket?.release(bytes);
        else if (ticket !== undefined) {
          ticket.close();
          ticket.close();
          open.splice(open.indexOf(ticket), 1);
        }
      } catch (error) {
        assert.ok(["rate_limited", "request_too_large"].includes((error as { code: string }).code));
      }
      assert.equal(admission.numInflight, open.length);
      assert.ok(admission.numInflight <= 4 && admission.heldBytes >= 0 && admission.heldBytes <= 100);
    }
    open.forEach((ticket) => ticket.close());
    assert.equal(admission.heldBytes, 0);
    assert.equal(admission.numInflight, 0);
  }));
});

Deno.test("admission: a drain admits nobody and ends with the last request", async () => {
  const admission = new Admission({ maxInflight: 4, maxHeldBytes: 100 });
  const ticket = admission.admit();
  let isDrained = false;
  const drained = admission.drain().then(() => isDrained = true);
  assert.throws(() => admission.admit(), { code: "shutting_down" });
  await Promise.resolve();
  assert.ok(!isDrained);
  ticket.close();
  await drained;
});

Deno.test("admission: one key takes its share and no more; those without a key share one", () => {
  const admission = new Admission({ maxInflight: 4, maxHeldBytes: 1, maxInflightPerKey: 2 });
  const tickets = [admission.admit("a"), admission.admit("a")];
  assert.throws(() => admission.admit("a"), { code: "rate_limited", status: 429, retryAfterS: 1 });
  tickets.push(admission.admit("b"), admission.admit());
  assert.throws(() => admission.admit("b"), { code: "rate_limited" });
  tickets.forEach((ticket) => ticket.close());
  const few = new Admission({ maxInflight: 4, maxHeldBytes: 1, maxInflightAnonymous: 2 });
  const strangers = [few.admit(ANONYMOUS), few.admit(ANONYMOUS)];
  assert.throws(() => few.admit(ANONYMOUS), { code: "rate_limited" });
  strangers.push(few.admit("a"), few.admit());
  strangers.forEach((ticket) => ticket.close());
  assert.equal(few.numInflight, 0);
  const anonymous = Array.from({ length: 4 }, () => admission.admit());
  anonymous.forEach((ticket) => ticket.close());
  admission.admit("a").close();
  assert.equal(admission.numInflight, 0);
});
