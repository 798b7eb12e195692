"""Models: what all kinds of genomes have in common, and the registry of those that there are."""

import importlib
from typing import TYPE_CHECKING

from etm_jax.models._context import Context as Context
from etm_jax.models._model import BucketedModel as BucketedModel
from etm_jax.models._model import Evaluation as Evaluation
from etm_jax.models._model import LearningModel as LearningModel
from etm_jax.models._model import Model as Model
from etm_jax.models._model import Result as Result

if TYPE_CHECKING:
    from etm_jax.models._registry import MODELS as MODELS
    from etm_jax.models._registry import ModelKind as ModelKind
    from etm_jax.models._registry import load_best as load_best
    from etm_jax.models._registry import load_model as load_model
    from etm_jax.models._registry import make_model as make_model

# The registry imports every model, and every model imports this package: it is loaded when it is asked for.
_REGISTRY = ("MODELS", "ModelKind", "load_best", "load_model", "make_model")


def __getattr__(name: str) -> object:
    if name not in _REGISTRY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}._registry"), name)


def __dir__() -> list[str]:
    return sorted([*(name for name in globals() if name != "TYPE_CHECKING"), *_REGISTRY])
