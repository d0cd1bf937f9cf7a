"""Mutation testing: a change of what the core does must make one of its tests fail.

    .venv/bin/pip install -e '.[mutation]' && .venv/bin/python -m tests.mutation

plants one small change after another into a copy of `scratch/nn` and `scratch/optim`, in the folder `mutants`, and runs
the tests that reach it, the quickest first. What survives 25 examples of each property has a reason why no test can
notice it, in the table below, or is tried again with more examples. The exit status is 0 if each survivor has a
reason. A second run goes on where the first was stopped; for a fresh one delete `mutants`.

The tool is mutmut, whose own commands work, too (`python -m tests.mutation show NAME`). By itself it leaves out every
function with a decorator, and with them the forward and backward passes; here these are mutated as well.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import click
import libcst as cst
from libcst import matchers as m
from mutmut.__main__ import _run, cli
from mutmut.configuration import config
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files

KINDS = ("fc", "iu", "biu", "iuf", "biuf")
ORDER = "another order in memory: the same numbers"
LETTER = "NumPy reads the letter in either case"
PARTS = "parts of another size lose as few digits"
IF_ANY = "it is only asked whether there is one"
FALSE = "as false as what it replaces"

EQUIVALENT: list[tuple[str, str, str | tuple[str, ...], str]] = [
    ("", 'order="C"', "order=None", ORDER),
    ("", 'order="C")', ")", ORDER),
    ("Tape", 'order="F" if max(batch_sizes) == 1 else "C"', "order=None", ORDER),
    ("Tape", ', order="F" if max(batch_sizes) == 1 else "C")', ", )", ORDER),
    ("Tape", "max(batch_sizes) == 1", ("(max(batch_sizes) == 1) and False", "(max(batch_sizes) == 1) or True"), ORDER),
    ("Tape", "max(batch_sizes) == 1", ("max(batch_sizes) != 1", "max(batch_sizes) == 2"), ORDER),
    ("", '"C"', '"c"', LETTER),
    ("", '"F"', '"f"', LETTER),
    ("", '"stable"', '"STABLE"', LETTER),
    *(("", f'not in "{kinds}"', f'not in "XX{kinds}XX"', "no dtype is of the kind X") for kinds in KINDS),
    ("", "reshape(-1", "reshape(-2", "NumPy finds the size for any negative number"),
    ("RecurrentCellǁforward", "input.size else", "(input.size) or True else", "NumPy finds 0 rows, too: no width is 0"),
    ("Embeddingǁbackward", "prepend=-1", "prepend=-2", "any number below the indices begins the first run"),
    ("Embeddingǁbackward", "starts, axis=0)", "starts, )", "axis 0 is the default"),
    ("Moduleǁfloat", "np.float32", "None", "without a dtype, float32 is meant"),
    ("Parameterǁ__array__", "dtype=dtype, copy", ("dtype=None, copy", "copy"), "NumPy casts what it is given"),
    ("Kindǁcell", "(1, 1,", ("(2, 1,", "(1, 2,"), "a cell has no sizes"),
    ("RecurrentCellǁbackward", "self._spent_tapes", "None", "a single step is never computed again"),
    ("Recurrence", "cast(StateT,", "cast(None,", "at run time a cast does nothing"),
    ("bptt.x_", "part[:, :0]", "part[:, :1]", "the first column enters in any case"),
    ("bptt.x_joined", "b_ih is None or", "b_ih is None and", "both biases are there or neither"),
    ("Tapeǁ__init__", "batch_sizes, 0", "batch_sizes, 1", "a byte more"),
    ("Tapeǁ__init__", "order=order", "order=None", ORDER),
    ("Tapeǁ__init__", "order=order)", ")", ORDER),
    ("Tapeǁ__init__", "max(1, done", "max(2, done", PARTS),
    ("Tapeǁ__init__", "H if P else 0", "H if P else 1", "a row that nobody reads"),
    ("Tapeǁ__init__", "P or 0", "P or 1", "a row that nobody reads"),
    ("Segmentǁnbytes", "self.tape is None else", "(self.tape is None) and False else", "then the parts are counted"),
    ("Segmentǁnbytes", "(0 if", "(1 if", "a byte more"),
    ("pile.x_nbytes", "else 0", "else 1", "a byte more"),
    ("Pileǁ", "self.nbytes = 0", "self.nbytes = 1", "a byte more"),
    ("Pileǁclear", "dropped = False", "dropped = None", FALSE),
    ("Pileǁtake", "> after", ">= after", "no tape has the number of a call"),
    ("Pileǁtake", "<= after", "< after", "no tape has the number of a call"),
    ("Pileǁdrop_useless", "> LEFT_OVER and", ">= LEFT_OVER and", "the loop below asks again"),
    ("Parameterǁchanged", "+= 1", ("-= 1", "+= 2"), "it is only asked whether the count is another one"),
    ("Moduleǁ_seal", '"_sealed"] = True', ('"_sealed"] = None', '"_sealed"] = False'), IF_ANY),
    ("Moduleǁ_pile", '"_piles"', ('"XX_pilesXX"', '"_PILES"'), "setdefault finds it, too"),
    ("recomputation.x_forward", "max(1, max(batch_sizes))", "max(2, max(batch_sizes))", "shorter, the same numbers"),
    ("Recurrentǁbackward", "copy=False", "copy=True", "a copy more"),
    ("Layoutǁrows", "if copy else", "if (copy) or True else", "a copy more"),
    ("Recurrentǁbackward", "copy=False", "copy=None", FALSE),
    ("RecurrentCellǁ__init__", "projected=False", "projected=None", FALSE),
    ("x__filled", "fits = False", "fits = None", FALSE),
    ("x_resize", "width < now", "width <= now", "of the same width the columns are the same"),
    ("x_resize", "width > now", "width >= now", "of the same width nothing enters"),
    ("x_forward", "entering=initial, leaving=final)", "entering=None, leaving=final)", "at width 0 nothing enters"),
    ("x_each", "repeat(())", "repeat(None)", "a cell that keeps nothing reads nothing"),
    ("recomputation.x_backward", "weights.W_hh.shape[1]), x.dtype)", "weights.W_hh.shape[1]), None)", "thrown away"),
    ("recomputation.x_backward", "weights.W_hh.shape[1]), x.dtype)", "weights.W_hh.shape[1]), )", "thrown away"),
    ("x_sum_of_rows", "> 8", (">= 8", "> 9"), PARTS),
    ("x_sum_of_rows", "// 8", "// 9", PARTS),
    ("x_sum_of_outer_products", "columns.shape[0] *", "columns.shape[0] /", PARTS),
    ("x_sum_of_outer_products", "<= 4096", "< 4096", PARTS),
    ("x_sum_of_outer_products", "4096", "4097", PARTS),
    ("x_sum_of_outer_products", "if is_small", "if (is_small) or True", PARTS),
    ("x_sum_of_outer_products", "max(256", "max(257", PARTS),
    ("Recurrentǁforward", "self.dropout > 0", "self.dropout >= 0", "a dropout of 0 drops nothing"),
    ("dropout.x_draw", ">= p", "> p", "u equals p once in 2⁵³ draws"),
    ("Layoutǁsequence", "rows.shape[-1]", "rows.shape[+1]", "rows have two dimensions"),
    ("clip_grad_norm_", "coefficient >= 1", "coefficient > 1", "a factor of 1 changes nothing"),
    ("clip_grad.x__norm", "order > 0", "order >= 0", "the norm of order 0 is counted below"),
    ("add_param_group", "member[-1]", "member[+1]", "names and parameters come in pairs"),
]
"""Why a survivor is no gap: in which function which text has become which, or one of which, and the reason."""

TRANSPARENT = (
    m.Name("without_warnings") | m.Name("property") | m.Name("contextmanager") | m.Attribute(attr=m.Name("setter"))
)
"""Decorators that stay right when they are applied once, around the choice of the mutant."""

STRICT = m.Arg(keyword=m.Name("strict"))
"""`zip(…, strict=True)` states what always holds; without it nothing changes. So it is left alone."""

skip_node = file_mutation.MutationVisitor._skip_node_and_children
arrangement = file_mutation.function_trampoline_arrangement
argument_removal = mutators.operator_arg_removal
regular_run = PytestRunner._pytest_args_regular_run


def is_transparent(node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.FunctionDef) or not node.decorators:
        return False
    return all(m.matches(each.decorator, TRANSPARENT) for each in node.decorators)


def skip_strict_and_other_decorators(visitor: file_mutation.MutationVisitor, node: cst.CSTNode) -> bool:
    node = node.with_changes(decorators=[]) if is_transparent(node) else node
    return m.matches(node, STRICT) or skip_node(visitor, node)


def decorate_once(function: cst.FunctionDef, mutants: Any, class_name: str | None) -> Any:
    """What is called keeps its decorators; the original and the mutants, among which it chooses, lose theirs."""
    declarations, functions, assignments, names = arrangement(function, mutants, class_name)
    if is_transparent(function):
        functions = [functions[0], *(each.with_changes(decorators=[]) for each in functions[1:])]
    return declarations, functions, assignments, names


def all_but_strict(node: cst.Call) -> Iterable[cst.Call]:
    strict = [argument for argument in node.args if m.matches(argument, STRICT)]
    return (mutant for mutant in argument_removal(node) if all(argument in mutant.args for argument in strict))


def quickest_first(runner: PytestRunner, tests: Iterable[str]) -> list[str]:
    return regular_run(runner, sorted(tests, key=lambda test: (state().duration_by_test.get(test, 0), test)))


file_mutation.MutationVisitor._skip_node_and_children = skip_strict_and_other_decorators
file_mutation.function_trampoline_arrangement = decorate_once
file_mutation.mutation_operators[:] = [
    (kind, all_but_strict if operator is argument_removal else operator)
    for kind, operator in file_mutation.mutation_operators
]
PytestRunner._pytest_args_regular_run = quickest_first


def verdicts() -> Iterator[tuple[SourceFileMutationData, str, str]]:
    """The file, the name and the verdict of every mutant."""
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, exit_code in data.exit_code_by_key.items():
            yield data, name, status_by_exit_code[exit_code]


@cli.command()
@click.option("--max-children", type=int)
def again(max_children: int | None) -> None:
    """Try the survivors without a reason again, with as many examples as the ordinary tests draw."""
    survivors = tuple(name for data, name, verdict in verdicts() if verdict == "survived" and not change(data, name)[2])
    fingerprint = config().config_fingerprint()
    config().config_fingerprint = lambda: fingerprint  # the other verdicts stay
    arguments = config().pytest_add_cli_args
    config().pytest_add_cli_args = ["quick" if each == "mutation" else each for each in arguments]
    config().timeout_multiplier *= 4
    if survivors:
        _run(survivors, max_children)


def reason(name: str, old: str, new: str) -> str:
    """Why the mutant does what the original does, or nothing."""
    for where, before, after, why in EQUIVALENT:
        places = re.finditer(re.escape(before), old) if where in name else ()
        afters = (after,) if isinstance(after, str) else after
        if any(new == old[: at.start()] + after + old[at.end() :] for at in places for after in afters):
            return why
    return ""


def change(data: SourceFileMutationData, name: str) -> tuple[str, str, str]:
    """What has become what, and why it makes no difference."""
    diff = get_diff_for_mutant(name, path=data.path).splitlines()[3:]
    old, new = ("\n".join(line[1:] for line in diff if line[0] == sign) for sign in "-+")
    return old, new, reason(name, old, new)


@cli.command()
def explain() -> None:
    """Count the verdicts, and show every survivor with the reason why it is none. Fails if one has no reason."""
    unexplained = 0
    for data, name, verdict in verdicts():
        if verdict not in ("killed", "timeout"):
            old, new, why = change(data, name)
            unexplained += not why
            print(f"{name}: {verdict}\n-{old}\n+{new}\n{why or 'UNEXPLAINED'}\n")
    print(dict(Counter(verdict for _, _, verdict in verdicts())), f"unexplained: {unexplained}")
    sys.exit(unexplained > 0)


if __name__ == "__main__":
    del sys.modules["tests"]  # the tests are those in the mutated copy
    if sys.argv[1:]:
        cli()
    for command in ("run", "again", "explain"):
        status = subprocess.run([sys.executable, "-m", "tests.mutation", command]).returncode
        if status:
            sys.exit(status)
