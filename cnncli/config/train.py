"""The `train:` section: epochs, loss, optimizer, learning-rate schedule, early stopping, precision."""

from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cnncli.config.init_from import InitFromChoice
from cnncli.config.loss import ClassWeights, CrossEntropy, LossChoice, NonNegativeFloat, PositiveFloat
from cnncli.fields import Choice, Fraction01, Listed, OneOf, Positive, Spec, Whole
from cnncli.limits import MAX_LEARNING_RATE

OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=MAX_LEARNING_RATE)]

TOP_K = 5
"""The default of `top_k`."""

Metric = Literal["accuracy", "loss", "balanced_accuracy", "macro_f1"]
"""A score of the validation images."""

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

    lr: LearningRate = 0.01
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


class AdamFamily(OptimizerSpec):
    """Adam and its variants, which keep two moments of the gradient."""

    principal = "lr"

    lr: LearningRate = 1e-3
    betas: Annotated[tuple[Fraction01, Fraction01], Listed] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = Field(default=0.0, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: both moments."""
        return 2


class Adam(AdamFamily):
    """`torch.optim.Adam` (Kingma and Ba, 2015); its weight decay is added to the gradient."""

    type: Literal["adam"] = "adam"


class AdamW(AdamFamily):
    """`torch.optim.AdamW` (Loshchilov and Hutter, 2019): Adam with decoupled weight decay."""

    type: Literal["adamw"] = "adamw"

    weight_decay: NonNegativeFloat = Field(default=0.01, description=_WEIGHT_DECAY)


class RmsProp(OptimizerSpec):
    """`torch.optim.RMSprop` (Hinton's lecture 6, 2012)."""

    type: Literal["rmsprop"] = "rmsprop"
    principal = "lr"

    lr: LearningRate = 1e-3
    alpha: Fraction01 = Field(default=0.99, description="decay of the running mean of squared gradients per step")
    momentum: Fraction01 = 0.0
    weight_decay: NonNegativeFloat = Field(default=0.0, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: the squared gradients, and the momentum if there is one."""
        return 1 + int(self.momentum > 0)


class NAdam(AdamFamily):
    """`torch.optim.NAdam` (Dozat, 2016): Adam with Nesterov momentum."""

    type: Literal["nadam"] = "nadam"

    lr: LearningRate = 2e-3


class RAdam(AdamFamily):
    """`torch.optim.RAdam` (Liu et al., 2020): Adam without the large first steps."""

    type: Literal["radam"] = "radam"


class Adagrad(OptimizerSpec):
    """`torch.optim.Adagrad` (Duchi, Hazan and Singer, 2011)."""

    type: Literal["adagrad"] = "adagrad"
    principal = "lr"

    lr: LearningRate = 0.01
    weight_decay: NonNegativeFloat = Field(default=0.0, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: the sum of squared gradients."""
        return 1


class Adadelta(OptimizerSpec):
    """`torch.optim.Adadelta` (Zeiler, 2012)."""

    type: Literal["adadelta"] = "adadelta"
    principal = "lr"

    lr: LearningRate = 1.0
    rho: Fraction01 = Field(default=0.9, description="decay of the running means of squares per step")
    weight_decay: NonNegativeFloat = Field(default=0.0, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: the squares of gradients and of changes."""
        return 2


class Muon(OptimizerSpec):
    """`torch.optim.Muon` (Jordan, 2024) for kernels and matrices, `AdamW` with the same rate for other weights.

    A kernel is the matrix of its filters. Steps are as large as those of AdamW (Liu et al., 2025).
    """

    type: Literal["muon"] = "muon"
    principal = "lr"

    lr: LearningRate = 1e-3
    momentum: Fraction01 = 0.95
    nesterov: bool = True
    weight_decay: NonNegativeFloat = Field(default=0.01, description=_WEIGHT_DECAY)

    @property
    def states(self) -> int:
        """See `OptimizerSpec`: the momentum; the few other weights have one more."""
        return 1


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


class MultiStep(Choice):
    """The learning rate is multiplied by `factor` after each of some epochs."""

    type: Literal["multistep"] = "multistep"
    principal = "epochs"

    epochs: Annotated[tuple[Positive, ...], Field(min_length=1), Listed] = Field(
        description="a list of epochs, ascending"
    )
    factor: Share = 0.1
    warmup: Fraction01 = Field(default=0.0, description=_WARMUP)

    @field_validator("epochs")
    @classmethod
    def _ascend(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        if any(after <= before for before, after in pairwise(epochs)):
            raise ValueError("must ascend")
        return epochs


class Piecewise(Choice):
    """Straight lines between given points."""

    type: Literal["piecewise"] = "piecewise"
    principal = "points"

    points: Annotated[
        tuple[Annotated[tuple[NonNegativeFloat, NonNegativeFloat], Listed], ...], Field(min_length=1), Listed
    ] = Field(description="a list of [epoch, fraction of lr], from epoch 0 on, ascending; constant before and after")

    @field_validator("points")
    @classmethod
    def _ascend(cls, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(after <= before for (before, _), (after, _) in pairwise(points)):
            raise ValueError("the epochs must ascend")
        return points


class Exponential(Choice):
    """The learning rate is multiplied by `factor` over each epoch, a little after every step."""

    type: Literal["exponential"] = "exponential"
    principal = "factor"

    factor: Share = 0.95
    warmup: Fraction01 = Field(default=0.0, description=_WARMUP)


class Polynomial(Choice):
    """From `lr` to `final` times `lr`, as a power of the remaining part of the training; `power: 1` is a line."""

    type: Literal["polynomial"] = "polynomial"
    principal = "power"

    power: PositiveFloat = 1.0
    final: Fraction01 = Field(default=0.0, description="learning rate at the end, as a fraction of lr")
    warmup: Fraction01 = Field(default=0.0, description=_WARMUP)


class Cyclic(Choice):
    """Up and down along straight lines between `low` times `lr` and `lr` (Smith, 2017)."""

    type: Literal["cyclic"] = "cyclic"
    principal = "every"

    every: PositiveFloat = Field(description="epochs of a cycle, up and down")
    low: Fraction01 = Field(default=0.1, description="the lowest learning rate, as a fraction of lr")
    decay: Share = Field(default=1.0, description="factor of the height of the peaks after each cycle")


class Plateau(Choice):
    """The learning rate is multiplied by `factor` when the validation metric has not improved for some epochs."""

    type: Literal["plateau"] = "plateau"
    principal = "patience"

    patience: Positive = Field(default=5, description="epochs without improvement after which it is multiplied")
    factor: OpenFraction = 0.5
    metric: Metric = "loss"
    lowest: Fraction01 = Field(default=0.0, description="the lowest learning rate, as a fraction of lr")
    warmup: Fraction01 = Field(default=0.0, description=_WARMUP)


class EarlyStopping(Spec):
    """Stops the training when the validation metric no longer improves."""

    patience: Positive = Field(description="epochs without improvement after which training stops")
    metric: Metric = "accuracy"


Optimizer = Sgd | Adam | AdamW | NAdam | RAdam | RmsProp | Adagrad | Adadelta | Muon
Schedule = (
    Constant | StepDecay | MultiStep | Piecewise | Exponential | Polynomial | Cosine | OneCycle | Cyclic | Plateau
)

OPTIMIZERS: dict[str, type[Choice]] = {each.type_name(): each for each in get_args(Optimizer)}
SCHEDULES: dict[str, type[Choice]] = {each.type_name(): each for each in get_args(Schedule)}

OptimizerChoice = Annotated[Optimizer, OneOf("optimizer", *OPTIMIZERS.values())]
ScheduleChoice = Annotated[Schedule, OneOf("schedule", *SCHEDULES.values())]


class TrainSpec(Spec):
    """How the network is trained."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["class_weights", "sampling"],
                "properties": {"class_weights": {"const": "auto"}, "sampling": {"const": "balanced"}},
            }
        }
    )

    epochs: Positive = 10
    batch_size: Positive = 128
    accumulate: Positive = Field(
        default=1, description="parts of a batch whose gradients are computed one after another and added"
    )
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
    top_k: Positive = Field(
        default=TOP_K,
        description="k of the top-k accuracy: the fraction of images whose class has one of the k highest scores",
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
