"""What hand-written NumPy costs: `scratch` beside PyTorch on the CPU and cuDNN on a GPU, measured so as to be believed.

A floor plan, ground first; each row uses only the rows below it, and no row but the topmost knows both libraries:

    __main__                                  the door: python -m benchmarks
    commands, gpu_command, text, show_command, options
    pipeline, agreement                       problems in, results out, views beside it
    report, picture, growth, results, units   tables, plots, JSON
    memory, timing                            what is asked of the workers, in which order, and what follows
    process                                   ─── a pipe: above it no library computes, below it one alone ───
    worker                                    one library's process: does as it is told
    numpy_runner, torch_runner                a training step in one library
    rungs, hoisted, floor, ceiling, clock, cuda   from textbook to cuDNN; the products alone; at most; time
    problems, contestants, statistics         what is measured; who; numbers out of turns
"""
