"""A candidate that is a class of PyTorch modules, wherever it computes."""

from contextlib import nullcontext
from dataclasses import replace

import torch

from ..devices import Mode
from ..problems import Configuration, Problem
from ..runs import Masks, NotGiven, Run, run_torch, torch_type
from .arrays import Handed
from .modules import ConstructedCandidate, all_dropped, draws_masks
from .needs import OF_FINAL, OF_OUTPUT, NotOffered, ToDo
from .refusals import in_words


class TorchCandidate(ConstructedCandidate):
    """A class of PyTorch modules with `torch.nn.LSTM`'s interface.

    On a GPU float32 is computed as IEEE 754 says, not in TF32; float16 and bfloat16 as PyTorch does by itself.
    """

    expected = "expected output, state = module(input, state), and parameters with torch.nn's names and shapes"

    def attempt(self, *problems: Problem) -> tuple[list[Run], Masks | None]:
        """See `Implementation`."""
        problem = problems[0]
        c = problem.configuration
        hidden = draws_masks(c)
        module = self.module(self.dropping_all(c) if hidden else c, torch_type(problem))
        # A GPU would round more than these dtypes do.
        in_full = self.device != "cpu" and problem.dtype in ("float64", "float32")
        with Mode(problem.dtype, "ieee", True).switched_on() if in_full else nullcontext():
            runs = [self.passes(each, module) for each in problems]
        return runs, all_dropped(runs[0], c) if hidden else None

    def module(self, configuration: Configuration, dtype: torch.dtype) -> torch.nn.Module:
        """The candidate's object for the configuration."""
        made: torch.nn.Module = self.construct(configuration, dtype=dtype, device=self.device).to(dtype).to(self.device)
        return made

    def passes(self, problem: Problem, module: torch.nn.Module) -> Run:
        """Once forward and once backward."""
        handed = Handed()
        try:
            run = run_torch(problem, None, lambda *_, **__: module, self.device, handed, not self.forward_only)
        except NotGiven as missing:
            name = str(missing.args[-1])
            raise NotOffered(OF_OUTPUT if name == "output" else OF_FINAL, f"no {name} is returned") from missing
        except NotImplementedError as error:
            raise ToDo(in_words(error)) from error
        except RuntimeError as error:
            c = problem.configuration
            if self.device == "cpu" or c.training or "training mode" not in str(error):
                raise
            # cuDNN differentiates in training mode alone: eval() without dropout stands for itself in training mode.
            c = replace(c, training=True, dropout=0.0)
            return self.passes(replace(problem, configuration=c), self.module(c, torch_type(problem)))
        handed.check("a pass")
        return run


def there_is(device: str) -> bool:
    """Whether PyTorch has this device."""
    try:
        found = torch.device(device)
    except RuntimeError:
        return False
    return found.type == "cuda" and torch.cuda.is_available() and (found.index or 0) < torch.cuda.device_count()
