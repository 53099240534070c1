"""A network as TensorBoard draws it: a node for each layer, with what `inspect` says of it.

A trace of the torch module would show some twenty operations for each convolution, folded into one box named after the
module's class; layers of the same name in different blocks would be one box.
"""

from tensorboard.compat.proto.attr_value_pb2 import AttrValue  # type: ignore[import-untyped]  # generated, no stubs
from tensorboard.compat.proto.graph_pb2 import GraphDef  # type: ignore[import-untyped]  # likewise
from tensorboard.compat.proto.node_def_pb2 import NodeDef  # type: ignore[import-untyped]  # likewise
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]  # likewise

from cnncli.analysis.rows import Inspection, Row
from cnncli.spec.layers import Shape

_INPUT = "input"


def graph_def(inspection: Inspection) -> GraphDef:
    """The layers in the order of computation. Blocks are scopes, which TensorBoard folds and unfolds."""
    first = NodeDef(name=_INPUT, op=_INPUT, attr=_shape(inspection.input_shape))
    return GraphDef(node=[first, *map(_node, inspection.rows)])


def _node(row: Row) -> NodeDef:
    facts: dict[str, int | str | None] = {"params": row.params, "macs": row.macs}
    if (field := row.receptive_field) is not None:
        facts["field"] = "x".join(map(str, field.size))
        facts["jump"] = "x".join(map(str, field.jump)) if field.jump else None
    return NodeDef(
        name=_scoped(row.name),
        op=row.type,
        input=map(_scoped, row.inputs),
        attr={
            **{
                name: AttrValue(i=fact) if isinstance(fact, int) else AttrValue(s=fact.encode())
                for name, fact in facts.items()
                if fact is not None
            },
            **_shape(row.output_shape),
        },
    )


def _scoped(name: str) -> str:
    """`basic1.residual1.conv1` as a path: what is before a slash is a box that can be opened."""
    return name.replace(".", "/")


def _shape(shape: Shape | None) -> dict[str, AttrValue]:
    """The attribute that TensorBoard writes on the edges that leave a node."""
    if shape is None:
        return {}
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    return {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)]))}
