"""The `train:` section: epochs, loss, optimizer, learning-rate schedule, early stopping, precision."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cnncli.config.init_from import InitFromChoice
from cnncli.config.loss import ClassWeights, CrossEntropy, LossChoice, NonNegativeFloat, PositiveFloat
from cnncli.fields import Choice, Fraction01, Listed, OneOf, Positive, Spec, Whole

OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]

_WEIGHT_DECAY = "decay of the weights of convolutions and linear layers; not of norms and biases"


class OptimizerSpec(Choice):
    """An optimizer."""

    @property
    def states(self) -> int:
        """Numbers that it keeps for each parameter."""
        raise NotImplementedError(self.type)


class Sgd(OptimizerSpec):
    """`torch.optim.SGD`: gradient descent with momentum, optionally Nesterov momentum."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["nesterov", "momentum"],
                "properties": {"nesterov": {"const": True}, "momentum": {"const": 0}},
            }
        }
    )

    type: Literal["sgd"] = "sgd"
    principal = "lr"

    lr: PositiveFloat = 0.01
    momentum: Fraction01 = 0.9
    nesterov: bool = False
    weight_decay: NonNegativeFloat = Field(default=0.0, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: the momentum."""
        return int(self.momentum > 0)

    @field_validator("nesterov")
    @classmethod
    def _has_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        if nesterov and info.data.get("momentum") == 0:
            raise ValueError("nesterov requires momentum, which is 0; set it to 0.9, for example")
        return nesterov


class Adam(OptimizerSpec):
    """`torch.optim.Adam` (Kingma and Ba, 2015); its weight decay is added to the gradient."""

    type: Literal["adam"] = "adam"
    principal = "lr"

    lr: PositiveFloat = 1e-3
    betas: Annotated[tuple[Fraction01, Fraction01], Listed] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = Field(default=0.0, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: both moments."""
        return 2


class AdamW(OptimizerSpec):
    """`torch.optim.AdamW` (Loshchilov and Hutter, 2019): Adam with decoupled weight decay."""

    type: Literal["adamw"] = "adamw"
    principal = "lr"

    lr: PositiveFloat = 1e-3
    betas: Annotated[tuple[Fraction01, Fraction01], Listed] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = Field(default=0.01, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: both moments."""
        return 2


class RmsProp(OptimizerSpec):
    """`torch.optim.RMSprop` (Hinton's lecture 6, 2012)."""

    type: Literal["rmsprop"] = "rmsprop"
    principal = "lr"

    lr: PositiveFloat = 1e-3
    alpha: Fraction01 = Field(default=0.99, description="decay of the running mean of squared gradients per step")
    momentum: Fraction01 = 0.0
    weight_decay: NonNegativeFloat = Field(default=0.0, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: the squared gradients, and the momentum if there is one."""
        return 1 + int(self.momentum > 0)


_WARMUP = "fraction of the training in which the learning rate rises linearly from near 0"


class Constant(Choice):
    """A constant learning rate."""

    type: Literal["constant"] = "constant"

    warmup: Fraction01 = Field(default=0.0, description=_WARMUP)


class StepDecay(Choice):
    """The learning rate is multiplied by `factor` after every `every` epochs."""

    type: Literal["step"] = "step"
    principal = "every"

    every: Positive = Field(description="epochs between two changes")
    factor: Share = 0.1
    warmup: Fraction01 = Field(default=0.0, description=_WARMUP)


class Cosine(Choice):
    """Half a cosine from `lr` to `final` times `lr` (Loshchilov and Hutter, 2017)."""

    type: Literal["cosine"] = "cosine"

    final: Fraction01 = Field(default=0.0, description="learning rate at the end, as a fraction of lr")
    warmup: Fraction01 = Field(default=0.0, description=_WARMUP)


class OneCycle(Choice):
    """Up to `lr` and down, each along half a cosine (Smith and Topin, 2018)."""

    type: Literal["one_cycle"] = "one_cycle"

    warmup: Fraction01 = Field(default=0.3, description="fraction of the training in which the learning rate rises")
    start: Share = Field(default=0.04, description="learning rate of the first step, as a fraction of lr")
    final: Share = Field(default=4e-6, description="learning rate of the last step, as a fraction of lr")


Metric = Literal["accuracy", "loss", "balanced_accuracy", "macro_f1"]
"""What the best epoch is chosen by."""


class EarlyStopping(Spec):
    """Stops the training when the validation metric no longer improves."""

    patience: Positive = Field(description="epochs without improvement after which training stops")
    metric: Metric = "accuracy"


Optimizer = Sgd | Adam | AdamW | RmsProp
Schedule = Constant | StepDecay | Cosine | OneCycle

OPTIMIZERS: dict[str, type[Choice]] = {each.type_name(): each for each in (Sgd, Adam, AdamW, RmsProp)}
SCHEDULES: dict[str, type[Choice]] = {each.type_name(): each for each in (Constant, StepDecay, Cosine, OneCycle)}

OptimizerChoice = Annotated[Optimizer, OneOf("optimizer", *OPTIMIZERS.values())]
ScheduleChoice = Annotated[Schedule, OneOf("schedule", *SCHEDULES.values())]


class TrainSpec(Spec):
    """How the network is trained."""

    epochs: Positive = 10
    batch_size: Positive = 128
    seed: Whole = Field(
        default=0,
        lt=2**63,
        description="seed of the initial weights, the validation split, the order of the images and the augmentation",
    )
    init_from: InitFromChoice | None = Field(
        default=None, description="a run or a file of weights to start from, by the names of the layers"
    )
    optimizer: OptimizerChoice = AdamW()
    schedule: ScheduleChoice = Constant()
    loss: LossChoice = CrossEntropy()
    class_weights: ClassWeights | None = Field(
        default=None,
        description="factors of the loss by class name, 1 for others; auto: inversely proportional to the number of "
        "training images of the class",
    )
    sampling: Literal["shuffle", "balanced"] = Field(
        default="shuffle",
        description="the images of an epoch: each once, or the same number of each class",
    )
    label_smoothing: Fraction01 = Field(
        default=0.0, description="fraction of the target distributed evenly over all classes"
    )
    clip_norm: PositiveFloat | None = Field(default=None, description="maximum norm of the gradient")
    early_stopping: EarlyStopping | None = None
    ema: OpenFraction | None = Field(
        default=None,
        description="decay of an exponential moving average of the weights per step",
    )
    on_nan: Literal["stop", "rollback"] = Field(
        default="stop",
        description="what to do about a loss, gradient or weight that is not finite: stop the training, or repeat the "
        "epoch with half the learning rate, at most three times in a training",
    )
    precision: Literal["fp32", "bf16", "auto"] = Field(
        default="fp32", description="bf16: convolutions and linear layers in bfloat16; auto: where that is faster"
    )
    compile: bool = Field(default=False, description="use torch.compile if it works")
    channels_last: Literal["auto"] | bool = Field(
        default="auto", description="images in memory as (N, H, W, C); auto: where that is faster"
    )

    @model_validator(mode="after")
    def _balanced_once(self) -> "TrainSpec":
        if self.class_weights == "auto" and self.sampling == "balanced":
            raise PydanticCustomError(
                "balanced_twice",
                "class_weights: auto and sampling: balanced both balance the classes; remove one of them",
            )
        return self
