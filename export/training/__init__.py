"""Training of the published systems from slides and diagnoses; see docs/training.md.

A `LabelledSet` names images, patients and labels; `load_pool` cuts their cells as the bundle will;
`split` parts patients; an `Objective` makes batches and losses of them; `fit` runs the loop; and a
`TrainingRecipe` says all of that of one system.
"""
