/** JetStream's error codes that are told apart: a full store, a write behind someone else's. */
import { JetStreamApiError } from "@nats-io/jetstream";

/** A limit of the stream is reached, of two kinds; or of the account or the disk. */
const FULL = new Set([10077, 10047, 10023]);
const WRONG_LAST_SEQUENCE = 10071;

/** Whether something could not be stored because there is no room. */
export function isFull(error: unknown): boolean {
  return error instanceof JetStreamApiError && FULL.has(error.code);
}

/** Whether somebody else wrote in between. */
export function isSuperseded(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE;
}
