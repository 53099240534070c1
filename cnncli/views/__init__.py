"""The views of a trained network, in the order of `cnncli show all`: one file per view."""

from cnncli.views.activation_maximization import ActivationMaximization
from cnncli.views.calibration import Calibration
from cnncli.views.confusion import Confusion
from cnncli.views.effective_receptive_field import EffectiveReceptiveField
from cnncli.views.embedding import Embedding
from cnncli.views.feature_maps import FeatureMaps
from cnncli.views.kernels import Kernels
from cnncli.views.mistakes import Mistakes
from cnncli.views.patches import Patches
from cnncli.views.saliency import Saliency
from cnncli.views.view import View

# What was learned, its outputs for an image, what activates it, and its mistakes.
VIEWS: tuple[type[View], ...] = (
    Kernels,
    FeatureMaps,
    Patches,
    Saliency,
    ActivationMaximization,
    Confusion,
    Mistakes,
    Calibration,
    Embedding,
    EffectiveReceptiveField,
)
