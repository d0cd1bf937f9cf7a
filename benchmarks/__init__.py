"""What hand-written NumPy costs: `scratch` beside PyTorch on the CPU and cuDNN on a GPU, measured so as to be believed.

A floor plan, ground first; each row uses only the rows below it, and no row but the topmost knows both libraries:

    __main__                                  the door: python -m benchmarks
    measure_command, memory_command, growth_command, ladder_command, options
    agreement, kept                           two runs that are kept, side by side; one as a table
    report, picture, results                  tables, plots, JSON
    timing, memory, growth                    what is asked of the workers, in which order, and what follows
    process                                   ─── a pipe: above it no library computes, below it one alone ───
    worker                                    one library's process: does as it is told
    numpy_runner, torch_runner                a training step in one library
    ladder, hoisted, floor, clock             the rungs from textbook to core; the products alone; time
    problems, contestants, statistics         what is measured; who; numbers out of turns
"""
