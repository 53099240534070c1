"""Layers on which a norm and an activation may be given."""

from dataclasses import replace

from cnncli.layers.base import Description, Layer, Reach


class Composite(Layer):
    """A layer with the fields `norm` and `activation`, or one of them: they follow it."""

    @property
    def can_die(self) -> bool:
        """See `Layer`."""
        activation = self.followers().get("activation")
        return activation is not None and activation.can_die

    @property
    def takes_batch_statistics(self) -> bool:
        """See `Layer`."""
        return any(each.takes_batch_statistics for each in self.followers().values())

    def followers(self) -> dict[str, Layer]:
        """See `Layer.followers`."""
        given = {name: getattr(self, name, None) for name in ("norm", "activation")}
        return {name: layer for name, layer in given.items() if layer is not None}

    def with_followers(self, own: Description) -> Description:
        """The description of the layer together with its norm and its activation."""
        total = own
        for follower in self.followers().values():
            added = follower.describe(total.shape)
            assert added.shape == total.shape, f"{follower.type} changes the shape"
            assert added.reads is Reach.SAME, f"{follower.type} reads other positions"
            total = replace(
                total,
                statistics=total.statistics or added.statistics,
                params=total.params + added.params,
                macs=total.macs + added.macs,
                buffer_bytes=total.buffer_bytes + added.buffer_bytes,
                notes=total.notes + added.notes,
            )
        return total
