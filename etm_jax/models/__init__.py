"""Models: what all kinds of genomes have in common, and the registry of those that there are."""

from typing import Any

from etm_jax.models._context import Context as Context
from etm_jax.models._model import BucketedModel as BucketedModel
from etm_jax.models._model import Evaluation as Evaluation
from etm_jax.models._model import LearningModel as LearningModel
from etm_jax.models._model import Model as Model
from etm_jax.models._model import Result as Result

_REGISTRY = ("MODELS", "ModelKind", "load_best", "load_model", "make_model")


def __getattr__(name: str) -> Any:
    """The registry imports every model, and every model imports this package: it is loaded when it is asked for."""
    if name not in _REGISTRY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from etm_jax.models import _registry

    return getattr(_registry, name)
