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

    layers        dense, conv2d, conv1d, embedding, attention, positions, recurrent, gru; relu and the other
                  activations, softmax, dropout, layer_norm, batch_norm, pools; serial, residual, repeat, parallel,
                  fork, joined, summed, add, concatenate; elementwise for one's own
    losses        softmax_cross_entropy, sigmoid_binary_cross_entropy, mean_squared_error, joint_loss, huber, ...
    optimizers    sgd, adam, adamw, nadam, lion, adagrad, rmsprop; chain, groups, clip_by_global_norm, freeze, ...
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
    onnx          export, load: a trained model for other programs, and models of PyTorch and scikit-learn to train on
    layer         what a layer is; predict, pullback, summary, calibrated
    diagram       the architecture of a model as an SVG figure
    keys          Key: randomness as a value
    tree          records as trees: map, leaves, equal
    spec          described: constructors that remember their call
    arrays        namespaces and read-only views

A layer of one's own is a constructor, decorated by ``described``, that returns ``Layer(init, forward, vjp)``.
"""

from funcnn import arrays as arrays, initializers as initializers, metrics as metrics, nnfs as nnfs, tree as tree
from funcnn.arrays import keep_freed_memory as keep_freed_memory
from funcnn.checkpoint import *
from funcnn.data import Dataset as Dataset, batches as batches, load_dataset as load_dataset, load_folder as load_folder
from funcnn.diagram import *
from funcnn.errors import InputError as InputError
from funcnn.initializers import Initializer as Initializer
from funcnn.keys import *
from funcnn.layer import *
from funcnn.layers.activations import *
from funcnn.layers.attention import *
from funcnn.layers.batch_norm import *
from funcnn.layers.branches import *
from funcnn.layers.combinators import *
from funcnn.layers.convolution import *
from funcnn.layers.dense import *
from funcnn.layers.dropout import *
from funcnn.layers.embedding import *
from funcnn.layers.normalization import *
from funcnn.layers.recurrent import *
from funcnn.layers.resampling import *
from funcnn.layers.shapes import *
from funcnn.losses import *
from funcnn.metrics import accuracy as accuracy
from funcnn.optimizers.base import *
from funcnn.optimizers.groups import *
from funcnn.optimizers.rules import *
from funcnn.optimizers.scaling import *
from funcnn.optimizers.transforms import *
from funcnn.optimizers.wrappers import *
from funcnn.outline import *
from funcnn.penalties import *
from funcnn.schedules import *
from funcnn.spec import described as described
from funcnn.training import *
from funcnn.tree import frozendict as frozendict, record as record
from funcnn.version import __version__ as __version__
