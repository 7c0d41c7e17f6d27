/** Tells faults of the bus from our own: they pass, so that whoever asked may ask again. */
import { JetStreamApiError } from "@nats-io/jetstream";
import { errors } from "@nats-io/nats-core";
import { type TesseraError, toTesseraError } from "@tessera/shared";
import { noStorage } from "./per_connection.ts";

const FAULTS = [
  JetStreamApiError,
  errors.ClosedConnectionError,
  errors.ConnectionError,
  errors.DrainingConnectionError,
  errors.NoRespondersError,
  errors.RequestError,
  errors.TimeoutError,
];

/** What an edge answers to anything thrown: 503 where the bus did not do its part. */
export function toEdgeError(thrown: unknown): TesseraError {
  return FAULTS.some((fault) => thrown instanceof fault) ? noStorage("The bus failed", thrown) : toTesseraError(thrown);
}
