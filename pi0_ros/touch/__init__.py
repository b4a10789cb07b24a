"""Touching coloured blocks: the tasks, the scripted operator and its recordings, and what a small network without
pre-training needs beside the common recipe.

Mirrored and recoloured scenes (`symmetry`), answers that say where things are (`grounding`), losses that ground words in
image patches (`vision`), embeddings of numbers in order (`ordinal`), and frames straight from the simulator (`frames`).
`hooks.touch_hooks` hands all of it to the trainer, which knows none of it.
"""
