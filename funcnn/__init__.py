"""Neural networks as plain mathematics: pure functions and immutable records, on NumPy.

A layer is a pair of pure functions, a model is their composition, and training is a fold:

    import funcnn as fn

    data      = fn.load_dataset("mnist_5k")
    model     = fn.serial(fn.dense(128), fn.relu(), fn.dense(64), fn.relu(), fn.dense(10))
    loss      = fn.softmax_cross_entropy()
    optimizer = fn.adam(fn.inverse_time_decay(1e-3, decay=1e-5))
    step      = fn.train_step(model, loss, optimizer, metrics={"accuracy": fn.accuracy})

    key       = fn.Key(0)
    params, _ = model.init(key.at("init"), data.train.inputs.shape[1:])
    state     = step.init(params, key.at("train"))
    for batch in fn.batches(key.at("epoch", 0), data.train, batch_size=128):
        params, state = step(params, state, batch)
    print(state.metrics, fn.evaluate(model, loss, params, data.test, metrics={"accuracy": fn.accuracy}))

Nothing here changes an argument, keeps a global, or draws a number without a key. Where to look:

    layers        dense, conv2d, embedding, relu and the other activations, softmax, dropout, layer_norm, pools;
                  serial, residual, concatenate, add, parallel, repeat; elementwise for one's own
    losses        softmax_cross_entropy, sigmoid_binary_cross_entropy, mean_squared_error, huber, ...
    optimizers    sgd, adam, adamw, nadam, adagrad, rmsprop; chain, clip, clip_by_global_norm, freeze, max_norm, ...
    penalties     l1, l2
    schedules     constant, inverse_time_decay, exponential_decay, polynomial, cosine, warm_up, one_cycle, join, ...
    nnfs          the optimizers of Neural Networks from Scratch, exactly
    initializers  he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal, normal, zeros
    metrics       accuracy, top_k_accuracy, confusion_matrix, precision, recall, f1, calibration_error, ...
    training      train_step, trajectory, evaluate, loss_and_gradient, per_example_gradients; learning_rate and
                  gradient_norm, which a step can measure
    data          load_dataset, load_folder, batches; read_idx, write_idx; read_image, as_mnist
    checkpoint    save, load for a model; save_tree, load_tree for whatever a run is resumed from
    testing       check_layer, check_loss, check_optimizer and the other laws
    jax           the same step: compiled, epoch, scanned, over_seeds, sharded; JAX and Optax take params as they are
    layer         what a layer is; predict, pullback, summary
    keys          Key: randomness as a value
    tree          records as trees: map, leaves, equal
    spec          described: constructors that remember their call
    arrays        namespaces and read-only views

A layer of one's own is a constructor, decorated by ``described``, that returns ``Layer(init, forward, vjp)``.
"""

from funcnn import arrays, initializers, metrics, nnfs, tree
from funcnn.arrays import keep_freed_memory
from funcnn.checkpoint import SavedModel, load, load_tree, save, save_tree
from funcnn.data import Dataset, batches, load_dataset, load_folder
from funcnn.errors import InputError
from funcnn.initializers import Initializer
from funcnn.keys import Key
from funcnn.layer import INFERENCE, Layer, Training, predict, pullback, summary
from funcnn.layers import (
    add,
    avg_pool2d,
    concatenate,
    conv2d,
    dense,
    dropout,
    elementwise,
    elu,
    embedding,
    flatten,
    gelu,
    identity,
    layer_norm,
    leaky_relu,
    log_softmax,
    max_pool2d,
    parallel,
    relu,
    repeat,
    reshape,
    residual,
    rms_norm,
    selu,
    serial,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from funcnn.losses import (
    Loss,
    binary_cross_entropy,
    categorical_cross_entropy,
    class_weights,
    hinge,
    huber,
    kl_divergence,
    mean_absolute_error,
    mean_squared_error,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
)
from funcnn.metrics import accuracy
from funcnn.optimizers import (
    Optimizer,
    accumulate,
    adagrad,
    adam,
    adamw,
    add_decayed_weights,
    apply_updates,
    averaged,
    chain,
    clip,
    clip_by_global_norm,
    exponential_moving_average,
    freeze,
    global_norm,
    max_norm,
    nadam,
    rmsprop,
    sgd,
    skip_if_not_finite,
)
from funcnn.penalties import Penalty, l1, l2
from funcnn.schedules import (
    Schedule,
    constant,
    cosine,
    exponential_decay,
    inverse_time_decay,
    join,
    one_cycle,
    piecewise,
    polynomial,
    warm_up,
)
from funcnn.spec import described
from funcnn.training import (
    Batch,
    State,
    StepMetric,
    TrainStep,
    evaluate,
    gradient_norm,
    learning_rate,
    loss_and_gradient,
    per_example_gradients,
    train_step,
    trajectory,
)
from funcnn.tree import frozendict, record
from funcnn.version import __version__

__all__ = [
    "INFERENCE",
    "Batch",
    "Dataset",
    "Initializer",
    "InputError",
    "Key",
    "Layer",
    "Loss",
    "Optimizer",
    "Penalty",
    "SavedModel",
    "Schedule",
    "State",
    "StepMetric",
    "TrainStep",
    "Training",
    "__version__",
    "accumulate",
    "accuracy",
    "adagrad",
    "adam",
    "adamw",
    "add",
    "add_decayed_weights",
    "apply_updates",
    "arrays",
    "averaged",
    "avg_pool2d",
    "batches",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "chain",
    "class_weights",
    "clip",
    "clip_by_global_norm",
    "concatenate",
    "constant",
    "conv2d",
    "cosine",
    "dense",
    "described",
    "dropout",
    "elementwise",
    "elu",
    "embedding",
    "evaluate",
    "exponential_decay",
    "exponential_moving_average",
    "flatten",
    "freeze",
    "frozendict",
    "gelu",
    "global_norm",
    "gradient_norm",
    "hinge",
    "huber",
    "identity",
    "initializers",
    "inverse_time_decay",
    "join",
    "keep_freed_memory",
    "kl_divergence",
    "l1",
    "l2",
    "layer_norm",
    "leaky_relu",
    "learning_rate",
    "load",
    "load_dataset",
    "load_folder",
    "load_tree",
    "log_softmax",
    "loss_and_gradient",
    "max_norm",
    "max_pool2d",
    "mean_absolute_error",
    "mean_squared_error",
    "metrics",
    "nadam",
    "nnfs",
    "one_cycle",
    "parallel",
    "per_example_gradients",
    "piecewise",
    "polynomial",
    "predict",
    "pullback",
    "record",
    "relu",
    "repeat",
    "reshape",
    "residual",
    "rms_norm",
    "rmsprop",
    "save",
    "save_tree",
    "selu",
    "serial",
    "sgd",
    "sigmoid",
    "sigmoid_binary_cross_entropy",
    "silu",
    "skip_if_not_finite",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "summary",
    "tanh",
    "train_step",
    "trajectory",
    "tree",
    "warm_up",
]
