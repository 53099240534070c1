"""`cnncli export`: a trained network as a file for other programs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnncli.cli.commands.options import DebugOption, JsonOption, check_output
from cnncli.cli.output import print_line
from cnncli.cli.render.console import show_notice
from cnncli.export import IMAGES, FormatName
from cnncli.layers import format_shape
from cnncli.options import DATA_DIR, DataDirOption, RunArgument

if TYPE_CHECKING:
    from cnncli.export.export import Export

FormatOption = Annotated[
    FormatName,
    typer.Option(
        "--format",
        case_sensitive=False,
        help="ONNX (needs the extra onnx), torch.export, or the weights alone as safetensors.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="The file to write. Default: in the folder export of the run."),
]
PreprocessingOption = Annotated[
    bool,
    typer.Option(
        "--with-preprocessing",
        help="Put the normalization into the graph: the network takes uint8 pixels from 0 to 255.",
    ),
]
ImagesOption = Annotated[
    int, typer.Option("--images", metavar="N", min=1, help="Compare at most N test images with the run.")
]


def export(
    run: RunArgument,
    format: FormatOption,
    out: OutOption = None,
    with_preprocessing: PreprocessingOption = False,
    images: ImagesOption = IMAGES,
    as_json: JsonOption = False,
    data_dir: DataDirOption = DATA_DIR,
    debug: DebugOption = False,
) -> None:
    """Write a trained network as ONNX, torch.export or safetensors, and check the file.

    The file contains the best weights, and as metadata the classes, the normalization and the config. It is loaded by
    its own runtime (onnxruntime, torch.export, safetensors) and compared with the run on test images, or on random
    images if the data set is missing. If a logit differs by more than rounding, no file is left. The command prints the
    path of the file.

    Examples:

      cnncli export runs/lenet5-20260131-120000 --format onnx

      cnncli export runs/lenet5-20260131-120000 --format torch --with-preprocessing --out lenet5.pt2
    """
    from cnncli.export.export import export_run
    from cnncli.run import load_run

    check_output(out)
    written = export_run(
        load_run(run, data_dir=data_dir), format, out=out, with_preprocessing=with_preprocessing, images=images
    )
    if as_json:
        typer.echo(json.dumps(_record(written), allow_nan=False))
        return
    print_line(written.path)
    for line in _lines(written):
        show_notice(f"  {line}")


def _record(written: "Export") -> dict[str, Any]:
    comparison = written.comparison
    return {
        "file": str(written.path),
        "format": written.format,
        "input": written.input,
        "input_shape": list(written.input_shape),
        "bytes": written.path.stat().st_size,
        "runtime": comparison.runtime,
        "compared": comparison.source,
        "images": comparison.images,
        "same_predictions": comparison.same_predictions,
        "largest_difference": comparison.largest_difference,
    }


def _lines(written: "Export") -> list[str]:
    comparison = written.comparison
    shape = format_shape(written.input_shape)
    kind = "uint8 pixels, 0 to 255" if written.input == "pixels" else "float32 pixels, normalized"
    if comparison.same_predictions == comparison.images:
        same = "same predictions"
    else:
        same = f"{comparison.same_predictions:,} the same prediction, the others tie within rounding"
    difference = f"{comparison.largest_difference:.1e}" if comparison.largest_difference else "0"
    return [
        f"input: N x {shape}, {kind}",
        f"compared with the run on {comparison.images:,} {comparison.source} images: {same}, "
        f"largest difference of a logit {difference}",
    ]
