"""The one seam to scikeras: what is used of it, and what is repaired.

Used: `scikeras.wrappers.KerasClassifier` builds a network from a function, turns the
optimizer (a name, a class or an instance, with its learning rate) into an object,
compiles, trains, and collects the history.

Repaired here, for scikeras 0.13 (its last release; each can go when scikeras does it):

- It validates X and y itself and refuses what isn't an array: data arrives validated
  and batched, so validation and label encoding are passed through (`_Trainer`).
- `random_state` writes os.environ and switches TensorFlow's operations to
  deterministic ones, and can leave them so for the whole process: scikeras gets
  random_state=None, and `seeded` gives Keras the one thing that it draws seeds from.
- An optimizer instance fits once only, since Keras binds it to the first network's
  variables: each fit gets a new one made from its configuration.
- It accepts any parameter name: ours are explicit, and only known ones come here.

And for Keras 3.15 on TensorFlow 2.21:

- Each fit stays in memory for ever, since the optimizer sums gradients over replicas
  through tf.custom_gradient, whose global registry keeps the graph (tensorflow#97697).
  With one replica there is nothing to sum, and the step is left out on the optimizer
  that belongs to the fit. It can go when TensorFlow's registry lets go.
- TensorFlow counts the functions that it traces by their place in Keras' source, so
  that the fifth short fit of a process logs a warning of retracing, though each network
  is traced once. That message of the fitting thread is dropped. It can go when
  TensorFlow counts by function.

Importing scikeras replaces `__reduce__` and `__deepcopy__` of Keras' models, losses,
metrics and optimizers. Nothing here relies on that.
"""

import contextlib
import random
import threading

import keras
import tensorflow
from scikeras.wrappers import KerasClassifier

# Keras draws the seeds of initializers and dropout from Python's global generator,
# and TensorFlow's tracing isn't safe across threads: one fit at a time in a process.
_TRAINING_LOCK = threading.RLock()

# Batches that TensorFlow runs in one call: saves about a millisecond a batch.
_STEPS_PER_EXECUTION = 16


@contextlib.contextmanager
def seeded(seed):
    """Build and train under a seed, one thread at a time.

    Parameters
    ----------
    seed : int
        Seed of everything that Keras draws inside; Python's global generator is as
        before afterwards, and no other one is touched.
    """
    with _TRAINING_LOCK:
        state = random.getstate()
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)


def train_network(
    build, batches, *, optimizer, learning_rate, loss, epochs, callbacks, seed
):
    """Build, compile and train a network.

    Parameters
    ----------
    build : callable
        Takes nothing and returns a keras.Model that isn't compiled.
    batches : keras.utils.PyDataset
        The training data.
    optimizer : str, keras.optimizers.Optimizer or subclass of it
        The optimizer; an instance is copied.
    learning_rate : float, keras LearningRateSchedule or None
        Its learning rate; None for its own default.
    loss : str
        Name of a Keras loss.
    epochs : int
        Number of passes over the data.
    callbacks : list of keras.callbacks.Callback
        Called during training.
    seed : int
        Decides weights and dropout.

    Returns
    -------
    network : keras.Model
        Trained.
    history : dict of str to list of float
        One value an epoch for the loss and each metric.
    """

    def build_compiled(compile_kwargs):
        network = build()
        _leave_out_all_reduce(compile_kwargs["optimizer"])
        network.compile(**compile_kwargs, steps_per_execution=_STEPS_PER_EXECUTION)
        return network

    rate = {} if learning_rate is None else {"optimizer__learning_rate": learning_rate}
    trainer = _Trainer(
        build_compiled,
        optimizer=copy_optimizer(optimizer),
        loss=loss,
        metrics=["accuracy"],
        epochs=epochs,
        callbacks=callbacks,
        shuffle=False,  # the batches come in an order of their own
        verbose=0,
        **rate,
    )
    with seeded(seed), _quiet_about_retracing():
        trainer.fit(batches, None)
    return trainer.model_, {name: list(v) for name, v in trainer.history_.items()}


def copy_optimizer(optimizer):
    """Return a name or class as it is, and of an instance a new one like it."""
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return type(optimizer).from_config(optimizer.get_config())
    return optimizer


@contextlib.contextmanager
def _quiet_about_retracing():
    thread = threading.get_ident()

    def keep(record):
        return record.thread != thread or "tf.function retracing" not in str(record.msg)

    logger = tensorflow.get_logger()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


class _Trainer(KerasClassifier):
    """scikeras' classifier over batches that were validated and encoded before."""

    def _validate_data(self, X=None, y=None, reset=False, y_numeric=False):
        return X, y

    @property
    def target_encoder(self):
        return _PassThrough()

    @property
    def feature_encoder(self):
        return _PassThrough()


class _PassThrough:
    """A transformer that changes nothing and looks at nothing."""

    def fit(self, data):
        return self

    def transform(self, data):
        return data


def _leave_out_all_reduce(optimizer):
    if tensorflow.distribute.get_strategy().num_replicas_in_sync == 1:
        optimizer._all_reduce_sum_gradients = _keep_gradients


def _keep_gradients(grads_and_vars):
    return grads_and_vars
