// Owns the commands of faulty_worker.ts: the last byte of a file says what goes wrong; other files are tiled.

export enum Fault {
  Trap = 201,
  Loop = 202,
  Uncaught = 203,
}

export function faultyFile(fault: Fault): Uint8Array<ArrayBuffer> {
  return new Uint8Array([fault]);
}
