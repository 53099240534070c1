// Links into the page: `#layer=conv2&filter=3&at=5,7&step=844&image=12&part=unit`; `tour=3` opens the third step of the tour.

import { patchImage } from "./patches.js";

/**
 * The fields of a link.
 *
 * @param hash with or without `#`.
 * @returns layer, filter, at ([row, column]), step, image, model, part and tour, those that the link has.
 */
export function parseLink(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const link = {};
  for (const key of ["layer", "part"]) if (fields.get(key)) link[key] = fields.get(key);
  for (const key of ["filter", "step", "image", "model", "tour"]) {
    if (/^\d+$/.test(fields.get(key) ?? "")) link[key] = Number(fields.get(key));
  }
  const at = /^(\d+),(\d+)$/.exec(fields.get("at") ?? "");
  if (at) link.at = [Number(at[1]), Number(at[2])];
  return link;
}

/** A link as text, without `#`; fields in a fixed order. */
export function formatLink({ layer, filter, at, step, image, model, part, tour }) {
  const fields = { layer, filter, at: at?.join(","), step, image, model, part, tour };
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return given.map(([key, value]) => `${key}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&");
}

/** The unit that a link names in a network, or null; numbers beyond the layer are those of its last unit. */
export function unitOfLink({ layer, filter = 0, at }, receptiveFields) {
  const shape = layer === undefined ? undefined : receptiveFields.shapes.get(layer);
  if (!shape) return null;
  const [channels, height, width] = shape;
  const channel = Math.min(filter, channels - 1);
  if (shape.length === 1) return { layer, channel, row: null, column: null };
  const [row, column] = at ?? [height >> 1, width >> 1];
  return { layer, channel, row: Math.min(row, height - 1), column: Math.min(column, width - 1) };
}

/** The link to what the page shows. */
export function linkOf(state) {
  const unit = state.get("unit");
  const source = state.get("source");
  return {
    layer: unit?.layer,
    filter: unit?.channel,
    at: unit && unit.row !== null ? [unit.row, unit.column] : undefined,
    step: state.get("step"),
    image: source?.kind === "test" ? source.number : undefined,
    model: state.get("model") || undefined,
    part: state.get("part"),
    tour: state.get("tour") === null ? undefined : state.get("tour") + 1,
  };
}

/** Show what a link names; what it does not name stays. */
export function followLink(app, link) {
  const { state, data } = app;
  const changes = {};
  if (link.model !== undefined && link.model < app.models.length) changes.model = link.model;
  const model = app.models[changes.model ?? state.get("model")];
  const unit = unitOfLink(link, model.receptiveFields);
  if (unit) changes.unit = unit;
  if (link.step !== undefined && model.steps.some(({ step }) => step === link.step)) changes.step = link.step;
  if (link.image !== undefined) {
    const position = data.images.numbers.indexOf(link.image);
    Object.assign(changes, position >= 0 ? app.testImage(position) : patchImage(app, link.image));
  }
  if (link.part !== undefined) changes.part = link.part;
  if (link.tour) changes.tour = link.tour - 1;
  state.set(changes);
  if (link.part) scrollToPart(link.part);
}

/** Scroll to a part, and again when the parts on the way have their real heights: out of sight they are estimated. */
function scrollToPart(id) {
  const scroll = () => document.getElementById(id)?.scrollIntoView({ block: "start" });
  scroll();
  requestAnimationFrame(() => requestAnimationFrame(scroll));
}
