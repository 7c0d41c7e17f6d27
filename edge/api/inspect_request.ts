/** The body of POST /v1/images/inspect: one picture, or a list of them. */
import { TesseraError } from "@tessera/shared";
import { z } from "zod";
import { invalidRequest } from "./issues.ts";
import {
  checkNumPictures,
  PictureFields,
  type PictureSource,
  pictureSource,
  TilingOptions,
  type TilingWish,
  tilingWish,
} from "./pictures.ts";

const Common = { model: z.string().min(1).nullish(), mm_processor_kwargs: TilingOptions.nullish() };
export const InspectOneBody = z.object({ ...Common, ...PictureFields });
export const InspectListBody = z.object({ ...Common, images: z.array(z.object(PictureFields)).min(1) });

export interface InspectRequest {
  /** null: the only model there is. */
  readonly model: string | null;
  readonly pictures: readonly PictureSource[];
  readonly tiling: TilingWish;
  /** Whether errors of single pictures stand in their place. */
  readonly isList: boolean;
}

/** @throws TesseraError `invalid_request`, `unsupported_parameter` or `too_many_images` */
export function parseInspectRequest(json: unknown): InspectRequest {
  const isList = typeof json === "object" && json !== null && "images" in json;
  if (isList && "url" in json) {
    throw new TesseraError("invalid_request", { message: "Send either url or images, not both.", param: "url" });
  }
  if (isList) {
    const body = parsed(InspectListBody, json);
    const pictures = body.images.map((image, i) => pictureSource(image, `images[${i}]`, `images[${i}]`));
    checkNumPictures(pictures);
    return { model: body.model ?? null, pictures, tiling: tilingWish(body.mm_processor_kwargs), isList };
  }
  const body = parsed(InspectOneBody, json);
  const pictures = [pictureSource(body, "url", "")];
  return { model: body.model ?? null, pictures, tiling: tilingWish(body.mm_processor_kwargs), isList };
}

function parsed<T>(schema: z.ZodType<T>, json: unknown): T {
  const result = schema.safeParse(json);
  if (!result.success) throw invalidRequest(result.error);
  return result.data;
}
