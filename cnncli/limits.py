"""Limits on what a config or a path may ask for, so that a mistake is refused before it costs time or memory.

They are far above what people use; `docs/config.md` lists those of configs.
"""

MAX_LENGTH = 8192
"""Positions along one axis: of images, feature maps, kernels, strides, dilations and paddings."""
MAX_STRENGTH = 1000.0
"""Of augmentations without another limit, such as noise."""
MAX_LEARNING_RATE = 1e30
"""Far from the largest number of 32 bits."""
MAX_PIXEL_SCALE = 1e6
"""Of the means and the standard deviations that pixels are normalized with; the latter are at least its inverse."""
MAX_GAMMA = 100.0
"""Of the focal loss."""
MAX_EVENT_MEGABYTES = 1e6
MAX_CHANNELS = 1_000_000
"""Channels or features that one layer may be given."""
MAX_CLASSES = 100_000
MAX_LAYERS = 5_000
"""Layers of a network, repeats included."""
MAX_READS = 2**20
"""Positions that the units of all layers read along one axis: the cost of computing receptive fields."""
MAX_JUMP = 2**40
"""Input pixels from one unit of a layer to the next: the product of the strides."""
MAX_CONFIG_BYTES = 2**18
MAX_TABLE_BYTES = 2**28
"""Of a CSV file."""
MAX_VALUES = 100_000
"""Values in a config, those of aliases included."""
MAX_DEPTH = 64
"""Mappings and lists inside each other in a config."""
MAX_FOLDERS = 20_000
"""Folders that are no runs, in a folder where runs are looked for."""
