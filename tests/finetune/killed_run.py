"""Run in a process of its own: fine-tune, and be killed after some epochs."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch
from finetune_toy import SPEC, everything_task, load, load_vit, load_with_dropout, make_task

from frostline.cache import Store, Workspace, spec_key
from frostline.finetune import Epoch, Execution, finetune_folds, finetune_run


def main(root: Path, what: str, moment: str) -> None:
    torch.set_num_threads(1)
    workspace = Workspace(root)
    trained: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        print(epoch.epoch, flush=True)
        trained.append(epoch)
        if moment == f"after {len(trained)} epochs":
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == f"after epoch {epoch.epoch} of learning rate {epoch.candidate}":
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == "at any time" and epoch.epoch == 2:
            time.sleep(60)  # the kill comes before

    def open_pixels() -> Store:
        return Store.open(workspace.pixels("toy") / spec_key(SPEC))

    if what == "folds":
        how = Execution(on_epoch=on_epoch)
        finetune_folds(workspace, "3x1", make_task("timm:test_vit"), open_pixels, load_vit, how)
        return
    task, network = {
        "plain": (make_task(), load),
        "everything": (everything_task(), load_with_dropout),
    }[what]
    print(finetune_run(workspace, task, open_pixels, network, Execution(on_epoch=on_epoch))[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
