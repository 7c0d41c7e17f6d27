// Owns the commands of faulty_worker.ts: the byte behind a good picture says what goes wrong; other files are tiled.

export enum Fault {
  Trap = 201,
  Loop = 202,
  Uncaught = 203,
}

export function faultyFile(good: Uint8Array, fault: Fault): Uint8Array<ArrayBuffer> {
  return new Uint8Array([...good, fault]);
}
