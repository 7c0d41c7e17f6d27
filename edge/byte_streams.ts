/** Byte streams that are read as they are, but end otherwise. */

/** The same bytes; the error that ends them becomes what `replace` makes of it. Reads nothing ahead. */
export function replacingError(
  bytes: ReadableStream<Uint8Array>,
  replace: (error: unknown) => unknown,
): ReadableStream<Uint8Array> {
  const reader = bytes.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        controller.error(replace(error));
      }
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}
