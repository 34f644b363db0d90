"""A search for the settings of one model: every trial is a training run judged on validation data."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micgraph import disk, rng, sealed
from micgraph.config import merge, nested, read_yaml
from micgraph.evaluation import EvalData, prepared
from micgraph.pipeline import train
from micgraph.presets import RunConfig, resolve, task_settings
from micgraph.run import Run
from micgraph.schema import ConfigError, InputError, check_whole
from micgraph.tasks.registry import GROUPS
from micgraph.tuning.space import SECTION, Choice, Space, plain, read_space, suggest
from micgraph.tuning.trial import Trial, Tuned, best_of, run_folder

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.graph.split import Holdout

STUDY, BEST, TRIALS = "study.json", "best.yaml", "trials"
ATTEMPTS = 50
"""Draws of settings that were tried before until the space counts as searched to its end."""


def tune(
    graph: RecGraph,
    model: str | None = None,
    validation: Holdout | EvalData | None = None,
    search: Mapping[str, Any] | str | Path | None = None,
    trials: int = 8,
    out: str | Path = "tuned",
    config: Mapping[str, Any] | str | Path | None = None,
    device: str = "auto",
    filter_seen: bool = True,
    seed: int = 0,
    on_trial: Callable[[Trial], None] | None = None,
    progress: bool = True,
) -> Tuned:
    """Search for a model's settings on validation data; nothing else is ever judged.

    The first trial is the defaults, so that the best is never behind them. The others are drawn by optuna's TPE; each
    is a function of the seed and of the trials before it. A search found in ``out`` is gone on from: trials that have
    ended are read, one that was interrupted goes on from its last checkpoint, and ``trials`` may grow.

    Args:
        graph: what :func:`micgraph.build` made of the training events.
        model: encoder and tasks; see :func:`micgraph.train`.
        validation: held-out events that score the trials, by ``training.monitor`` at the best epoch.
        search: dotted setting -> ``{"values": [...]}`` or ``{"low", "high", "log"}``, or a YAML file with a section
            ``search``; by default that section of the file ``config``.
        trials: how many in all, the defaults included; rows that are compared get the same number.
        out: the directory of the search.
        config: settings that all trials share, nested, or the path of a YAML file.
        device, filter_seen, progress: see :func:`micgraph.train`.
        seed: of the search; that of the runs is ``training.seed``.
        on_trial: receives each trial that has ended.

    Raises:
        ConfigError: nothing to search, an unknown setting, another search in ``out``, or every trial diverged.
        InputError: no validation; else see :func:`micgraph.train`.
        MissingExtraError: optuna is not installed and there is more than one trial.
    """
    check_whole("trials", trials, "such as 8")
    if trials < 1:
        raise ConfigError("trials", "at least 1", trials, "pass for example trials=8")
    if validation is None:
        raise InputError("validation", "held-out events to score trials on", "none", "pass validation=split.valid")
    given = read_yaml(config) if isinstance(config, (str, Path)) else dict(config or {})
    wanted = given.get(SECTION) if search is None else search
    study = _Study(
        Path(out),
        resolve(model, given, graph.n_items),
        {name: values for name, values in given.items() if name != SECTION},
        read_space(wanted or {}) if wanted or trials > 1 else {},
        seed,
    )
    study.check(model, graph.n_items)
    data = prepared(validation, graph)
    study.claim({"graph": graph.fingerprint(), "validation": data.manifest, "filter_seen": filter_seen})

    def run(settings: Mapping[str, Any], path: Path) -> Run:
        chosen = merge(study.shared, nested(settings))
        return train(graph, model, data, chosen, path, device, filter_seen, progress=progress)

    return study.run(trials, run, on_trial or (lambda trial: None))


@dataclass(frozen=True)
class _Study:
    """A search and its directory.

    Attributes:
        folder: holds everything.
        defaults: of the model, with what was given.
        shared: what was given for all trials.
        space: what may be searched.
        seed: of the search.
    """

    folder: Path
    defaults: RunConfig
    shared: dict[str, Any]
    space: Space
    seed: int

    @property
    def monitor(self) -> str:
        return f"valid/{self.defaults.training.monitor}"

    def check(self, model: str | None, n_items: int) -> None:
        """Refuse names and values that no run takes before the first trial."""
        for name, entry in self.space.items():
            for value in entry.values if isinstance(entry, Choice) else (entry.low, entry.high):
                resolve(model, merge(self.shared, nested({name: value})), n_items)

    def claim(self, judged: dict[str, Any]) -> None:
        """Write what is searched, or check that the search found in the folder is the same."""
        spelled = {name: asdict(entry) for name, entry in self.space.items()}
        setup = {"defaults": asdict(self.defaults), "space": spelled, "seed": self.seed, **judged}
        setup = plain(setup)
        path = self.folder / STUDY
        if not path.exists():
            sealed.write(path, setup)
        saved = sealed.read(path, setup)
        differing = [name for name in setup if saved.get(name) != setup[name]]
        if differing:
            expected = "a new directory, or a search of the same settings, graph and validation to go on with"
            got = f"{self.folder}, whose {', '.join(differing)} differ"
            raise ConfigError("out", expected, got, "choose another directory")

    def run(
        self, trials: int, train_run: Callable[[Mapping[str, Any], Path], Run], on_trial: Callable[[Trial], None]
    ) -> Tuned:
        """Trials up to the budget, or until there is nothing new to try."""
        done: list[Trial] = []
        while len(done) < trials:
            path = self.folder / TRIALS / f"{len(done):03d}.json"
            if path.exists():
                done.append(Trial(**sealed.read(path, [part.name for part in fields(Trial)])))
                continue
            settings = self.next_settings(done)
            if settings is None:
                break
            done.append(self.attempt(len(done), settings, train_run))
            sealed.write(path, asdict(done[-1]))
            self.keep_best(done)
            on_trial(done[-1])
        return self.finish(done)

    def next_settings(self, done: Sequence[Trial]) -> dict[str, Any] | None:
        """The defaults at first, then settings that were not tried before; None where these are used up."""
        if not done:
            return {}
        told = [(trial.settings, trial.score) for trial in done if trial.score is not None]
        for attempt in range(ATTEMPTS):
            found = suggest(self.space, told, rng.make_key(self.seed, "tune", len(done), attempt))
            if all(plain(found) != plain(trial.settings) for trial in done):
                return found
        return None

    def attempt(
        self, number: int, settings: dict[str, Any], train_run: Callable[[Mapping[str, Any], Path], Run]
    ) -> Trial:
        """Train with some settings, and see how far it came."""
        named = settings or {name: _setting(self.defaults, name) for name in self.space}
        try:
            rows = train_run(settings, run_folder(self.folder, number)).metrics
        except ConfigError as error:
            if error.argument != "training":  # a loss that is not finite: what else is wrong, check() has found
                raise
            return Trial(number, plain(named), None, 0, 0.0, {}, [str(error.got), error.remedy])
        best = max((row for row in rows if self.monitor in row), key=lambda row: row[self.monitor])
        metrics = {name: value for name, value in best.items() if name.startswith("valid/")}
        seconds = sum(row["seconds"] for row in rows)
        return Trial(number, plain(named), best[self.monitor], best["epoch"], seconds, metrics)

    def keep_best(self, done: Sequence[Trial]) -> None:
        """Remove the runs of all trials but the best."""
        best = best_of(done).number
        for trial in done:
            if trial.number != best:
                shutil.rmtree(run_folder(self.folder, trial.number), ignore_errors=True)

    def finish(self, done: Sequence[Trial]) -> Tuned:
        """Write the best settings.

        Raises:
            ConfigError: no trial has a score.
        """
        import yaml

        best = best_of(done)
        if best.score is None:
            loss, remedy = best.diverged or ["none", "lower training.lr"]
            got = f"{len(done)} that all diverged, the first with the loss {loss}"
            raise ConfigError("trials", "at least one with a finite loss", got, remedy)
        chosen = merge(self.shared, nested(best.settings) if best.number else {})
        tasks = {name: {} for name in self.defaults.tasks} | task_settings(chosen.get("tasks") or {})
        chosen["tasks"] = {name: settings for name, settings in tasks.items() if settings is not False}
        config = plain(merge({"model": {"encoder": self.defaults.model.encoder}}, chosen))
        disk.write_text(self.folder / BEST, yaml.safe_dump(config, sort_keys=False))
        monitor = self.monitor.removeprefix("valid/")
        return Tuned(self.folder, self.defaults.name, monitor, config, tuple(done))


def _setting(config: RunConfig, name: str) -> Any:
    """The value that a configuration has at a dotted name, None where it has none."""
    first, *path = (part.split(",")[0] for part in name.split("."))  # several that get one value: the first one's
    place: Any = getattr(config, first)
    if first == "tasks":
        task, *path = path
        place = config.task_config(GROUPS.get(task, (task,))[0])
    for part in path:
        place = place.get(part) if isinstance(place, Mapping) else getattr(place, part)
    return place
