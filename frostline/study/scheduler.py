"""The scheduler of one runner, which does free steps and leaves those of other runners."""

from __future__ import annotations

import errno
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path

from frostline.cache import InputError, Workspace, lock_file
from frostline.console import say
from frostline.names import as_parameters
from frostline.study.file import Study
from frostline.study.plan import EXTERNAL, STORES, Plan, Step
from frostline.study.records import hardware, read_record, write_record
from frostline.study.steps import DO, is_done
from frostline.tracking.session import Session, Tracking

# What no run of a study can do anything about.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
PAUSE = 0.2, 5.0  # seconds between looks at what others do: at first, and at most
ON_GPU = ("embeddings", "views", "finetune", EXTERNAL)
FIRST = {"pixels": 0, "embeddings": 0, "views": 0}


@dataclass
class Settled:
    """Keys of the steps that are done, and of those that failed, each with a sentence."""

    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scheduler:
    """The steps of one runner.

    Attributes
    ----------
    failures : dict of str to float
        Failed steps when the study started, and when each had ended by the clock that wrote it:
        these are tried again, and what failed since is not.
    helper : bool
        Whether another runner of this command says what is waited for.
    on_gpu : bool
        Whether this one does what a GPU computes, if there is one.
    threads : int
        Threads of a computation on the CPU; 0 leaves their number to the libraries.
    tracking : Tracking
        Where runs are handed to once they are done, and epochs while they train.
    session : Session, optional
        That tracker while it is open, which `run` sees to.
    """

    workspace: Workspace
    study: Study
    plan: Plan
    shard: tuple[int, int] | None
    failures: dict[str, float] = field(default_factory=dict)
    helper: bool = False
    on_gpu: bool = True
    threads: int = 0
    tracking: Tracking = field(default_factory=Tracking)
    session: Session | None = None

    def run(self) -> Settled:
        """Do every step of this runner, or wait until others have done it."""
        if self.threads:
            import torch

            torch.set_num_threads(self.threads)
        with self.tracking.open(self.workspace, quiet=True) as session:
            return replace(self, session=session)._run()

    def _run(self) -> Settled:
        device, _ = self.study.machine().resolve()
        settled, left = Settled(), self._mine()
        pause, waiting = PAUSE[0], False
        while left:
            before = len(left)
            left = [step for step in left if not self._settle(step, settled, device)]
            if len(left) < before:
                pause = PAUSE[0]
                continue
            if left and not self.helper and not waiting:
                more = f" and {len(left) - 1} more" if len(left) > 1 else ""
                say(f"Waiting for another runner: {left[0].name} ({left[0].kind}){more}.")
            waiting = True
            time.sleep(pause)
            pause = min(2 * pause, PAUSE[1])
        return settled

    def _mine(self) -> list[Step]:
        """List the steps of this share and what they need, stores first."""
        wanted: set[str] = set()
        for step in reversed(self.plan.steps):
            if step.key in wanted or (step.kind not in STORES and step.in_shard(self.shard)):
                wanted |= {step.key, *step.needs}
        mine = [step for step in self.plan.steps if step.key in wanted]
        return sorted(mine, key=lambda step: FIRST.get(step.kind, 1))

    def _settle(self, step: Step, settled: Settled, device: str) -> bool:
        """Do a step if that is possible now; return whether it is done or has failed."""
        broken = [settled.failed[key] for key in step.needs if key in settled.failed]
        if broken:
            settled.failed[step.key] = broken[0]
            return True
        if not settled.done.issuperset(step.needs):
            return False
        with lock_file(self.workspace.record(step.key).with_suffix(".lock")) as mine:
            if not mine:
                return False
            failure = self._failure(step)
            if failure is not None:
                settled.failed[step.key] = failure
                return True
            if not is_done(self.workspace, step):
                if not self.on_gpu and step.kind in ON_GPU and device != "cpu":
                    return False
                self._do(step, settled)
                return True
        settled.done.add(step.key)
        return True

    def _failure(self, step: Step) -> str | None:
        """Read the sentence of another runner whose step failed since the study started."""
        record = read_record(self.workspace, step.key)
        if record is None or record["state"] != "failed":
            return None
        # The same failure, not a later one: no clock is asked, which may be that of another host.
        known = self.failures.get(step.key) == record["ended"]
        return None if known else str(record["error"])

    def _do(self, step: Step, settled: Settled) -> None:
        started, on_rows = time.time(), self.session and self.session.on_rows
        how = {"on_rows": on_rows} if on_rows and step.kind == "finetune" else {}
        try:
            facts = DO[step.kind](self.workspace, self.study, step, **how)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in HOPELESS:
                raise
            sentence = _sentence(error)
            trace = None if _is_users(error) else traceback.format_exc()
            write_record(self.workspace, step, "failed", started, error=sentence, traceback=trace)
            say(f"{step.name} ({step.kind}) failed: {sentence}")
            settled.failed[step.key] = sentence
            return
        # Before the record: another runner that sees it may hand over what is left.
        if self.session is not None:
            self.session.hand_over(Path(name).stem for name in facts.get("predictions", []))
        write_record(self.workspace, step, "done", started, **{"hardware": hardware()} | facts)
        settled.done.add(step.key)


def _sentence(error: Exception) -> str:
    text = as_parameters(" ".join(str(error).split()))
    return text if _is_users(error) else f"{type(error).__name__}: {text}"


def _is_users(error: Exception) -> bool:
    return isinstance(error, InputError)
