/** What a request says of its pictures: where each comes from and how it wants them cut. */
import { MAX_IMAGES, TesseraError } from "@tessera/shared";
import { z } from "zod";

/** How many tiles are wished; null: whatever is the rule without a wish. */
export interface TileWish {
  readonly minTiles: number | null;
  readonly maxTiles: number | null;
}

/** How a request wants all its pictures cut. */
export interface TilingWish extends TileWish {
  readonly thumbnail: boolean | null;
  readonly exact: boolean;
}

/** A picture to load; its index in the list is the one job parts refer to. */
export interface PictureSource extends TileWish {
  readonly url: string;
  /** Where in the request, for errors. */
  readonly param: string;
  /** Where the fields below stand. */
  readonly optionsParam: string;
  readonly detail: "auto" | "low" | "high";
}

/** A file of /v1/files; it may stand in every `url` too. */
export const FileId = z.string().regex(/^file-[0-9a-z]{23}$/, "expected the id of a file");

/** A picture as requests write it; the names of the tile numbers are the vendor's. */
export const PictureFields = {
  url: z.string().min(1),
  detail: z.enum(["auto", "low", "high"]).nullish(),
  min_dynamic_patch: z.int().min(1).nullish(),
  max_dynamic_patch: z.int().min(1).nullish(),
};

/** The vendor's tiling options, under the name vLLM gave the field. */
export const TilingOptions = z.strictObject({
  min_dynamic_patch: z.int().min(1).nullish(),
  max_dynamic_patch: z.int().min(1).nullish(),
  use_thumbnail: z.boolean().nullish(),
  /** The pictures of each message under one placeholder. */
  combine_images: z.boolean().nullish(),
  /** Pixels exactly as the vendor's Pillow code has them: Exif orientation and transparency ignored. */
  exact: z.boolean().nullish(),
});

const Picture = z.object(PictureFields);

export function pictureSource(picture: z.infer<typeof Picture>, param: string, optionsParam: string): PictureSource {
  return {
    url: picture.url,
    param,
    optionsParam,
    detail: picture.detail ?? "auto",
    minTiles: picture.min_dynamic_patch ?? null,
    maxTiles: picture.max_dynamic_patch ?? null,
  };
}

export function tilingWish(options: z.infer<typeof TilingOptions> | null | undefined): TilingWish {
  return {
    minTiles: options?.min_dynamic_patch ?? null,
    maxTiles: options?.max_dynamic_patch ?? null,
    thumbnail: options?.use_thumbnail ?? null,
    exact: options?.exact ?? false,
  };
}

/** @throws TesseraError `too_many_images` */
export function checkNumPictures(pictures: readonly PictureSource[]): void {
  if (pictures.length <= MAX_IMAGES) return;
  throw new TesseraError("too_many_images", {
    message: `The request has ${pictures.length} pictures, at most ${MAX_IMAGES} are allowed.`,
    param: pictures[MAX_IMAGES]!.param,
  });
}
