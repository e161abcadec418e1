"""Train a network through scikeras: the one seam to it.

Used: `scikeras.wrappers.KerasClassifier` builds a network from a function, turns the
optimizer (a name, a class or an instance, with its learning rate) into an object,
trains, and collects the history.

Repaired here, for scikeras 0.13 (its last release; each can go when scikeras does it):

- It validates X and y itself and refuses objects other than arrays: data arrive
  validated and batched, so that `_Trainer` passes them through.
- `random_state` writes os.environ and switches TensorFlow's operations to
  deterministic ones, and can leave them so for the whole process: scikeras gets
  random_state=None, and `seeded` decides what Keras draws.
- An optimizer instance fits once only, since Keras binds it to the first network's
  variables: each fit gets a new one made from its configuration.
- Callback instances are trained with as they are, so that a fitted network hangs on
  them and is copied with each clone: each fit gets copies.
- It accepts any parameter name: only known ones come here.

Private names of scikeras that are overridden: `_validate_data`,
`_ensure_compiled_model`, `_fit_keras_model`; that are called: `_get_compile_kwargs`,
`_initialize_callbacks`; that are set: `_random_state`. `_repairs.refuse_renamed` raises
an ImportError where a method is gone.

Importing scikeras replaces `__reduce__` and `__deepcopy__` of Keras' models, losses,
metrics and optimizers. Nothing here relies on that.
"""

import dataclasses
import weakref

import numpy as np
from scikeras.wrappers import KerasClassifier

from skimgclf.models._networks.architectures import build_network
from skimgclf.models._repairs import forget_kernels, read_step, refuse_renamed
from skimgclf.models._start import keras
from skimgclf.models._state import pack_trained
from skimgclf.models._training.callbacks import (
    EpochPrinter,
    EpochReporter,
    RateRecorder,
    has_batch_hook,
)
from skimgclf.models._training.interrupt import hear_interrupt
from skimgclf.models._training.loop import looping
from skimgclf.models._training.optimizer import (
    OptimizerSettings,
    as_float,
    compile_network,
)
from skimgclf.models._training.optimizer_copy import copy_optimizer
from skimgclf.models._training.schedule import find_schedule
from skimgclf.models._training.seeds import seeded
from skimgclf.models._training.shared_programs import describe_program, stand_in
from skimgclf.models._training.trained import NetworkHolder

# The variables that were trained in this process, by id, as long as they live.
_trained = weakref.WeakValueDictionary()

# Callbacks that keep no network after the training.
_HARMLESS = {
    keras.callbacks.EarlyStopping,
    EpochPrinter,
    EpochReporter,
    RateRecorder,
}


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """The settings of one training.

    Attributes
    ----------
    settings : OptimizerSettings
        How the weights are updated.
    epochs : int
        Number of passes over the training data.
    callbacks : list of keras.callbacks.Callback
        Instances that only this training uses.
    loss : str
        Keras' name of the loss that suits the targets of the batches.
    """

    settings: OptimizerSettings
    epochs: int
    callbacks: list
    loss: str


def train_network(blueprint, plan, batches, validation_batches=None, *, seed):
    """Build, compile and train a network.

    Parameters
    ----------
    blueprint : dict
        The arguments of `build_network`.
    plan : TrainingPlan
        How to train.
    batches, validation_batches : keras.utils.PyDataset
        The training data, and the validation data or None.
    seed : int
        Decides weights and dropout.

    Returns
    -------
    holder : NetworkHolder
        Of the trained network.
    history : dict of str to list of float
        One value an epoch for the loss and each metric.
    """

    def build_new():
        network = build_network(**blueprint)
        refuse_trained_weights(network)
        return network

    trainer = _Trainer(build_new, **_scikeras_parameters(plan))
    trainer.prepare(plan, batches, blueprint)
    with seeded(seed):
        trainer.fit(batches, None, validation_data=validation_batches)
        refuse_divergence(trainer.model_)
        forget_kernels(rarely=trainer.is_shared)
        return trainer.hold_network(), _history_of(trainer)


def resume_training(
    network, plan, batches, validation_batches=None, *, initial_epoch, keep_optimizer
):
    """Train a network further.

    Parameters
    ----------
    network : keras.Model
        A trained network.
    plan, batches, validation_batches
        As in `train_network`.
    initial_epoch : int
        Number of epochs that it was trained already.
    keep_optimizer : bool
        Whether to go on with the optimizer of the network and its state, if there is
        one, instead of the plan's.

    Returns
    -------
    history : dict of str to list of float
        One value for each of the new epochs.
    """
    trainer = _Trainer(None, warm_start=True, **_scikeras_parameters(plan))
    trainer.prepare(plan, batches)
    with seeded(0):
        trainer.resume(network, keep_optimizer=keep_optimizer)
        trainer.fit(
            batches,
            None,
            validation_data=validation_batches,
            initial_epoch=initial_epoch,
        )
        refuse_divergence(network)
        forget_kernels()
        hear_interrupt()  # before the end of the fit is reported
    return _history_of(trainer)


refuse_renamed(
    KerasClassifier,
    (
        "_validate_data",
        "_ensure_compiled_model",
        "_fit_keras_model",
        "_get_compile_kwargs",
        "_initialize_callbacks",
        "target_encoder",
        "feature_encoder",
    ),
)


class _Trainer(KerasClassifier):
    """Train through scikeras on batches that were validated and encoded before."""

    # The arguments that built the network; None for one that is trained further.
    blueprint = None
    # Whether a network of the same kind, traced once, stood in for it.
    is_shared = False
    # Whether it is kept itself, to stand in for others.
    is_kept = False
    # Whether to go on with the optimizer of the network, if it has one.
    keep_optimizer = False

    def prepare(self, plan, batches, blueprint=None):
        """Take the settings that scikeras has no parameters for."""
        self.blueprint = blueprint
        self.settings = plan.settings
        self.n_steps = plan.epochs * batches.num_batches

    def _validate_data(self, X=None, y=None, reset=False, y_numeric=False):
        return X, y

    @property
    def target_encoder(self):
        return _PassThrough()

    feature_encoder = target_encoder

    def _ensure_compiled_model(self):
        network = self.model_
        optimizer = getattr(network, "optimizer", None) if self.keep_optimizer else None
        # A traced program is for an optimizer and a loss.
        if optimizer is None or network.loss != self.loss:
            optimizer = optimizer or self._get_compile_kwargs()["optimizer"]
            compile_network(network, optimizer, self.settings, loss=self.loss)
        self.keep_optimizer = True

    def _fit_keras_model(self, X, *arguments, validation_data, **keywords):
        network, kind = self.model_, self._kind_of_program()
        self._start_schedule()
        self.is_shared = kind is not None
        one_by_one = any(map(has_batch_hook, self.callbacks))
        with (
            stand_in(network, kind) as trained,
            looping(
                trained,
                X,
                validation_data,
                one_by_one=one_by_one,
                flat=kind is not None,
            ) as (data, val),
        ):
            self.model_ = trained
            self.is_kept = kind is not None and trained is network
            super()._fit_keras_model(data, *arguments, validation_data=val, **keywords)
        self.model_ = network

    def _start_schedule(self):
        optimizer = self.model_.optimizer
        schedule = find_schedule(optimizer)
        if schedule is not None:
            schedule.start(read_step(optimizer), self.n_steps)

    def _kind_of_program(self):
        if self.blueprint is None or not set(map(type, self.callbacks)) <= _HARMLESS:
            return None
        return describe_program(self.model_, self.blueprint)

    def hold_network(self):
        """Hold the trained network, or a copy of one that stands in for others."""
        network = self.model_
        if not self.is_kept:
            return NetworkHolder(network)
        packed = pack_trained(network, self.blueprint, self.settings)
        return NetworkHolder(packed=packed, on_build=_note_trained)

    def resume(self, network, *, keep_optimizer):
        """Go on with a network, as `initialize` starts with a new one."""
        self.model_ = network
        self.target_encoder_ = self.feature_encoder_ = _PassThrough()
        self._random_state = None
        self._initialize_callbacks()
        self.keep_optimizer = keep_optimizer
        self._ensure_compiled_model()


class _PassThrough:
    """Transform nothing, in place of scikeras' encoders."""

    def fit(self, data):
        return self

    def transform(self, data):
        return data


def _scikeras_parameters(plan):
    optimizer, rate = plan.settings.optimizer, as_float(plan.settings.learning_rate)
    given = {} if rate is None else {"learning_rate": rate}
    if isinstance(optimizer, keras.optimizers.Optimizer):
        optimizer, given = copy_optimizer(optimizer, rate), {}
    return {
        "optimizer": optimizer,
        **{f"optimizer__{name}": value for name, value in given.items()},
        "loss": plan.loss,
        "epochs": plan.epochs,
        "callbacks": plan.callbacks,
        "shuffle": False,  # the batches come in an order of their own
        "verbose": 0,
    }


def refuse_trained_weights(network):
    """Refuse a network that shares weights with one that was trained before.

    Folds, candidates and estimators would silently share weights.
    """
    if any(id(variable) in _trained for variable in network.trainable_variables):
        raise ValueError(
            "The 'architecture' callable returned a model with weights that an earlier "
            "fit has trained, so that fits would silently share weights. Build new "
            "layers in each call, return keras.models.clone_model(...) of yours, or "
            "freeze shared layers with trainable=False."
        )
    _note_trained(network)


def _note_trained(network):
    for variable in network.trainable_variables:
        _trained[id(variable)] = variable


def refuse_divergence(network):
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise ValueError(
            "Training diverged: the network's weights are not finite any more. Lower "
            "learning_rate, or bring X to a range around [0, 1]."
        )


def _history_of(trainer):
    # Callbacks of the user, and Keras in bfloat16, note numbers of other types.
    items = trainer.history_.items()
    return {name: list(map(float, values)) for name, values in items}
