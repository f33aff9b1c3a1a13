"""Run in a process of its own: fine-tune, and be killed after some epochs."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import torch
from finetune_toy import SPEC, load, make_task

from frostline.cache import Store, Workspace, spec_key
from frostline.finetune import Epoch, finetune_run


def main(root: Path, moment: str) -> None:
    torch.set_num_threads(1)
    workspace = Workspace(root)

    def on_epoch(epoch: Epoch) -> None:
        print(epoch.epoch, flush=True)
        if moment == f"after epoch {epoch.epoch}":
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == "at any time" and epoch.epoch == 2:
            time.sleep(60)  # the kill comes before

    def open_pixels() -> Store:
        return Store.open(workspace.pixels("toy") / spec_key(SPEC))

    print(finetune_run(workspace, make_task(), open_pixels, load, on_epoch=on_epoch)[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
