// How much there is to compute: what takes long is not computed without being asked for.

/** Multiply-accumulates of a network for one image. */
export const macsOf = ({ layers }) => layers.reduce((total, { macs }) => total + macs, 0);
