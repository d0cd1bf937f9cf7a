"""What hand-written NumPy costs: `scratch` beside PyTorch on the CPU and cuDNN on a GPU, measured so as to be believed.

A floor plan, ground first; each row uses only the rows below it, and no row but the topmost knows both libraries:

    __main__                                  the door: python -m benchmarks
    commands, show_command                    what is measured, whom; results that are kept
    pipeline, options                         problems in, results out, views beside it; what a command is told
    report, picture, growth, results          tables, plots, JSON
    timing                                    what is asked of the workers, in which order, and what follows
    process                                   ─── a pipe: above it no library computes, below it one alone ───
    worker                                    one library's process: does as it is told
    numpy_runner, torch_runner, learning      a training step in one library
    rungs, hoisted, floor, clock              from textbook to cuDNN; the products alone, and at most; time and memory
    problems, contestants, statistics         what is measured; who; numbers out of turns
"""
