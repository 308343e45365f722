"""Training of a proxy as scorers see it: dynamics of every row, held-out predictions, and further trainings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from curate.errors import PluginError
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.stats.softmax import softmax
from curate.kernels.stats.softmax_statistics import STATISTICS, Statistic, softmax_statistics
from curate.kernels.types import Codes, FittedState, Matrix, Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curate.plugins.interfaces import DifferentiableProxy, Proxy

_ROWS = 4096
_SUM_TOLERANCE = 1e-2  # float16 storage rounds logarithms by up to 0.05 %


def compute_logits(proxy: Proxy, state: FittedState, embeddings: Matrix, run: int, epoch: int) -> Matrix:
    """Return the logits of rows after one epoch of one run, (n, classes) float32."""
    weights = proxy.last_layer(state, run, epoch)
    logits = np.empty((len(embeddings), weights.shape[1]), np.float32)

    def block(rows: slice) -> None:
        logits[rows] = proxy.features(state, embeddings[rows], run, epoch) @ weights[:-1] + weights[-1]

    for _ in map_blocks(block, block_slices(len(embeddings), _ROWS)):
        pass
    return logits


@dataclass(frozen=True, slots=True)
class ProxyModel:
    """Network behind training dynamics, for n rows; without a ``proxy``, a softmax layer on the embeddings."""

    embeddings: Matrix
    """Embeddings (n, d) float32."""

    proxy: Proxy | None = None
    state: FittedState | None = None
    """Fitted state of the proxy."""

    def features(self, run: int, epoch: int) -> Matrix:
        """Return the inputs of the last layer, (n, h + 1) float32 with 1 in the last column.

        Without a proxy they are the embeddings, without a column for a bias.
        """
        if self.proxy is None or self.state is None:
            return self.embeddings
        features = self.proxy.features(self.state, self.embeddings, run, epoch)
        return np.column_stack((features, np.ones(len(features), np.float32)))

    def last_layer(self, run: int, epoch: int) -> Matrix:
        """Return the weights of the last layer, (h + 1, classes) float32; the last row is the bias."""
        if self.proxy is None or self.state is None:
            raise PluginError("a training log has no weights", hint="use a trained proxy, such as mlp")
        return self.proxy.last_layer(self.state, run, epoch)

    def input_gradients(self, labels: Codes, run: int, epoch: int) -> Matrix:
        """Return the gradient of the label's logit with respect to the embedding of each row, (n, d) float32."""
        if self.proxy is None or self.state is None:
            raise PluginError("a training log has no input gradients", hint="use a trained proxy, such as mlp")
        differentiable: DifferentiableProxy = self.proxy  # type: ignore[assignment] # declared
        return differentiable.input_gradients(self.state, self.embeddings, labels, run, epoch)

    def take(self, rows: Rows) -> ProxyModel:
        """Return the same for ``rows``, in that order."""
        return replace(self, embeddings=self.embeddings[rows])


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Training dynamics of n rows: statistics and probabilities after each epoch of each run of a proxy."""

    labels: Codes
    """Class of each row (n,) int32; -1 for rows that the proxy was not trained on, whose scores are NaN."""

    classes: int
    runs: int
    epochs: int
    """Number of epochs of each run."""

    statistics: Collection[str]
    """Names of the known statistics."""

    read_statistic: Callable[[Statistic], Matrix]
    """Read a statistic of all epochs, (runs × epochs, n) float32; any value for rows without a label."""

    read_probabilities: Callable[[int, int], Matrix] | None = None
    """Read the (n, classes) float32 probabilities after one epoch of one run, both counted from 0; None for a log
    without probabilities."""

    learning_rate: float = 1.0
    """Learning rate of the proxy; 1 for a log."""

    model: ProxyModel | None = None
    """Network, for scorers that declare ``features`` or ``input_gradients``."""

    def __post_init__(self) -> None:
        if self.labels.dtype != np.int32:
            raise PluginError(f"dynamics: labels are {self.labels.dtype}, expected int32")
        self.labels.flags.writeable = False

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_logits(cls, labels: Codes, logits: NDArray[np.floating], model: ProxyModel | None = None) -> Dynamics:
        """Return dynamics from logits, or logarithms of probabilities, in memory.

        Parameters
        ----------
        labels : (n,) int32, -1 for rows without a label
        logits : (runs, epochs, n, classes) floats
        model : network; without it, the inputs of the last layer are taken to be of unit length, with a bias
        """
        runs, epochs, n, classes = logits.shape

        def read(name: Statistic) -> Matrix:
            steps = [(run, epoch) for run in range(runs) for epoch in range(epochs)]
            norms = [
                np.full(n, 2.0) if model is None else (model.features(*step) ** 2).sum(axis=1, dtype=np.float64)
                for step in steps
            ]
            found = [softmax_statistics(logits[step], labels, norm) for step, norm in zip(steps, norms, strict=True)]
            return np.stack([statistics[name] for statistics in found])

        return cls(
            labels, classes, runs, epochs, STATISTICS, read, lambda run, epoch: softmax(logits[run, epoch]), 1.0, model
        )

    @classmethod
    def from_probabilities(cls, labels: Codes, probabilities: Matrix) -> Dynamics:
        """Return dynamics from probabilities (runs, epochs, n, classes) in memory; see ``from_logits``."""
        return cls.from_logits(labels, np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)))

    def statistic(self, name: Statistic) -> NDArray[np.float32]:
        """Read a statistic after each epoch of each run, (runs, epochs, n) float32; NaN for rows without a label.

        Raises
        ------
        PluginError : if the proxy has no such statistic
        """
        if name not in self.statistics:
            raise PluginError(
                f"the training log contains no {name!r}: it has {', '.join(self.statistics)}",
                hint="log the probabilities or logits of each row, or use a trained proxy",
            )
        values = self.read_statistic(name)
        expected = (self.runs * self.epochs, len(self))
        if values.dtype != np.float32 or values.shape != expected:
            raise PluginError(f"dynamics: {name} is {values.dtype} {values.shape}, expected float32 {expected}")
        return np.where(self.labels >= 0, values, np.float32(np.nan)).reshape(self.runs, self.epochs, len(self))

    def probabilities(self, run: int, epoch: int) -> Matrix:
        """Read the probabilities after one epoch of one run, (n, classes) float32; nothing is cached.

        Raises
        ------
        PluginError : if there are none, or the rows do not sum to 1
        """
        if self.read_probabilities is None:
            raise PluginError("the training log contains no probabilities", hint="log the probabilities or logits")
        probabilities = self.read_probabilities(run, epoch)
        return _check_probabilities(
            f"the probabilities after epoch {epoch} of run {run}", probabilities, (len(self), self.classes)
        )

    def features(self, run: int, epoch: int) -> Matrix:
        """Return the inputs of the last layer after one epoch of one run, (n, h + 1) float32; see ``ProxyModel``."""
        return self._model.features(run, epoch)

    def input_gradients(self, run: int, epoch: int) -> Matrix:
        """Return the gradients of the labels' logits with respect to the embeddings, (n, d) float32.

        Those of rows without a label are of class 0.
        """
        return self._model.input_gradients(np.maximum(self.labels, 0), run, epoch)

    @property
    def _model(self) -> ProxyModel:
        if self.model is None:
            raise PluginError(
                "plugin read the network of a proxy, which is missing from its reads={…}",
                hint='add "features" or "input_gradients" to the decorator',
            )
        return self.model

    def take(self, rows: Rows) -> Dynamics:
        """Return the dynamics of ``rows``, in that order."""
        read = self.read_probabilities
        return replace(
            self,
            labels=self.labels[rows],
            read_statistic=lambda name: self.read_statistic(name)[:, rows],
            read_probabilities=None if read is None else lambda run, epoch: read(run, epoch)[rows],
            model=None if self.model is None else self.model.take(rows),
        )


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Predictions of a proxy for n rows that it was not trained on.

    In each run, rows are divided into folds by their content, so that copies share a fold, and each fold is predicted
    by a model that was trained on the other folds.
    """

    labels: Codes
    """Class of each row (n,) int32; -1 for rows without a label, which are predicted as well."""

    classes: int
    runs: int
    """Number of divisions into folds."""

    read: Callable[[int], Matrix]
    """Read the (n, classes) float32 probabilities of one run, counted from 0."""

    def __len__(self) -> int:
        return len(self.labels)

    def probabilities(self, run: int) -> Matrix:
        """Read the held-out probabilities of one run, (n, classes) float32; nothing is cached.

        Raises
        ------
        PluginError : if the rows do not sum to 1
        """
        shape = (len(self), self.classes)
        return _check_probabilities(f"the held-out probabilities of run {run}", self.read(run), shape)

    def take(self, rows: Rows) -> HeldOut:
        """Return the predictions for ``rows``, in that order."""
        return replace(self, labels=self.labels[rows], read=lambda run: self.read(run)[rows])


@dataclass(frozen=True, slots=True)
class Learner:
    """Trained proxy of the configuration, for scorers that train it on parts of the pool.

    Its methods may be called from several threads.
    """

    embeddings: Matrix
    """Embeddings (n, d) float32, rows of unit length."""

    labels: Codes
    """Class of each row (n,) int32; -1 for rows without a label."""

    classes: int
    proxy: Proxy

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def runs(self) -> int:
        """Number of runs of one training."""
        return self.proxy.runs

    @property
    def epochs(self) -> int:
        """Number of epochs of each run."""
        return self.proxy.epochs

    def take(self, rows: Rows) -> Learner:
        """Return the same for ``rows``, in that order."""
        return replace(self, embeddings=self.embeddings[rows], labels=self.labels[rows])

    def train(
        self,
        rows: Rows,
        rng: np.random.Generator,
        *,
        labels: Codes | None = None,
        classes: int | None = None,
        start: FittedState | None = None,
    ) -> FittedState:
        """Train the proxy on some rows.

        Parameters
        ----------
        rows : (k,) row indices, all with a label
        rng : random generator
        labels : (n,) int32 labels in place of those of the pool
        classes : number of classes with these labels
        start : fitted state to continue from
        """
        codes = (self.labels if labels is None else labels)[rows]
        return self.proxy.train(self.embeddings[rows], codes, classes or self.classes, rng, start)

    def logits(self, state: FittedState, rows: Rows, run: int = -1, epoch: int = -1) -> Matrix:
        """Return the logits of some rows after one epoch of one run, by default the last; (m, classes) float32."""
        return compute_logits(self.proxy, state, self.embeddings[rows], run % self.runs, epoch % self.epochs)

    def predict(self, state: FittedState, rows: Rows, run: int = -1, epoch: int = -1) -> Matrix:
        """Return the probabilities of some rows after one epoch of one run, by default the last; (m, classes)."""
        return softmax(self.logits(state, rows, run, epoch))

    def fit_predict(self, training_rows: Rows, rows: Rows, rng: np.random.Generator) -> Matrix:
        """Train the proxy on some rows, and return the probabilities of others, (m, classes) float32.

        They are those after the last epoch, averaged over the runs of the proxy.
        """
        state = self.train(training_rows, rng)
        total = self.predict(state, rows, 0)
        for run in range(1, self.runs):
            total += self.predict(state, rows, run)
        total /= np.float32(self.runs)
        return total


def _check_probabilities(name: str, probabilities: Matrix, shape: tuple[int, int]) -> Matrix:
    if probabilities.dtype != np.float32 or probabilities.shape != shape:
        raise PluginError(f"dynamics: {name} are {probabilities.dtype} {probabilities.shape}, expected float32 {shape}")
    if not (np.abs(probabilities.sum(axis=1) - 1) < _SUM_TOLERANCE).all() or (probabilities < 0).any():
        raise PluginError(f"dynamics: {name} do not sum to 1")
    probabilities.flags.writeable = False
    return probabilities
