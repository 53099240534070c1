"""What every layer makes of a few test images.

Letters for shapes: P probe images, C channels, H height, W width, F features.
"""

from typing import Any

import torch
from torch import Tensor

from cnncli.report.encoded import base64_text, halves
from cnncli.trained import TrainedRun

PROBES = 10
"""Test images at most, one of each class."""
VALUES = 250_000
"""Numbers in the page at most, of which each takes 2.7 bytes."""


def maps_data(run: TrainedRun) -> dict[str, Any]:
    """Images, predictions and the output of every layer as JSON.

    `images` are the bytes of uint8 (P, C, H, W). `layers[name].values` are half precision numbers (P, C', ...), the
    first C' channels: fewer images, and then fewer channels, where there would be too many numbers; none of a layer
    that is too large even so.
    """
    probes = run.test.first_of_each_class(_affordable_probes(run))
    names = [node.name for node in run.network.nodes]
    single = run.test.subset(torch.tensor(probes))
    images = torch.cat([batch for batch, _ in run.batches(single).epoch(1)])
    with torch.inference_mode():
        outputs = run.model.outputs(images, names)  # name -> (P, C, H, W) or (P, F)
    share = min(1.0, VALUES / sum(output[0].numel() for output in outputs.values()))
    shares = outputs[names[-1]].double().softmax(dim=1)
    return {
        "probes": [
            {"number": number, "label": int(single.labels[i]), "probabilities": shares[i].tolist()}
            for i, number in enumerate(probes)
        ],
        "images": base64_text(single.images.cpu().contiguous().numpy().tobytes()),
        "layers": {name: _layer(output, share) for name, output in outputs.items()},
    }


def _affordable_probes(run: TrainedRun) -> int:
    numbers = sum(torch.Size(node.shape).numel() for node in run.network.nodes)
    return max(1, min(PROBES, VALUES // numbers))


def _layer(output: Tensor, share: float) -> dict[str, Any]:
    """The first channels of a layer, so many that its share of the numbers is kept; a row of features is one piece."""
    channels = output.shape[1]
    kept = channels if output.ndim == 2 else int(channels * share)
    values = output[:, :kept].float().cpu().numpy()
    return {"channels": kept, "of": channels, "values": halves(values)}
